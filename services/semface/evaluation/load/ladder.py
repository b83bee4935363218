"""Where every millisecond goes: from the bare networks to the gateway, each step beside the one below it, in one run.

The system runs on one core, the generator on another, and the steps below gRPC on the system's core while it idles.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from semface.errors import Reason, SemfaceError
from semface.evaluation.load.asking import FACES, METHODS, GrpcCalls, grpc_calls, http_call, photograph
from semface.evaluation.load.driving import Call, Outcome, closed_loop
from semface.evaluation.load.local_steps import STEPS
from semface.evaluation.load.running import RunningSystem, pinned, running_system, split_cores, staying_on
from semface.evaluation.load.wire import bytes_of_a_call
from semface.inference.engine import TRITON_SCHEME

CONCURRENCY: Final = 16
"""Callers at once where throughput is measured."""

ROUNDS: Final = 3
"""How often every step is measured, in turns; medians are told."""

ORDER: Final = (*STEPS, "gRPC", "gateway")


@dataclass(frozen=True, slots=True)
class Rung:
    """One call at one step of the ladder."""

    engine: str
    """``embedded`` or ``triton``."""
    call: str
    step: str
    p50_ms: float
    """One call at a time."""
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


Samples = dict[tuple[str, str], list[tuple[float, float, float]]]
"""By call and step, for each round: median and 99th percentile in milliseconds, and throughput."""


async def measure_ladder(
    portrait: Path, repository: Path, inference: str, seconds: float, told: Callable[[int], None]
) -> list[Rung]:
    """Return the ladder of every call, networks running where ``inference`` says; ``told`` counts the rounds done.

    Each step of each call takes about twice ``seconds`` in every round.
    """
    ours, theirs = split_cores()
    picture = photograph(portrait)
    samples: Samples = {}
    settings = {"SEMFACE_INFERENCE": inference, "SEMFACE_MODEL_REPOSITORY": str(repository)}
    with staying_on(theirs), running_system(ours, settings) as system:
        async with grpc_calls(system.grpc) as calls:
            exchanges = await calls.exchanges(picture)
            for turn in range(ROUNDS):
                _note_local(samples, local_times(picture, inference, repository, ours, seconds))
                for name in METHODS:
                    request = exchanges[name].request
                    alone, many = (some.method(name, request) for some in (_one_channel(calls), calls))
                    await _note(samples, name, "gRPC", alone, many, seconds)
                async with http_call(f"{system.gateway}/v1/analyze", picture, "image/jpeg") as call:
                    await _note(samples, "analyze", "gateway", call, call, seconds)
                told(turn + 1)
            wire = await _wire(system, exchanges, picture)
    engine = "triton" if inference.startswith(TRITON_SCHEME) else "embedded"
    return _rungs(engine, samples, wire)


def local_times(
    picture: bytes, inference: str, repository: Path, cores: Sequence[int], seconds: float
) -> Mapping[str, Mapping[str, list[float]]]:
    """Return the milliseconds of the steps below gRPC, measured in a process on ``cores``."""
    with tempfile.NamedTemporaryFile(suffix=".jpg") as file:
        file.write(picture)
        file.flush()
        rounds = max(10, round(20 * seconds))
        command = [sys.executable, "-m", "semface.evaluation.load.local_steps", file.name, inference, str(repository)]
        run = subprocess.run(
            pinned([*command, str(rounds)], cores),
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            check=False,
            text=True,
        )
    if run.returncode:
        raise SemfaceError(Reason.BACKEND_AWAY, "the steps below gRPC could not be measured; why stands above")
    found: Mapping[str, Mapping[str, list[float]]] = json.loads(run.stdout)
    return found


def _note_local(samples: Samples, found: Mapping[str, Mapping[str, list[float]]]) -> None:
    for call, steps in found.items():
        for step, times in steps.items():
            middle, late = np.percentile(times, [50, 99])
            rate = 1e3 * FACES.get(call, 1) / float(np.mean(times))
            samples.setdefault((call, step), []).append((float(middle), float(late), rate))


async def _note(samples: Samples, name: str, step: str, lone: Call, call: Call, seconds: float) -> None:
    """Note how long ``lone`` takes for one caller, and how often ``call`` is answered for many."""
    for warming in (lone, call):
        await closed_loop(warming, 2, seconds=0.2)
    alone = await closed_loop(lone, 1, seconds=seconds)
    many = await closed_loop(call, CONCURRENCY, seconds=seconds)
    _require_answers(name, alone, many)
    rate = many.rate * FACES.get(name, 1)
    samples.setdefault((name, step), []).append((alone.percentile(0.5), alone.percentile(0.99), rate))


def _require_answers(name: str, *outcomes: Outcome) -> None:
    for outcome in outcomes:
        if outcome.failed or not outcome.answered:
            codes = {code: len(times) for code, times in outcome.times.items()}
            raise SemfaceError(Reason.BACKEND_AWAY, f"calls of {name} failed, so there is no figure: {codes}")


async def _wire(system: RunningSystem, exchanges: Mapping[str, Any], picture: bytes) -> dict[tuple[str, str], int]:
    """Return bytes on the wire, by call and step."""
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


def _rungs(engine: str, samples: Samples, wire: Mapping[tuple[str, str], int]) -> list[Rung]:
    rungs = []
    for call in dict.fromkeys(name for name, _ in samples):
        below: Any = None
        networks: Any = None
        for step in (step for step in ORDER if (call, step) in samples):
            rounds = np.array(samples[call, step])
            middle, late, rate = np.median(rounds, axis=0)
            # Ratios are taken within each round, so that a machine that others use too slows both alike.
            over = None if below is None else np.median(rounds / below, axis=0)
            networks = rounds if networks is None else networks
            rungs.append(
                Rung(
                    engine=engine,
                    call=call,
                    step=step,
                    p50_ms=float(middle),
                    p99_ms=float(late),
                    per_second=float(rate),
                    p50_over_below=None if over is None else float(over[0]),
                    more_ms=None if below is None else float(np.median(rounds[:, 0] - below[:, 0])),
                    throughput_over_below=None if over is None else float(over[2]),
                    throughput_over_networks=float(np.median(rounds[:, 2] / networks[:, 2])),
                    wire_bytes=wire.get((call, step)),
                )
            )
            below = rounds
    return rungs
