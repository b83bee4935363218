"""The steps of the ladder below gRPC, in a process of their own on one core: bare networks, engine, core.

`python -m semface.evaluation.load.local_steps PICTURE ENGINE REPOSITORY ROUNDS` prints one JSON object: for each call
and step the milliseconds of every round.
"""

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from semface.codec.core import Codec
from semface.evaluation.load.asking import BATCH
from semface.evaluation.load.driving import run_quickly
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


async def measure(picture: bytes, inference: str, repository: Path, rounds: int) -> dict[str, dict[str, list[float]]]:
    """Return the milliseconds of every round, by call and step."""
    settings = ServerSettings(inference=inference, model_repository=repository)
    engine = open_engine(settings)
    recording = RecordingEngine(engine)
    sessions = _Sessions(repository)
    times: dict[str, dict[str, list[float]]] = {}
    try:
        recorded = cores(recording, repository, picture)
        for name, core in cores(engine, repository, picture).items():
            recording.asked.clear()
            await recorded[name]()
            asked = list(recording.asked)
            steps: Mapping[str, Step] = {
                "networks": lambda asked=asked: sessions.run(asked),  # type: ignore[misc]
                "engine": lambda asked=asked: _ask(engine, asked),  # type: ignore[misc]
                "core": core,
            }
            times[name] = {step: await _timed(work, rounds) for step, work in steps.items()}
    finally:
        await engine.close()
    return times


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


async def _timed(work: Step, rounds: int) -> list[float]:
    times = []
    for _ in range(WARM_UP + rounds):
        started = time.perf_counter()
        await work()
        times.append(1e3 * (time.perf_counter() - started))
    return times[WARM_UP:]


if __name__ == "__main__":
    picture_file, chosen, folder, count = sys.argv[1:]
    found = run_quickly(measure(Path(picture_file).read_bytes(), chosen, Path(folder), int(count)))
    print(json.dumps(found))
