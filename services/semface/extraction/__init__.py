"""From a photograph to the 257 numbers of each face in it."""
