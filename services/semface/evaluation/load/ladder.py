"""Where every millisecond goes: from the bare networks to the gateway, each step beside the one below it, in one run.

The system runs on one core, the generator on another, and the steps below gRPC on the system's core while it idles.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np

from semface.errors import Reason, SemfaceError
from semface.evaluation.load.asking import FACES, METHODS, GrpcCalls, grpc_calls, http_call, photograph
from semface.evaluation.load.driving import OK, Call, closed_loop
from semface.evaluation.load.local_steps import STEPS, LocalSteps, local_steps
from semface.evaluation.load.running import RunningSystem, running_system, split_cores, staying_on
from semface.evaluation.load.wire import bytes_of_a_call
from semface.inference.engine import TRITON_SCHEME

CONCURRENCY: Final = 16
"""Callers at once where throughput is measured."""

ROUNDS: Final = 5
"""How often every call is measured, each time by processes started anew, for one is as quick as its memory happens to
lie: that moves an extraction by a millisecond. Medians are told."""

TURN: Final = 10
"""Calls of one step, one at a time, before it is the turn of the next: within seconds a machine stays as it is."""

COLD: Final = 5
"""Calls of each turn that do not count, for another process has had the cache: the first is slower by milliseconds."""

ORDER: Final = (*STEPS, "gRPC", "gateway")


@dataclass(frozen=True, slots=True)
class Rung:
    """One call at one step of the ladder."""

    engine: str
    """``embedded`` or ``triton``."""
    call: str
    step: str
    p50_ms: float
    """One call at a time, the steps in turns."""
    p99_ms: float
    per_second: float
    """Faces (or photographs) in a second: one after the other below gRPC, 16 callers from there on."""
    p50_over_below: float | None
    """Median over that of the step below; None for the lowest."""
    more_ms: float | None
    """Milliseconds more than at the step below."""
    throughput_over_below: float | None
    throughput_over_networks: float | None
    wire_bytes: int | None
    """Bytes on the wire both ways, everything included, where there is a wire."""

    def as_dict(self) -> dict[str, Any]:
        """Return the figures by name."""
        return asdict(self)


@dataclass(slots=True)
class _Measured:
    """One call at one step."""

    turns: list[list[float]] = field(default_factory=list)
    """Milliseconds of each call, for each turn of ``TURN`` calls, one at a time."""
    rates: list[float] = field(default_factory=list)
    """Throughput in each round."""


@dataclass(frozen=True, slots=True)
class _Top:
    """The step above the local ones, of one call."""

    step: str
    alone: Call
    """For one caller."""
    many: Call


Samples = dict[tuple[str, str], _Measured]
"""By call and step."""

Wire = dict[tuple[str, str], int]
"""Bytes on the wire, by call and step."""


async def measure_ladder(
    portrait: Path, repository: Path, inference: str, seconds: float, told: Callable[[int], None]
) -> list[Rung]:
    """Return the ladder of every call, networks running where ``inference`` says; ``told`` counts the rounds done.

    Each call takes about seven times ``seconds`` in every round.
    """
    ours, theirs = split_cores()
    picture = photograph(portrait)
    samples: Samples = defaultdict(_Measured)
    wire: Wire = {}
    settings = {"SEMFACE_INFERENCE": inference, "SEMFACE_MODEL_REPOSITORY": str(repository)}
    for done in range(1, ROUNDS + 1):
        with staying_on(theirs), running_system(ours, settings) as system:
            async with (
                grpc_calls(system.grpc) as calls,
                http_call(f"{system.gateway}/v1/analyze", picture, "image/jpeg") as analyze,
                local_steps(picture, inference, repository, ours) as local,
            ):
                exchanges = await calls.exchanges(picture)
                tops = {name: _top(calls, name, exchanges[name].request) for name in METHODS}
                tops["analyze"] = _Top("gateway", analyze, analyze)
                # One caller first: what a crowd leaves behind in caches and heap is not its concern.
                for note in (_note_times, _note_rates):
                    for name, top in tops.items():
                        await note(samples, name, local, top, seconds)
                wire = wire or await _wire(system, exchanges, picture)
        told(done)
    engine = "triton" if inference.startswith(TRITON_SCHEME) else "embedded"
    return _rungs(engine, samples, wire)


def _top(calls: GrpcCalls, name: str, request: Any) -> _Top:
    return _Top("gRPC", _one_channel(calls).method(name, request), calls.method(name, request))


async def _note_times(samples: Samples, name: str, local: LocalSteps, top: _Top, seconds: float) -> None:
    """Note how long one call takes at each step, the steps in turns."""
    await closed_loop(top.alone, 1, seconds=seconds)
    end = time.perf_counter() + 3 * seconds
    while True:
        for step in STEPS:
            samples[name, step].turns.append((await local.times(name, step, COLD + TURN))[COLD:])
        times = [await _milliseconds(name, top.alone) for _ in range(COLD + TURN)]
        samples[name, top.step].turns.append(times[COLD:])
        if time.perf_counter() > end:
            return


async def _note_rates(samples: Samples, name: str, local: LocalSteps, top: _Top, seconds: float) -> None:
    """Note how often each step does the work of a call in a second."""
    for below in STEPS:
        times = await local.times(name, below, max(TURN, round(20 * seconds)))
        samples[name, below].rates.append(1e3 * FACES.get(name, 1) / float(np.mean(times)))
    # A crowd's first second is slower, for the heap has to grow to its pictures.
    await closed_loop(top.many, CONCURRENCY, seconds=seconds)
    crowd = await closed_loop(top.many, CONCURRENCY, seconds=seconds)
    if crowd.failed or not crowd.answered:
        raise _no_figure(name, {code: len(times) for code, times in crowd.times.items()})
    samples[name, top.step].rates.append(crowd.rate * FACES.get(name, 1))


async def _milliseconds(name: str, call: Call) -> float:
    started = time.perf_counter()
    code = await call()
    if code != OK:
        raise _no_figure(name, {code: 1})
    return 1e3 * (time.perf_counter() - started)


def _no_figure(name: str, codes: Mapping[str, int]) -> SemfaceError:
    return SemfaceError(Reason.BACKEND_AWAY, f"calls of {name} failed, so there is no figure: {codes}")


async def _wire(system: RunningSystem, exchanges: Mapping[str, Any], picture: bytes) -> Wire:
    found = {}
    async with bytes_of_a_call(system.grpc) as (address, count), grpc_calls(address) as calls:
        for name in METHODS:
            found[name, "gRPC"] = await count(_one_channel(calls).method(name, exchanges[name].request))
    host = system.gateway.removeprefix("http://")
    async with (
        bytes_of_a_call(host) as (address, count),
        http_call(f"http://{address}/v1/analyze", picture, "image/jpeg") as call,
    ):
        found["analyze", "gateway"] = await count(call)
    return found


def _one_channel(calls: GrpcCalls) -> GrpcCalls:
    return GrpcCalls(calls.channels[:1])


def _rungs(engine: str, samples: Samples, wire: Wire) -> list[Rung]:
    rungs = []
    for call in dict.fromkeys(name for name, _ in samples):
        found = {step: samples[call, step] for step in ORDER if (call, step) in samples}
        middles = {step: np.median(one.turns, axis=1) for step, one in found.items()}
        rates = {step: np.array(one.rates) for step, one in found.items()}
        for below, step in pairwise((None, *found)):
            assert step is not None, "only the lowest has none below"
            rungs.append(
                Rung(
                    engine=engine,
                    call=call,
                    step=step,
                    p50_ms=float(np.median(middles[step])),
                    p99_ms=float(np.percentile(found[step].turns, 99)),
                    per_second=float(np.median(rates[step])),
                    # Ratios are of one turn or round: a machine that others use too slows both alike.
                    p50_over_below=None if below is None else float(np.median(middles[step] / middles[below])),
                    more_ms=None if below is None else float(np.median(middles[step] - middles[below])),
                    throughput_over_below=None if below is None else float(np.median(rates[step] / rates[below])),
                    throughput_over_networks=float(np.median(rates[step] / rates[STEPS[0]])),
                    wire_bytes=wire.get((call, step)),
                )
            )
    return rungs
