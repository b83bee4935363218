"""Descriptors to bitstream and back: transform networks, frozen prior, range coder, frame format and service."""
