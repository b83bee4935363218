"""How a network is run: the engine protocol, the embedded ONNX Runtime engine and the model repository."""

from pathlib import Path
from typing import Protocol

from semface.errors import Reason, SemfaceError
from semface.inference.blocking import run_blocking
from semface.inference.engine import Arrays, Engine, ModelMetadata, TensorMetadata

__all__ = ["Arrays", "Engine", "EngineSettings", "ModelMetadata", "TensorMetadata", "open_engine", "run_blocking"]


class EngineSettings(Protocol):
    """What has to be known to open an engine."""

    @property
    def inference(self) -> str:
        """``embedded``, or the URL of a Triton server (``grpc://host:port``)."""

    @property
    def model_repository(self) -> Path:
        """Folder of the networks, in Triton's layout."""


def open_engine(settings: EngineSettings) -> Engine:
    """Return the engine that ``settings.inference`` names. Raises FIELD_INVALID for any other value."""
    if settings.inference == "embedded":
        # ONNX Runtime is loaded only where networks run in this process.
        from semface.inference.embedded import EmbeddedEngine

        return EmbeddedEngine(settings.model_repository)
    if settings.inference.startswith("grpc://"):
        message = "inference on a Triton server (grpc://…) is not there yet; set SEMFACE_INFERENCE=embedded"
    else:
        message = "SEMFACE_INFERENCE must be 'embedded'"
    raise SemfaceError(Reason.FIELD_INVALID, message, field="inference")
