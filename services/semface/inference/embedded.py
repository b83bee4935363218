"""The embedded engine: ONNX Runtime inside this process."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import onnxruntime as ort

from semface.errors import Reason, SemfaceError
from semface.inference.engine import Arrays


class EmbeddedEngine:
    """Runs the networks of ``repository`` with ONNX Runtime."""

    def __init__(self, repository: Path, threads: int = 1) -> None:
        self._repository = repository
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="semface-inference")
        self._sessions: dict[str, ort.InferenceSession] = {}

    def _session(self, model: str) -> ort.InferenceSession:
        if model not in self._sessions:
            path = self._repository / model / "1" / "model.onnx"
            if not path.is_file():
                raise SemfaceError(Reason.MODEL_UNKNOWN, f"there is no network {model!r} in the model repository")
            options = ort.SessionOptions()
            options.intra_op_num_threads = options.inter_op_num_threads = 1
            options.log_severity_level = 3
            self._sessions[model] = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        return self._sessions[model]

    async def infer(self, model: str, inputs: Arrays) -> Arrays:
        """See :class:`semface.inference.engine.Engine`."""
        session = self._session(model)
        names = [output.name for output in session.get_outputs()]
        loop = asyncio.get_running_loop()
        values = await loop.run_in_executor(self._pool, session.run, names, inputs)
        return dict(zip(names, values, strict=True))
