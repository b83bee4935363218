"""Load on one thing: callers who wait for their answers, or calls that come at a fixed rate whatever comes back."""

import asyncio
import gc
import random
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

import numpy as np

Call = Callable[[], Awaitable[str]]
"""Makes one call and returns how it ended: ``OK``, or the name of a gRPC code or the HTTP status."""

OK: Final = "OK"
SHED: Final = ("RESOURCE_EXHAUSTED", "429")
SEED: Final = 1
MOST_UNANSWERED: Final = 8000
"""Calls that may be under way at a fixed rate; beyond, the run is given up."""

Result = TypeVar("Result")


@dataclass(slots=True)
class Outcome:
    """What became of the calls of one run. Times are milliseconds."""

    seconds: float = 0.0
    times: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    lag_p99_ms: float = 0.0
    """How late the generator itself was at a fixed rate: above some milliseconds it is the limit."""
    unanswered: int = 0
    """Calls under way when a fixed rate was given up, for so many that the system neither answered nor refused them."""

    @property
    def answered(self) -> int:
        """Calls that ended well."""
        return len(self.times[OK])

    @property
    def shed(self) -> int:
        """Calls that were refused for overload."""
        return sum(len(self.times[code]) for code in SHED)

    @property
    def failed(self) -> int:
        """Calls that ended in any other way."""
        return sum(map(len, self.times.values())) - self.answered - self.shed

    @property
    def rate(self) -> float:
        """Calls a second that ended well."""
        return self.answered / self.seconds

    def percentile(self, share: float) -> float:
        """Return the time within which ``share`` (0 to 1) of the calls that ended well did so; NaN without any."""
        return float(np.percentile(self.times[OK], 100 * share)) if self.answered else float("nan")


async def closed_loop(call: Call, concurrency: int, *, seconds: float, calls: int | None = None) -> Outcome:
    """Let ``concurrency`` callers ask one after the other, for ``seconds`` or until ``calls`` have been made."""
    outcome = Outcome()
    left = float("inf") if calls is None else calls
    end = 0.0

    async def caller() -> None:
        nonlocal left
        while left > 0 and (began := time.perf_counter()) < end:
            left -= 1
            code = await call()
            outcome.times[code].append(1e3 * (time.perf_counter() - began))

    with _no_collection():
        started = time.perf_counter()
        end = started + seconds
        await asyncio.gather(*(caller() for _ in range(concurrency)))
    outcome.seconds = time.perf_counter() - started
    return outcome


async def open_loop(call: Call, rate: float, *, seconds: float, seed: int = SEED) -> Outcome:
    """Make ``rate`` calls a second at random moments (Poisson); times count from when a call was due.

    Gives up, and says so in ``unanswered``, where so many wait that the system does not keep up at all.
    """
    outcome, moments = Outcome(), random.Random(seed)
    lags: list[float] = []
    running: set[asyncio.Task[None]] = set()

    async def one(due: float) -> None:
        code = await call()
        outcome.times[code].append(1e3 * (time.perf_counter() - due))

    with _no_collection():
        started = time.perf_counter()
        due = started + moments.expovariate(rate)
        while due < started + seconds and not outcome.unanswered:
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            now = time.perf_counter()
            while due <= now:
                lags.append(1e3 * (now - due))
                task = asyncio.get_running_loop().create_task(one(due))
                running.add(task)
                task.add_done_callback(running.discard)
                due += moments.expovariate(rate)
            if len(running) > MOST_UNANSWERED:
                outcome.unanswered = len(running)
        outcome.seconds = time.perf_counter() - started
        if outcome.unanswered:
            for task in running:
                task.cancel()
        await asyncio.gather(*running, return_exceptions=bool(outcome.unanswered))
    outcome.lag_p99_ms = float(np.percentile(lags, 99)) if lags else 0.0
    return outcome


class _no_collection:
    """The generator's own garbage collection is not the system's time."""

    def __enter__(self) -> None:
        gc.collect()
        gc.disable()

    def __exit__(self, *_: object) -> None:
        gc.enable()


def run_quickly(work: Coroutine[Any, Any, Result]) -> Result:
    """Run ``work`` on the quickest event loop to be had."""
    try:
        import uvloop
    except ImportError:
        return asyncio.run(work)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)
