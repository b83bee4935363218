"""The engine on an NVIDIA Triton server: networks run there, arrays travel as raw bytes over gRPC."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, NoReturn, TypeVar
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray
from tritonclient.grpc import InferInput, InferResult  # type: ignore[import-untyped]
from tritonclient.grpc.aio import InferenceServerClient  # type: ignore[import-untyped]
from tritonclient.utils import InferenceServerException, np_to_triton_dtype  # type: ignore[import-untyped]

from semface.deadline import remaining_seconds
from semface.errors import Reason, SemfaceError
from semface.inference.engine import (
    TRITON_SCHEME,
    Arrays,
    ModelMetadata,
    TensorMetadata,
    Work,
    check_inputs,
    join_rows,
    row_count,
    split_rows,
)
from semface.inference.ensembles import ENSEMBLES, ensemble_metadata
from semface.inference.example_inputs import example_inputs
from semface.inference.repository import ModelRepository
from semface.inference.triton_metadata import describe_differences
from semface.inference.workers import LoopWorker
from semface.tracing.spans import Kind, recorded_headers, span

DEFAULT_SECONDS: Final = 30.0
"""Longest time a call may take where the caller has set no end."""

LARGEST_MARGIN_SECONDS: Final = 0.05
MARGIN: Final = 0.1
"""Of the caller's time this part, but no more than the largest margin, is kept to tell the caller what went wrong."""

RETRY_DELAYS_SECONDS: Final = (0.05, 0.15, 0.3, 0.5)
"""Waits before each further try of a call that never reached the server."""

LIVE_SECONDS: Final = 0.2
"""How long a server that has refused a call may take to say that it lives."""

UNAVAILABLE: Final = "StatusCode.UNAVAILABLE"

CHECK_SECONDS: Final = 10.0
"""How long it is taken for granted that the server still serves what it served."""

_LARGEST_MESSAGE_BYTES: Final = 1 << 28
_CHANNEL_OPTIONS: Final = (
    ("grpc.max_send_message_length", _LARGEST_MESSAGE_BYTES),
    ("grpc.max_receive_message_length", _LARGEST_MESSAGE_BYTES),
    # By itself gRPC waits up to two minutes before it looks for a server again.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
    # A name of several addresses, as a headless service has, gets its calls by turns.
    ("grpc.lb_policy_name", "round_robin"),
    # A machine that vanishes without a word is noticed. Triton ends connections on which it is asked more often while a
    # network runs for long; canaries keep it from minding these.
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    # Of other pings too: while one of them is not answered, those of keepalive are not sent.
    ("grpc.http2.ping_timeout_ms", 5_000),
)

_REASONS: Final[Mapping[str, tuple[Reason, str]]] = MappingProxyType(
    {
        UNAVAILABLE: (Reason.BACKEND_AWAY, "the inference server cannot be reached"),
        "StatusCode.CANCELLED": (Reason.BACKEND_AWAY, "the inference server has given up the call"),
        "StatusCode.INTERNAL": (Reason.BACKEND_AWAY, "the inference server cannot run model {name}"),
        "StatusCode.UNKNOWN": (Reason.BACKEND_AWAY, "the inference server cannot run model {name}"),
        "StatusCode.RESOURCE_EXHAUSTED": (Reason.OVERLOADED, "the inference server has more calls than it can take"),
        "StatusCode.DEADLINE_EXCEEDED": (Reason.DEADLINE_EXCEEDED, "model {name} did not answer in time"),
        "StatusCode.NOT_FOUND": (Reason.MODEL_LOADING, "the inference server does not serve model {name} now"),
        "StatusCode.INVALID_ARGUMENT": (Reason.MODEL_LOADING, "the inference server serves another model {name}"),
    }
)
"""What a status of the server means to the caller. None quotes the server, which may quote what it was sent."""

Answer = TypeVar("Answer")
Result = TypeVar("Result")


class TritonEngine:
    """Runs the networks of a model repository on a Triton server that serves the same networks.

    Names, hashes and parameters are read from the repository here; that the server serves the same is checked before a
    network is first asked for, and again from time to time and after every failure.
    """

    name = "triton"

    def __init__(self, address: str, repository: Path) -> None:
        """Ask the server at ``address`` (``host:port``), which need not be there yet. Raises FIELD_INVALID."""
        self._address = _checked_address(address)
        self._repository = ModelRepository(repository)
        # One channel in a process that has one event loop; a channel belongs to its loop.
        self._connections: WeakKeyDictionary[asyncio.AbstractEventLoop, _Connection] = WeakKeyDictionary()

    async def infer(self, model: str, inputs: Arrays) -> dict[str, NDArray[Any]]:
        """See :meth:`semface.inference.engine.Engine.infer`.

        Raises BACKEND_AWAY when the server is away or cannot run the network, MODEL_LOADING when it does not serve it
        or another of its name, and DEADLINE_EXCEEDED shortly before the caller's time is up.
        """
        with span(f"infer {model}", Kind.CLIENT):
            return await self._infer(model, inputs)

    async def _infer(self, model: str, inputs: Arrays) -> dict[str, NDArray[Any]]:
        metadata = self.metadata(model)
        check_inputs(metadata, inputs)
        connection = self._connection()
        if not connection.has_checked(model):
            try:
                await connection.check(metadata)
            except SemfaceError:
                # The copy here may have been half-written when it was read.
                self._repository.forget(model)
                raise
        if row_count(inputs) <= metadata.max_batch_size:
            return await connection.infer(metadata, inputs)
        parts = split_rows(inputs, metadata.max_batch_size)
        return join_rows(await asyncio.gather(*(connection.infer(metadata, part) for part in parts)))

    async def work_through(self, work: Work[Result]) -> Result:
        """See :meth:`semface.inference.engine.Engine.work_through`."""
        return await work(LoopWorker(self))

    async def ready(self, model: str) -> bool:
        """See :meth:`semface.inference.engine.Engine.ready`: the network is run once.

        The server's own word is not enough: it calls a model ready whose process has died.
        """
        try:
            outputs = await self.infer(model, example_inputs(self.metadata(model), rows=1))
        except SemfaceError:
            return False
        return all(np.isfinite(array).all() for array in outputs.values())

    def metadata(self, model: str) -> ModelMetadata:
        """See :meth:`semface.inference.engine.Engine.metadata`."""
        if model in ENSEMBLES:
            return ensemble_metadata(self._repository, ENSEMBLES[model])
        return self._repository.model(model).metadata

    async def offers(self, ensemble: str) -> bool:
        """See :meth:`semface.inference.engine.Engine.offers`."""
        if ensemble not in ENSEMBLES:
            return False
        try:
            return await self._connection().serves(self.metadata(ensemble))
        except SemfaceError:
            return False

    async def close(self) -> None:
        """See :meth:`semface.inference.engine.Engine.close`."""
        for loop, connection in list(self._connections.items()):
            if loop is asyncio.get_running_loop():
                await connection.close()
        self._connections.clear()

    def _connection(self) -> "_Connection":
        loop = asyncio.get_running_loop()
        connection = self._connections.get(loop)
        if connection is None:
            connection = self._connections[loop] = _Connection(self._address)
        return connection


class _Connection:
    """A channel to the server, and what is known of the models behind it."""

    def __init__(self, address: str) -> None:
        self._client = InferenceServerClient(address, channel_args=list(_CHANNEL_OPTIONS))
        self._checked: dict[str, float] = {}
        self._checking: dict[str, asyncio.Lock] = {}
        self._lacking: dict[str, float] = {}

    def has_checked(self, model: str) -> bool:
        """Return whether the server is known to serve ``model`` as it is here."""
        return self._checked.get(model, 0.0) > time.monotonic()

    async def check(self, model: ModelMetadata) -> None:
        """Raise MODEL_LOADING unless the server serves ``model`` as it is here."""
        async with self._checking.setdefault(model.name, asyncio.Lock()):
            if self.has_checked(model.name):
                return
            client = self._client
            served = await self._call(model, lambda left: client.get_model_metadata(model.name, client_timeout=left))
            told = await self._call(model, lambda left: client.get_model_config(model.name, client_timeout=left))
            differences = describe_differences(model, served, told.config)
            if differences:
                message = f"the inference server serves another model {model.name}: {'; '.join(differences)}"
                raise SemfaceError(Reason.MODEL_LOADING, message)
            self._checked[model.name] = time.monotonic() + CHECK_SECONDS

    async def serves(self, model: ModelMetadata) -> bool:
        """Return whether the server serves ``model``; where it does not, it is not asked again for a while."""
        now = time.monotonic()
        if self._lacking.get(model.name, 0.0) > now:
            return False
        try:
            if not self.has_checked(model.name):
                await self.check(model)
        except SemfaceError:
            self._lacking[model.name] = now + CHECK_SECONDS
            return False
        return True

    async def infer(self, model: ModelMetadata, inputs: Arrays) -> dict[str, NDArray[Any]]:
        """Return the outputs for ``inputs``, which fit and are not too many."""
        rows = row_count(inputs)
        tensors = [_tensor(tensor.name, inputs[tensor.name]) for tensor in model.inputs]
        # Triton traces every call that names a trace, so only those of a recorded one do.
        headers = recorded_headers()
        result = await self._call(
            model,
            lambda left: self._client.infer(
                model.name, tensors, model_version=model.version, client_timeout=left, headers=headers
            ),
        )
        return {tensor.name: self._array(model, tensor, result, rows) for tensor in model.outputs}

    async def close(self) -> None:
        await self._client.close()

    async def _call(self, model: ModelMetadata, call: Callable[[float], Awaitable[Answer]]) -> Answer:
        """Return what ``call`` answers within the time left, trying again where it did not reach the server."""
        end = time.monotonic() + _seconds_left()
        for delay in (*RETRY_DELAYS_SECONDS, None):
            left = end - time.monotonic()
            if left <= 0:
                _fail(model.name, "StatusCode.DEADLINE_EXCEEDED", None)
            try:
                return await call(left)
            except InferenceServerException as error:
                status = str(error.status())
                self._forget(model.name, status)
                if status != UNAVAILABLE or delay is None or end - time.monotonic() <= delay:
                    if status == UNAVAILABLE and await self._is_live(end - time.monotonic()):
                        status = "StatusCode.NOT_FOUND"
                    _fail(model.name, status, error)
            await asyncio.sleep(random.uniform(0.5, 1.0) * delay)
        raise AssertionError("the last try returns or raises")

    async def _is_live(self, left: float) -> bool:
        """Return whether the server answers: then it is the model that cannot be had, as while it loads or unloads."""
        try:
            return bool(await self._client.is_server_live(client_timeout=min(max(left, 0.0), LIVE_SECONDS)))
        except InferenceServerException:
            return False

    def _forget(self, model: str, status: str) -> None:
        """After a failure, take nothing for granted that a restart of the server may have changed."""
        if status in ("StatusCode.NOT_FOUND", "StatusCode.INVALID_ARGUMENT"):
            self._checked.pop(model, None)
        elif status != "StatusCode.DEADLINE_EXCEEDED":
            self._checked.clear()

    def _array(self, model: ModelMetadata, expected: TensorMetadata, result: InferResult, rows: int) -> NDArray[Any]:
        """Return an output of the caller's own. Raises BACKEND_AWAY where a call succeeds and answers with nothing."""
        try:
            found = result.as_numpy(expected.name)
        except ValueError:
            found = None
        if found is None or len(found) != rows or found.size == 0 or found.dtype != expected.dtype:
            self._checked.clear()
            raise SemfaceError(
                Reason.BACKEND_AWAY, f"the inference server answers for model {model.name} with tensors of another size"
            )
        return np.array(found)


def _seconds_left() -> float:
    remaining = remaining_seconds()
    if remaining is None:
        return DEFAULT_SECONDS
    return remaining - min(MARGIN * max(remaining, 0.0), LARGEST_MARGIN_SECONDS)


def _fail(model: str, status: str, cause: Exception | None) -> NoReturn:
    reason, message = _REASONS.get(status, (Reason.BACKEND_AWAY, "the inference server cannot run model {name}"))
    raise SemfaceError(reason, message.format(name=model)) from cause


def _tensor(name: str, array: NDArray[Any]) -> InferInput:
    tensor = InferInput(name, list(array.shape), np_to_triton_dtype(array.dtype))
    tensor.set_data_from_numpy(array)
    return tensor


def _checked_address(address: str) -> str:
    """Return ``address`` when it is ``host:port``. Raises FIELD_INVALID."""
    try:
        parts = urlsplit(f"//{address}")
        if parts.hostname and parts.port and parts.netloc == address and "@" not in address:
            return address
    except ValueError:
        pass
    message = f"SEMFACE_INFERENCE must be 'embedded' or '{TRITON_SCHEME}host:port'"
    raise SemfaceError(Reason.FIELD_INVALID, message, field="inference")
