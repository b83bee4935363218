"""What every engine offers: networks run by name on arrays."""

from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from semface.errors import Reason, SemfaceError

Result = TypeVar("Result")

TRITON_SCHEME: Final = "grpc://"

Arrays = Mapping[str, NDArray[Any]]
"""Tensors by name."""


@dataclass(frozen=True, slots=True)
class TensorMetadata:
    """An input or output. ``shape`` is without the batch axis; -1 stands for any size."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ModelMetadata:
    """What the model repository says of a network.

    ``hash`` is the SHA-256 of the network's file in hexadecimal; ``parameters`` are the free texts of its
    configuration.
    """

    name: str
    version: str
    hash: str
    inputs: tuple[TensorMetadata, ...]
    outputs: tuple[TensorMetadata, ...]
    max_batch_size: int
    parameters: Mapping[str, str]


class Worker(Protocol):
    """What work that asks several networks one after the other is done with."""

    async def infer(self, model: str, inputs: Arrays) -> dict[str, NDArray[Any]]:
        """See :meth:`Engine.infer`."""

    async def compute(self, function: Callable[..., Result], *arguments: Any) -> Result:
        """Return ``function(*arguments)``, which takes longer than an event loop may be held."""


Work = Callable[[Worker], Coroutine[Any, Any, Result]]
"""It waits for nothing but its worker, for there may be no event loop."""


class Engine(Protocol):
    """Runs the networks of one model repository.

    Every method that names a model raises MODEL_UNKNOWN when the repository has none of that name, and MODEL_LOADING
    when it is known but cannot run yet.
    """

    @property
    def name(self) -> str:
        """What runs the networks: ``onnxruntime``, in this process, or ``triton``."""

    async def infer(self, model: str, inputs: Arrays) -> dict[str, NDArray[Any]]:
        """Run ``model`` and return its outputs by name.

        The leading axis of every array is the batch; a request beyond the model's ``max_batch_size`` is split. Requests
        that wait together may run together, which never changes a result. Raises ValueError when ``inputs`` do not fit
        the model's metadata. A cancelled call no longer takes part in a batch that has not started.
        """

    async def work_through(self, work: Work[Result]) -> Result:
        """Return what ``work`` returns, which asks several networks one after the other, perhaps in a thread."""

    async def ready(self, model: str) -> bool:
        """Return whether ``model`` can run now, loading it when need be; never raises for a model's sake."""

    def metadata(self, model: str) -> ModelMetadata:
        """Return what the model repository says of ``model``."""

    async def offers(self, ensemble: str) -> bool:
        """Return whether the networks of ``ensemble`` can be asked for in one call of that name; never raises."""

    async def close(self) -> None:
        """Let go of networks and threads; the engine must not be used afterwards."""


class EngineSettings(Protocol):
    """What has to be known to open an engine."""

    @property
    def inference(self) -> str:
        """``embedded``, or the URL of a Triton server (``grpc://host:port``)."""

    @property
    def model_repository(self) -> Path:
        """Folder of the networks, in Triton's layout."""


def open_engine(settings: EngineSettings) -> Engine:
    """Return the engine that ``settings.inference`` names. Raises FIELD_INVALID for any other value.

    A Triton server need not be there yet: that is seen when a network is first asked for.
    """
    if settings.inference == "embedded":
        # ONNX Runtime is loaded only where networks run in this process.
        from semface.inference.embedded import EmbeddedEngine

        return EmbeddedEngine(settings.model_repository)
    if settings.inference.startswith(TRITON_SCHEME):
        from semface.inference.triton import TritonEngine

        return TritonEngine(settings.inference.removeprefix(TRITON_SCHEME), settings.model_repository)
    message = f"SEMFACE_INFERENCE must be 'embedded' or '{TRITON_SCHEME}host:port'"
    raise SemfaceError(Reason.FIELD_INVALID, message, field="inference")


def row_count(inputs: Arrays) -> int:
    """Return how many rows ``inputs`` have."""
    return len(next(iter(inputs.values()), ()))


def split_rows(inputs: Arrays, most: int) -> list[Arrays]:
    """Return ``inputs`` in parts of ``most`` rows at most, in order."""
    return [
        {name: array[start : start + most] for name, array in inputs.items()}
        for start in range(0, row_count(inputs), most)
    ]


def join_rows(parts: Sequence[Arrays]) -> dict[str, NDArray[Any]]:
    """Return ``parts`` laid end to end."""
    if len(parts) == 1:
        return dict(parts[0])
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def check_inputs(model: ModelMetadata, inputs: Arrays) -> None:
    """Raise ValueError unless ``inputs`` fit ``model``: one bad array must not fail the others of its batch."""
    if inputs.keys() != {tensor.name for tensor in model.inputs}:
        raise ValueError(f"{model.name} takes {[tensor.name for tensor in model.inputs]}, not {sorted(inputs)}")
    rows = {len(array) for array in inputs.values()}
    if len(rows) != 1 or rows == {0}:
        raise ValueError(f"{model.name}: every input needs the same number of rows, at least one")
    for tensor in model.inputs:
        array = inputs[tensor.name]
        shape = array.shape[1:]
        fits = len(shape) == len(tensor.shape) and all(
            want in (-1, have) for want, have in zip(tensor.shape, shape, strict=True)
        )
        if not fits or array.dtype != tensor.dtype or not isinstance(array, np.ndarray):
            raise ValueError(
                f"{model.name}: {tensor.name} is {tensor.dtype} of {tensor.shape}, got {array.dtype} {shape}"
            )
