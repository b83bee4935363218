"""More load than a system can bear: it answers what it takes as soon as before, and refuses the rest."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from semface.evaluation.load.asking import GrpcCalls, grpc_calls, photograph
from semface.evaluation.load.driving import Call, Outcome, closed_loop, open_loop
from semface.evaluation.load.running import running_system, split_cores, staying_on

SHARES: Final = (0.5, 0.8, 1.0, 1.5, 2.0, 3.0)
"""Arrival rates of the curve, over the saturating rate."""

SATURATING_CALLERS: Final = 16
MEASURED: Final = ("extract", "understand")


@dataclass(frozen=True, slots=True)
class OverloadPoint:
    """What became of one arrival rate."""

    what: str
    share: float
    """Arrival rate over the saturating rate."""
    arrivals: float
    """Calls a second, at random moments."""
    answered: float
    """Calls a second that were answered."""
    shed: float
    """Share of the calls that were refused for overload."""
    failed: int
    """Calls that ended in any other way."""
    unanswered: int
    """Calls under way when the run was given up, for the system neither answered nor refused them; 0 if it was not."""
    p50_ms: float
    p99_ms: float
    """Of those answered, from when each was due."""
    p99_over_saturation: float
    generator_lag_ms: float
    """99th percentile of how late the generator was."""

    def as_dict(self) -> dict[str, Any]:
        """Return the figures by name."""
        return asdict(self)


async def measure_overload(
    portrait: Path, seconds: float, told: Callable[[int], None], shares: Sequence[float] = SHARES
) -> list[OverloadPoint]:
    """Return a point for each of ``shares`` of the saturating rate, for each of ``MEASURED``.

    The system runs on one core and the generator on another. The saturating rate is what 16 callers reach who wait for
    their answers; ``told`` counts the runs of ``seconds`` that are done.
    """
    ours, theirs = split_cores()
    points: list[OverloadPoint] = []
    done = 0
    with staying_on(theirs), running_system(ours) as system:
        async with grpc_calls(system.grpc) as calls:
            for what, call in (await _calls(calls, portrait)).items():
                await closed_loop(call, SATURATING_CALLERS, seconds=1.0)
                saturating = (await closed_loop(call, SATURATING_CALLERS, seconds=seconds)).rate
                outcomes = {}
                for share in shares:
                    outcomes[share] = await open_loop(call, share * saturating, seconds=seconds)
                    done += 1
                    told(done)
                reference = outcomes[1.0].percentile(0.99)
                points += [_point(what, share, saturating, found, reference) for share, found in outcomes.items()]
    return points


async def _calls(calls: GrpcCalls, portrait: Path) -> dict[str, Call]:
    exchanges = await calls.exchanges(photograph(portrait))
    return {name: calls.method(name, exchanges[name].request) for name in MEASURED}


def _point(what: str, share: float, saturating: float, found: Outcome, reference: float) -> OverloadPoint:
    return OverloadPoint(
        what=what,
        share=share,
        arrivals=share * saturating,
        answered=found.rate,
        shed=found.shed / max(1, found.shed + found.answered + found.failed),
        failed=found.failed,
        unanswered=found.unanswered,
        p50_ms=found.percentile(0.5),
        p99_ms=found.percentile(0.99),
        p99_over_saturation=found.percentile(0.99) / reference,
        generator_lag_ms=found.lag_p99_ms,
    )
