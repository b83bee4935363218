"""The embedded engine: ONNX Runtime inside this process."""

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
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
from semface.inference.repository import ModelRepository, RepositoryModel
from semface.inference.workers import ThreadWorker
from semface.tracing.spans import span

Result = TypeVar("Result")

_DIRECT_BYTES: Final = 1 << 22
"""A request that reads weights of so many bytes at most, over all its rows, runs at once (about 0.1 ms)."""

CPU_BATCH_SIZE: Final = "cpu_batch_size"
"""The parameter of a configuration that says how many rows run together here, where that is fewer than on a GPU."""


class EmbeddedEngine:
    """Runs the networks of a model repository with ONNX Runtime, in threads of this process.

    It may be used from several event loops; requests are batched within each.
    """

    name = "onnxruntime"

    def __init__(self, repository: Path, threads: int | None = None) -> None:
        """Serve the networks under ``repository``; ``threads`` networks run at once, by default one per usable core.

        A network is loaded when it is first asked for.
        """
        self._repository = ModelRepository(repository)
        self._threads = threads or _usable_cores()
        self._executor = ThreadPoolExecutor(self._threads, thread_name_prefix="semface-inference")
        self._runs: dict[str, Run] = {}
        self._loading = Lock()
        self._direct: dict[str, tuple[Run, int]] = {}
        self._batchers: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, Batcher]] = WeakKeyDictionary()

    async def infer(self, model: str, inputs: Arrays) -> dict[str, NDArray[Any]]:
        """See :meth:`semface.inference.engine.Engine.infer`."""
        with span(f"infer {model}"):
            direct = self._direct.get(model)
            if direct is not None and row_count(inputs) <= direct[1]:
                check_inputs(self.metadata(model), inputs)
                return direct[0](inputs)
            batchers = self._batchers.setdefault(asyncio.get_running_loop(), {})
            if model not in batchers:
                # Another call may have been here while this one waited for the network to load.
                batcher = await self._batcher(model)
                batchers.setdefault(model, batcher)
            check_inputs(self.metadata(model), inputs)
            return await batchers[model].submit(inputs)

    async def work_through(self, work: Work[Result]) -> Result:
        """See :meth:`semface.inference.engine.Engine.work_through`: all of it in one thread, as many as cores at once.

        Its networks are not batched with those of others, which on a CPU gains a tenth at most.
        """
        finish = partial(copy_context().run, ThreadWorker(self._infer_here).finish, work)
        return await asyncio.get_running_loop().run_in_executor(self._executor, finish)

    def _infer_here(self, model: str, inputs: Arrays) -> dict[str, NDArray[Any]]:
        """Return the outputs of ``model``, run in the calling thread."""
        with span(f"infer {model}"):
            run = self._run_of(model)
            entry = self._repository.model(model)
            check_inputs(entry.metadata, inputs)
            return join_rows([run(part) for part in split_rows(inputs, _rows_together(entry))])

    async def ready(self, model: str) -> bool:
        """See :meth:`semface.inference.engine.Engine.ready`."""
        try:
            await asyncio.get_running_loop().run_in_executor(self._executor, self._run_of, model)
        except SemfaceError:
            return False
        return True

    def metadata(self, model: str) -> ModelMetadata:
        """See :meth:`semface.inference.engine.Engine.metadata`."""
        return self._repository.model(model).metadata

    async def offers(self, ensemble: str) -> bool:
        """See :meth:`semface.inference.engine.Engine.offers`: in this process no hop is to be saved."""
        return False

    async def close(self) -> None:
        """See :meth:`semface.inference.engine.Engine.close`."""
        await asyncio.to_thread(self._executor.shutdown)
        self._runs.clear()
        self._direct.clear()
        self._batchers.clear()

    async def _batcher(self, model: str) -> Batcher:
        run = await asyncio.get_running_loop().run_in_executor(self._executor, self._run_of, model)
        entry = self._repository.model(model)
        rows = _direct_rows(entry)
        if rows:
            self._direct[model] = run, rows
        return Batcher(run, self._executor, _rows_together(entry), entry.queue_delay_seconds, self._threads)

    def _run_of(self, model: str) -> Run:
        with self._loading:
            if model not in self._runs:
                self._runs[model] = runner(self._load(model))
            return self._runs[model]

    def _load(self, model: str) -> ort.InferenceSession:
        """Return the session of a network whose file is whole, and is the one of the hash that callers are told."""
        entry = self._repository.model(model)
        try:
            session = load_network(entry.path, model)
            if entry.is_current():
                return session
            raise SemfaceError(Reason.MODEL_LOADING, f"the network of model {model} is just being written")
        except SemfaceError:
            self._repository.forget(model)
            raise


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


def _direct_rows(entry: RepositoryModel) -> int:
    """Return up to how many rows a request runs sooner on the event loop than its way to a thread and back takes."""
    tensors = (*entry.metadata.inputs, *entry.metadata.outputs)
    # From vector to vector each weight is used once a row, so the size of the file tells the work; pictures differ.
    if any(len(tensor.shape) != 1 for tensor in tensors):
        return 0
    return _DIRECT_BYTES // entry.path.stat().st_size


def runner(session: ort.InferenceSession) -> Run:
    """Return a function from the session's inputs to all of its outputs, by name."""
    names = [output.name for output in session.get_outputs()]

    def run(inputs: Arrays) -> dict[str, NDArray[Any]]:
        return dict(zip(names, session.run(names, dict(inputs)), strict=True))

    return run
