"""The embedded engine: ONNX Runtime inside this process."""

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any, Final, TypeVar
from weakref import WeakKeyDictionary

import onnxruntime as ort
from numpy.typing import NDArray

from semface.errors import Reason, SemfaceError
from semface.inference.batching import Batcher, Run
from semface.inference.engine import Arrays, ModelMetadata, Work, check_inputs, join_rows, row_count, split_rows
from semface.inference.ensembles import ENSEMBLES, Ensemble, ensemble_metadata, learned_members
from semface.inference.repository import ModelRepository, RepositoryModel
from semface.inference.workers import ThreadWorker
from semface.tracing.spans import span

Result = TypeVar("Result")

_DIRECT_BYTES: Final = 1 << 22
"""A request that reads weights of so many bytes at most, over all its rows, runs at once (about 0.1 ms)."""

CPU_BATCH_SIZE: Final = "cpu_batch_size"
"""The parameter of a configuration that says how many rows run together here, where that is fewer than on a GPU."""


@dataclass(frozen=True, slots=True)
class _Network:
    """A network that can run, or an ensemble as one."""

    metadata: ModelMetadata
    run: Run
    rows_together: int
    """How many rows run in one batch."""
    direct_rows: int
    """Up to how many rows a request runs sooner on the event loop than its way to a thread and back takes."""
    queue_delay_seconds: float


class EmbeddedEngine:
    """Runs the networks of a model repository with ONNX Runtime, in threads of this process.

    It may be used from several event loops; requests are batched within each. An ensemble is one network here.
    """

    name = "onnxruntime"

    def __init__(self, repository: Path, threads: int | None = None) -> None:
        """Serve the networks under ``repository``; ``threads`` networks run at once, by default one per usable core.

        A network is loaded when it is first asked for.
        """
        self._repository = ModelRepository(repository)
        self._threads = threads or _usable_cores()
        self._executor = ThreadPoolExecutor(self._threads, thread_name_prefix="semface-inference")
        self._networks: dict[str, _Network] = {}
        self._loading = Lock()
        self._batchers: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, Batcher]] = WeakKeyDictionary()

    async def infer(self, model: str, inputs: Arrays) -> dict[str, NDArray[Any]]:
        """See :meth:`semface.inference.engine.Engine.infer`."""
        with span(f"infer {model}"):
            network = self._networks.get(model)
            if network is None:
                network = await asyncio.get_running_loop().run_in_executor(self._executor, self._network, model)
            check_inputs(network.metadata, inputs)
            if row_count(inputs) <= network.direct_rows:
                return network.run(inputs)
            return await self._batcher(model, network).submit(inputs)

    async def work_through(self, work: Work[Result]) -> Result:
        """See :meth:`semface.inference.engine.Engine.work_through`: all of it in one thread, as many as cores at once.

        Its networks are not batched with those of others, which on a CPU gains a tenth at most.
        """
        finish = partial(copy_context().run, ThreadWorker(self._infer_here).finish, work)
        return await asyncio.get_running_loop().run_in_executor(self._executor, finish)

    def _infer_here(self, model: str, inputs: Arrays) -> dict[str, NDArray[Any]]:
        """Return the outputs of ``model``, run in the calling thread."""
        with span(f"infer {model}"):
            network = self._network(model)
            check_inputs(network.metadata, inputs)
            return join_rows([network.run(part) for part in split_rows(inputs, network.rows_together)])

    async def ready(self, model: str) -> bool:
        """See :meth:`semface.inference.engine.Engine.ready`."""
        try:
            await asyncio.get_running_loop().run_in_executor(self._executor, self._network, model)
        except SemfaceError:
            return False
        return True

    def metadata(self, model: str) -> ModelMetadata:
        """See :meth:`semface.inference.engine.Engine.metadata`."""
        if model in ENSEMBLES:
            return ensemble_metadata(self._repository, ENSEMBLES[model])
        return self._repository.model(model).metadata

    async def offers(self, ensemble: str) -> bool:
        """See :meth:`semface.inference.engine.Engine.offers`."""
        return ensemble in self._networks or (ensemble in ENSEMBLES and await self.ready(ensemble))

    async def close(self) -> None:
        """See :meth:`semface.inference.engine.Engine.close`."""
        await asyncio.to_thread(self._executor.shutdown)
        self._networks.clear()
        self._batchers.clear()

    def _batcher(self, model: str, network: _Network) -> Batcher:
        """Return the batcher of ``network`` in the running event loop."""
        batchers = self._batchers.setdefault(asyncio.get_running_loop(), {})
        if model not in batchers:
            batchers[model] = Batcher(
                network.run, self._executor, network.rows_together, network.queue_delay_seconds, self._threads
            )
        return batchers[model]

    def _network(self, model: str) -> _Network:
        with self._loading:
            if model not in self._networks:
                self._networks[model] = self._load(model)
            return self._networks[model]

    def _load(self, model: str) -> _Network:
        """Return a network whose files are whole, and are those of the hash that callers are told."""
        ensemble = ENSEMBLES.get(model)
        names = [model] if ensemble is None else learned_members(ensemble)
        entries = {name: self._repository.model(name) for name in names}
        try:
            paths = {name: entry.path for name, entry in entries.items()}
            session = load_network(paths[model] if ensemble is None else _composed(ensemble, paths), model)
            changed = [name for name, entry in entries.items() if not entry.is_current()]
            if changed:
                raise SemfaceError(Reason.MODEL_LOADING, f"the network of model {changed[0]} is just being written")
        except SemfaceError:
            for name in names:
                self._repository.forget(name)
            raise
        found, metadata = list(entries.values()), self.metadata(model)
        rows = min(map(_rows_together, found))
        return _Network(
            metadata,
            runner(session),
            rows,
            min(rows, _direct_rows(metadata, sum(path.stat().st_size for path in paths.values()))),
            max(entry.queue_delay_seconds for entry in found),
        )


def _composed(ensemble: Ensemble, networks: dict[str, Path]) -> bytes:
    # What reads and writes networks takes 0.2 s to import, and only ensembles need it.
    from semface.inference.composition import compose

    return compose(ensemble, networks)


def _usable_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def load_network(network: Path | bytes, model: str) -> ort.InferenceSession:
    """Return a session for one thread over the ONNX file ``network`` of ``model``. Raises MODEL_LOADING."""
    options = ort.SessionOptions()
    # Requests run side by side in threads of ours; threads within a run would fight them for the cores.
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return ort.InferenceSession(network, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime raises many kinds, all of them meaning that this file cannot be served
        message = f"the network of model {model} cannot be loaded; its file is damaged or of a newer format"
        raise SemfaceError(Reason.MODEL_LOADING, message) from error


def _rows_together(entry: RepositoryModel) -> int:
    """Return how many rows run in one batch: of pictures it takes a core as long as one by one, and more memory."""
    return int(entry.metadata.parameters.get(CPU_BATCH_SIZE, entry.metadata.max_batch_size))


def _direct_rows(metadata: ModelMetadata, file_bytes: int) -> int:
    """Return up to how many rows run in so little time that the way to a thread and back would take longer."""
    # From vector to vector each weight is used once a row, so the size of the files tells the work; pictures differ.
    if any(len(tensor.shape) != 1 for tensor in (*metadata.inputs, *metadata.outputs)):
        return 0
    return _DIRECT_BYTES // file_bytes


def runner(session: ort.InferenceSession) -> Run:
    """Return a function from the session's inputs to all of its outputs, by name."""
    names = [output.name for output in session.get_outputs()]

    def run(inputs: Arrays) -> dict[str, NDArray[Any]]:
        return dict(zip(names, session.run(names, dict(inputs)), strict=True))

    return run
