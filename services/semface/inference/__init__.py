"""How a network is run: the engine protocol, the embedded ONNX Runtime engine and the model repository."""

from semface.inference.blocking import run_blocking
from semface.inference.engine import Arrays, Engine, ModelMetadata, TensorMetadata, open_engine

__all__ = ["Arrays", "Engine", "ModelMetadata", "TensorMetadata", "open_engine", "run_blocking"]
