"""How fast the two descriptor networks answer: one face alone, and many at once.

The faces are random numbers as real ones are spread; what a fully connected network takes does not hang on them.
"""

import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np

from semface.descriptors import DESCRIPTOR_SIZE, GROUPS, Descriptors
from semface.understanding.core import Understanding

SEED: Final = 1
WARM_UP: Final = 50
SPREADS: Final = {"rotation": 0.1, "translation": 10.0, "illumination": 0.1}
"""Of the groups that are not in standard deviations of real faces."""


@dataclass(frozen=True, slots=True)
class UnderstandingFigures:
    """What ``semface bench understanding`` prints. Times are milliseconds for one face alone, checks included."""

    expression_p50_ms: float
    expression_p99_ms: float
    expression_processor_ms: float
    """Processor time, mean: a busy machine does not change it."""
    verification_p50_ms: float
    verification_p99_ms: float
    verification_processor_ms: float
    comparison_p50_ms: float
    """Two embeddings to a decision."""
    expression_faces_per_second_batched: float
    verification_faces_per_second_batched: float

    def as_dict(self) -> dict[str, float]:
        """Return the figures by name."""
        return asdict(self)


async def measure_understanding(
    understanding: Understanding, *, rounds: int = 2000, batch: int = 256
) -> UnderstandingFigures:
    """Measure both networks: ``rounds`` faces one by one, and ``batch`` at once."""
    faces = draw_faces(max(rounds, batch))
    expression = await _alone(understanding.expressions, faces[:rounds])
    verification = await _alone(understanding.embeddings, faces[:rounds])
    first, second = await understanding.embeddings(faces[:2])
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        understanding.decision(understanding.compare(first, second))
        times.append(time.perf_counter() - start)
    return UnderstandingFigures(
        *expression,
        *verification,
        comparison_p50_ms=1e3 * float(np.median(times)),
        expression_faces_per_second_batched=await _batched(understanding.expressions, faces[:batch]),
        verification_faces_per_second_batched=await _batched(understanding.embeddings, faces[:batch]),
    )


def draw_faces(count: int) -> Descriptors:
    """Return ``count`` random faces (N, 257); the same every time."""
    faces = np.random.default_rng(SEED).normal(size=(count, DESCRIPTOR_SIZE)).astype(np.float32)
    for group, spread in SPREADS.items():
        faces[:, GROUPS[group]] *= spread
    return faces


async def _alone(ask: Callable[[Descriptors], Awaitable[Any]], faces: Descriptors) -> tuple[float, float, float]:
    """Return median, 99th percentile and mean processor time of one face, in milliseconds."""
    for face in faces[:WARM_UP]:
        await ask(face)
    times = []
    before = time.process_time()
    for face in faces:
        start = time.perf_counter()
        await ask(face)
        times.append(time.perf_counter() - start)
    processor = time.process_time() - before
    middle, late = np.percentile(1e3 * np.array(times), [50, 99])
    return float(middle), float(late), 1e3 * processor / len(faces)


async def _batched(ask: Callable[[Descriptors], Awaitable[Any]], faces: Descriptors) -> float:
    await ask(faces)
    start = time.perf_counter()
    await ask(faces)
    return len(faces) / (time.perf_counter() - start)
