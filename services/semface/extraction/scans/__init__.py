"""From a 3-D scan of a face to its attribute images."""
