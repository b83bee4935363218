"""What a Triton server costs beside networks in this process: a real one, started on this machine's CPU.

Both run the same network with as many threads, in turns, so that a machine that others use too slows both alike.
"""

import asyncio
import shutil
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from tritonclient.grpc import InferInput  # type: ignore[import-untyped]
from tritonclient.grpc.aio import InferenceServerClient  # type: ignore[import-untyped]

from semface.codec.prior import SYNTHESIS_MODEL
from semface.descriptors import PORTION_SLICES, Portion
from semface.extraction.core import DESCRIPTION_MODEL
from semface.inference.checking import compare_engines
from semface.inference.cpu_server import CpuServer
from semface.inference.derived_repository import build_repository
from semface.inference.embedded import EmbeddedEngine
from semface.inference.engine import Arrays, Engine
from semface.inference.ensembles import UNDERSTAND_ENSEMBLE
from semface.inference.example_inputs import example_inputs
from semface.inference.repository import CONFIG_FILE, ModelRepository
from semface.inference.target import Target
from semface.inference.triton import TritonEngine
from semface.understanding.core import EXPRESSION_MODEL, VERIFICATION_MODEL

CLIENT_MODEL: Final = "codec_analysis"
"""The network whose calls are timed against the bare client: small, so that the client's part shows."""

UNDELAYED_SUFFIX: Final = "_undelayed"
WARM_UP: Final = 16
CALLS_BETWEEN_TURNS: Final = 20


@dataclass(frozen=True, slots=True)
class TritonFigures:
    """What ``semface bench triton`` prints: medians over the rounds; ratios are taken within each round."""

    answers_equal: bool
    """Whether every network answers the same bits on both engines."""
    embedded_per_second: float
    """Crops described in a second in this process."""
    triton_per_second: float
    throughput_ratio: float
    """Triton over this process."""
    bare_client_ms: float
    """Median time of one call with tritonclient alone, one after another."""
    our_client_ratio: float
    """Our engine's median time of one call over that."""
    mean_batch: float
    """Requests that the server ran together, on average."""
    latency_p50_ms: float
    delay_latency_ratio: float
    """Median latency with the configured queue delay over that without."""
    ensemble_ratio: float
    """Median time of one call of the ensemble ``understand`` over that of the three calls in its place."""

    def as_dict(self) -> dict[str, float | bool]:
        """Return the figures by name."""
        return asdict(self)


async def measure_triton(
    repository: Path,
    folder: Path,
    environment: Path,
    *,
    concurrency: int = 16,
    requests: int = 400,
    rounds: int = 5,
    threads: int = 2,
    told: Callable[[int], None] = lambda done: None,
) -> TritonFigures:
    """Measure the networks of ``repository`` on a server in ``environment`` that keeps its files in ``folder``.

    ``requests`` crops are sent in each turn, ``concurrency`` at once; ``told`` hears of every round that is done.
    Raises BACKEND_AWAY when the server cannot start.
    """
    source = await asyncio.to_thread(_with_undelayed, repository, folder / "source")
    await asyncio.to_thread(build_repository, ModelRepository(source), folder / "repository", Target.PYTHON, threads)
    server = CpuServer(folder / "repository", folder / "triton.log", environment)
    embedded = EmbeddedEngine(source, threads)
    try:
        await asyncio.to_thread(server.start)
        triton = TritonEngine(server.address, source)
        differences = [await compare_engines(embedded, triton, name) for name in ModelRepository(source).names()]
        measured = []
        for done in range(rounds):
            measured.append(await _round(embedded, triton, server.address, concurrency, requests))
            told(done + 1)
        await triton.close()
    finally:
        await asyncio.to_thread(server.stop)
        await embedded.close()
    middle = {name: float(np.median([figures[name] for figures in measured])) for name in measured[0]}
    return TritonFigures(answers_equal=not any(differences), **middle)


async def _round(
    embedded: Engine, triton: TritonEngine, address: str, concurrency: int, requests: int
) -> dict[str, float]:
    async with InferenceServerClient(address) as client:
        for engine in (embedded, triton):
            await _ask_all(engine, DESCRIPTION_MODEL, concurrency, WARM_UP)
        inside = await _load(embedded, DESCRIPTION_MODEL, concurrency, requests)
        before = await _counts(client, DESCRIPTION_MODEL)
        outside = await _load(triton, DESCRIPTION_MODEL, concurrency, requests)
        after = await _counts(client, DESCRIPTION_MODEL)
        undelayed = await _load(triton, DESCRIPTION_MODEL + UNDELAYED_SUFFIX, concurrency, requests)
        bare, ours = await _client_times(triton, client, requests)
        ensemble, plain = await _understanding_times(triton, requests)
    return {
        "embedded_per_second": inside.per_second,
        "triton_per_second": outside.per_second,
        "throughput_ratio": outside.per_second / inside.per_second,
        "bare_client_ms": bare,
        "our_client_ratio": ours / bare,
        "mean_batch": (after[0] - before[0]) / (after[1] - before[1]),
        "latency_p50_ms": outside.median_ms,
        "delay_latency_ratio": outside.median_ms / undelayed.median_ms,
        "ensemble_ratio": ensemble / plain,
    }


@dataclass(frozen=True, slots=True)
class _Load:
    per_second: float
    median_ms: float


async def _load(engine: Engine, model: str, concurrency: int, requests: int) -> _Load:
    """Ask for one row at a time, ``concurrency`` at once, ``requests`` in all; return how quick that was."""
    started = time.perf_counter()
    times = await _ask_all(engine, model, concurrency, requests)
    return _Load(requests / (time.perf_counter() - started), 1e3 * float(np.median(times)))


async def _ask_all(engine: Engine, model: str, concurrency: int, requests: int) -> list[float]:
    """Return how many seconds each request took."""
    rows = example_inputs(engine.metadata(model), rows=WARM_UP)
    inputs = [{name: array[row : row + 1] for name, array in rows.items()} for row in range(WARM_UP)]
    numbers, times = iter(range(requests)), []

    async def ask() -> None:
        for number in numbers:
            started = time.perf_counter()
            await engine.infer(model, inputs[number % WARM_UP])
            times.append(time.perf_counter() - started)

    await asyncio.gather(*(ask() for _ in range(concurrency)))
    return times


async def _client_times(engine: TritonEngine, client: Any, calls: int) -> tuple[float, float]:
    """Return the median milliseconds of one call with the bare client and with ours, taken in short turns."""
    inputs = example_inputs(engine.metadata(CLIENT_MODEL), rows=1)
    output = engine.metadata(CLIENT_MODEL).outputs[0].name

    async def bare() -> NDArray[Any]:
        return (await client.infer(CLIENT_MODEL, _tensors(inputs))).as_numpy(output)

    async def ours() -> NDArray[Any]:
        return (await engine.infer(CLIENT_MODEL, inputs))[output]

    return await _times_in_turns(bare, ours, calls)


async def _understanding_times(engine: TritonEngine, calls: int) -> tuple[float, float]:
    """Return the median milliseconds from latents to both answers in one call of the ensemble, and in three calls."""
    inputs = example_inputs(engine.metadata(UNDERSTAND_ENSEMBLE), rows=1)

    async def together() -> Arrays:
        return await engine.infer(UNDERSTAND_ENSEMBLE, inputs)

    async def apart() -> list[Arrays]:
        decoded = (await engine.infer(SYNTHESIS_MODEL, inputs))["descriptors"]
        asked = ((EXPRESSION_MODEL, Portion.EXPRESSION), (VERIFICATION_MODEL, Portion.IDENTITY))
        parts = [(model, np.ascontiguousarray(decoded[:, PORTION_SLICES[portion]])) for model, portion in asked]
        return list(await asyncio.gather(*(engine.infer(model, {"descriptors": part}) for model, part in parts)))

    return await _times_in_turns(together, apart, calls)


async def _times_in_turns(
    first: Callable[[], Awaitable[Any]], second: Callable[[], Awaitable[Any]], calls: int
) -> tuple[float, float]:
    """Return the median milliseconds of one call of each way, taken in short turns."""
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(max(1, calls // CALLS_BETWEEN_TURNS)):
        for call, taken in zip((first, second), times, strict=True):
            for _ in range(CALLS_BETWEEN_TURNS):
                started = time.perf_counter()
                await call()
                taken.append(1e3 * (time.perf_counter() - started))
    return float(np.median(times[0])), float(np.median(times[1]))


def _tensors(inputs: Arrays) -> list[InferInput]:
    tensors = []
    for name, array in inputs.items():
        tensor = InferInput(name, list(array.shape), "FP32")
        tensor.set_data_from_numpy(array)
        tensors.append(tensor)
    return tensors


async def _counts(client: Any, model: str) -> tuple[int, int]:
    """Return how many requests the server has answered for ``model`` and how many batches it ran for them."""
    (found,) = (await client.get_inference_statistics(model)).model_stats
    return int(found.inference_count), int(found.execution_count)


def _with_undelayed(repository: Path, folder: Path) -> Path:
    """Copy ``repository`` to ``folder`` with the extraction network a second time, which waits for no company."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(repository, folder)
    twin = DESCRIPTION_MODEL + UNDELAYED_SUFFIX
    shutil.copytree(folder / DESCRIPTION_MODEL, folder / twin)
    config = ModelRepository(repository).config(DESCRIPTION_MODEL)
    config.name = twin
    config.dynamic_batching.max_queue_delay_microseconds = 0
    (folder / twin / CONFIG_FILE).write_text(str(config), encoding="utf-8")
    return folder
