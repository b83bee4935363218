"""Whether memory grows: many calls after a warm-up, resident memory before, meanwhile and afterwards."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from semface.errors import Reason, SemfaceError
from semface.evaluation.load.asking import grpc_calls, photograph
from semface.evaluation.load.driving import Call, closed_loop
from semface.evaluation.load.running import RunningSystem, running_system

RECEIVED: Final = 95_000
EXTRACTED: Final = 5_000
WARM_UP: Final = (5_000, 800)
"""Receiver calls and extractions that come first, so that every buffer has its size."""

PARTS: Final = 10
"""Memory is looked at after each tenth."""

CALLERS: Final = 16
LONGEST_SECONDS: Final = 1200.0


@dataclass(frozen=True, slots=True)
class SoakFigures:
    """What ``semface bench soak`` prints. Memory is resident, in MiB, of the system and its embedded Valkey."""

    start_seconds: float
    """From the command to ready."""
    idle: float
    """Ready, before the first call."""
    warmed_up: float
    """After the warm-up."""
    most: float
    """The most that was seen after it."""
    end: float
    growth: float
    """Of the end over the warm-up; 0.01 is one per cent."""
    received: int
    extracted: int
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """Return the figures by name."""
        return asdict(self)


async def measure_soak(portrait: Path, share: float, told: Callable[[int], None]) -> SoakFigures:
    """Warm up, then send ``share`` of 95,000 receiver calls and 5,000 extractions; ``told`` counts tenths done.

    Raises BACKEND_AWAY where a call fails.
    """
    with running_system([]) as system:
        idle = system.resident_megabytes()
        async with grpc_calls(system.grpc) as calls:
            exchanges = await calls.exchanges(photograph(portrait))
            receive = calls.method("understand", exchanges["understand"].request)
            extract = calls.method("extract", exchanges["extract"].request)
            await _send(receive, extract, WARM_UP)
            warmed_up = system.resident_megabytes()
            seen, seconds = [], 0.0
            part_of = round(share * RECEIVED / PARTS), round(share * EXTRACTED / PARTS)
            for part in range(PARTS):
                seconds += await _send(receive, extract, part_of)
                seen.append(system.resident_megabytes())
                told(part + 1)
            return _figures(system, idle, warmed_up, seen, share, seconds)


async def _send(receive: Call, extract: Call, counts: tuple[int, int]) -> float:
    """Send so many receiver calls, then so many extractions, and return the seconds that it took."""
    seconds = 0.0
    for call, count in zip((receive, extract), counts, strict=True):
        outcome = await closed_loop(call, CALLERS, seconds=LONGEST_SECONDS, calls=max(1, count))
        if outcome.failed or outcome.shed:
            codes = {code: len(times) for code, times in outcome.times.items()}
            raise SemfaceError(Reason.BACKEND_AWAY, f"calls failed during the soak: {codes}")
        seconds += outcome.seconds
    return seconds


def _figures(
    system: RunningSystem, idle: float, warmed_up: float, seen: list[float], share: float, seconds: float
) -> SoakFigures:
    return SoakFigures(
        start_seconds=system.start_seconds,
        idle=idle,
        warmed_up=warmed_up,
        most=max(seen),
        end=seen[-1],
        growth=seen[-1] / warmed_up - 1,
        received=round(share * RECEIVED),
        extracted=round(share * EXTRACTED),
        seconds=seconds,
    )
