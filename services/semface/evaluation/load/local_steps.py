"""The steps of the ladder below gRPC, in a process of their own on one core: bare networks, engine, core.

`python -m semface.evaluation.load.local_steps PICTURE ENGINE REPOSITORY` reads calls and steps, and answers with times.
"""

import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from semface.codec.core import Codec
from semface.errors import Reason, SemfaceError
from semface.evaluation.load.asking import BATCH
from semface.evaluation.load.driving import run_quickly
from semface.evaluation.load.running import pinned
from semface.extraction.core import Extractor
from semface.extraction.image import decode_picture
from semface.inference.embedded import load_network, runner
from semface.inference.engine import Arrays, Engine, Work, open_engine
from semface.inference.repository import ModelRepository
from semface.inference.workers import LoopWorker
from semface.rpc.settings import ServerSettings
from semface.understanding.core import Understanding

WARM_UP: Final = 5
STEPS: Final = ("networks", "engine", "core")
"""From below: ONNX Runtime alone with one thread, the engine, the core."""

Step = Callable[[], Awaitable[object]]
Result = TypeVar("Result")
Request = tuple[str, dict[str, NDArray[Any]]]


class RecordingEngine:
    """Passes everything on to an engine and keeps what the networks were asked."""

    def __init__(self, engine: Engine) -> None:
        """Ask ``engine``."""
        self._engine = engine
        self.asked: list[Request] = []

    async def infer(self, model: str, inputs: Arrays) -> dict[str, NDArray[Any]]:
        """Keep a copy of ``inputs``, which the caller may change afterwards, and pass them on."""
        self.asked.append((model, {name: array.copy() for name, array in inputs.items()}))
        return await self._engine.infer(model, inputs)

    async def work_through(self, work: Work[Result]) -> Result:
        """Let every network of ``work`` be asked here."""
        return await work(LoopWorker(self))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)


def cores(engine: Engine, repository: Path, picture: bytes) -> dict[str, Callable[[], Awaitable[Any]]]:
    """Return the work of each call's core on ``picture``, the face in it, and the bitstream of that face."""
    extractor, codec, understanding = Extractor(engine), Codec(engine, repository), Understanding(engine)
    known: dict[str, Any] = {}

    async def extract() -> None:
        faces = await extractor.extract_some(await asyncio.to_thread(decode_picture, picture))
        known["face"] = faces[0].descriptors

    async def encode() -> None:
        known["frame"] = (await codec.encode(known["face"]))[0]

    async def decode() -> None:
        await codec.decode([known["frame"]])

    async def understand(count: int, *, embed: bool = True) -> None:
        decoded = await codec.decode([known["frame"]] * count)
        values = np.stack([face.descriptors for face in decoded])
        portions = [face.portions for face in decoded]
        await understanding.expressions(values, portions)
        if embed:
            await understanding.embeddings(values, portions)

    async def analyze() -> None:
        await extract()
        await encode()
        await understand(1, embed=False)

    return {
        "extract": extract,
        "encode": encode,
        "decode": decode,
        "understand": lambda: understand(1),
        f"understand {BATCH}": lambda: understand(BATCH),
        "analyze": analyze,
    }


class LocalSteps:
    """Asks the process that runs the steps."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        """Speak with ``process``, which ``local_steps`` starts."""
        self._process = process

    async def times(self, call: str, step: str, count: int) -> list[float]:
        """Return the milliseconds of each of ``count`` runs of ``step`` of ``call``, one after the other.

        Raises BACKEND_AWAY where the process has failed.
        """
        assert self._process.stdin is not None, "it is a pipe"
        assert self._process.stdout is not None, "it is a pipe"
        self._process.stdin.write(json.dumps([call, step, count]).encode() + b"\n")
        line = await self._process.stdout.readline()
        if not line:
            raise SemfaceError(Reason.BACKEND_AWAY, "the steps below gRPC could not be measured; why stands above")
        return [float(time) for time in json.loads(line)]


@asynccontextmanager
async def local_steps(
    picture: bytes, inference: str, repository: Path, places: Sequence[int]
) -> AsyncIterator[LocalSteps]:
    """Start a process on the cores ``places`` that runs the steps of every call, networks where ``inference`` says."""
    with tempfile.NamedTemporaryFile(suffix=".jpg") as file:
        file.write(picture)
        file.flush()
        command = [sys.executable, "-m", __name__, file.name, inference, str(repository)]
        process = await asyncio.create_subprocess_exec(
            *pinned(command, places),
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        try:
            yield LocalSteps(process)
        finally:
            assert process.stdin is not None, "it is a pipe"
            process.stdin.close()
            await process.wait()


async def serve(picture: bytes, inference: str, repository: Path) -> None:
    """Answer each line of standard input, a call, a step and a count, with the milliseconds of so many runs."""
    settings = ServerSettings(inference=inference, model_repository=repository)
    engine = open_engine(settings)
    try:
        steps = await _steps(engine, repository, picture)
        while line := await asyncio.to_thread(sys.stdin.readline):
            call, step, count = json.loads(line)
            print(json.dumps(await _timed(steps[call][step], count)), flush=True)
    finally:
        await engine.close()


async def _steps(engine: Engine, repository: Path, picture: bytes) -> Mapping[str, Mapping[str, Step]]:
    recording, sessions = RecordingEngine(engine), _Sessions(repository)
    recorded = cores(recording, repository, picture)
    steps: dict[str, Mapping[str, Step]] = {}
    for name, core in cores(engine, repository, picture).items():
        recording.asked.clear()
        await recorded[name]()
        asked = list(recording.asked)
        steps[name] = {
            "networks": lambda asked=asked: sessions.run(asked),  # type: ignore[misc]
            "engine": lambda asked=asked: _ask(engine, asked),  # type: ignore[misc]
            "core": core,
        }
        for step in steps[name].values():
            await _timed(step, WARM_UP)
    return steps


class _Sessions:
    """ONNX Runtime and nothing else."""

    def __init__(self, repository: Path) -> None:
        self._repository = ModelRepository(repository)
        self._runs: dict[str, Callable[[Arrays], dict[str, NDArray[Any]]]] = {}

    async def run(self, asked: list[Request]) -> None:
        for model, inputs in asked:
            if model not in self._runs:
                self._runs[model] = runner(load_network(self._repository.model(model).path, model))
            self._runs[model](inputs)


async def _ask(engine: Engine, asked: list[Request]) -> None:
    for model, inputs in asked:
        await engine.infer(model, inputs)


async def _timed(work: Step, count: int) -> list[float]:
    times = []
    for _ in range(count):
        started = time.perf_counter()
        await work()
        times.append(1e3 * (time.perf_counter() - started))
    return times


if __name__ == "__main__":
    picture_file, chosen, folder = sys.argv[1:]
    run_quickly(serve(Path(picture_file).read_bytes(), chosen, Path(folder)))
