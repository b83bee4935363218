"""Semface sends a face as meaning: 257 numbers of a 3-D morphable face model instead of pixels."""

__version__ = "0.1.0"
