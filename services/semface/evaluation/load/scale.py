"""How many replicas hold a rate: service times measured on the running system, and the simulation checked against it.

A service time is processor time: what one call takes of a core while the system is saturated, split by who takes it.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import httpx
import numpy as np

from semface.evaluation.load.asking import GrpcCalls, grpc_calls, http_call, photograph
from semface.evaluation.load.driving import Call, Outcome, closed_loop, open_loop
from semface.evaluation.load.local_steps import local_steps
from semface.evaluation.load.running import RunningSystem, running_system, split_cores, staying_on
from semface.evaluation.load.simulation import Kind, Plan, Step, offered, plan, simulate
from semface.media_types import BITSTREAM_TYPE
from semface.v1 import codec_pb2

RATES: Final = (10, 30, 100, 300, 1_000, 3_000, 10_000)
CHECKED: Final = (0.3, 0.5, 0.7)
"""Shares of the saturating rate at which the simulation is checked."""

PARTS: Final = 4
"""Parts that are measured one after the other."""

CALLERS: Final = 8
SINGLE: Final = frozenset({"Redis"})
"""What there is only one of: a Redis has one writer."""

SUBJECT: Final = "/v1/subjects/bench-scale"


@dataclass(frozen=True, slots=True)
class Measured:
    """Milliseconds of processor time that one call takes, at saturation."""

    extract: float
    encode: float
    understand: float
    extract_networks: float
    """Of the networks alone, which a Triton server would take."""
    understand_networks: float
    gateway_analyze: float
    """Of ``/v1/analyze`` beyond the services' part."""
    gateway_verify: float
    redis_verify: float
    """Of the Valkey that holds the enrolled."""

    def as_dict(self) -> dict[str, float]:
        """Return the times by name."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Checked:
    """The simulation beside a real run of the system on one core."""

    what: str
    share: float
    """Of the saturating rate."""
    rate: float
    simulated_p50_ms: float
    real_p50_ms: float
    simulated_p99_ms: float
    real_p99_ms: float

    def as_dict(self) -> dict[str, Any]:
        """Return the figures by name."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Mix:
    """Of a hundred calls: photographs analysed and faces verified through the gateway; the others are understood."""

    photographs: float = 2.0
    verifications: float = 18.0


def kinds(measured: Measured, mix: Mix, *, triton: bool) -> list[Kind]:
    """Return the calls of ``mix`` and their ways; with ``triton`` networks are a station of their own."""
    extraction = _with_networks("extraction", measured.extract, measured.extract_networks, triton=triton)
    understanding = _with_networks("understanding", measured.understand, measured.understand_networks, triton=triton)
    codec = (Step("codec", (measured.encode,)),)
    verified = Step("gateway", (measured.gateway_verify,)), *understanding, Step("Redis", (measured.redis_verify,))
    return [
        Kind(
            "analyze",
            mix.photographs,
            (Step("gateway", (measured.gateway_analyze,)), *extraction, *codec, *understanding),
        ),
        Kind("verify", mix.verifications, verified),
        Kind("understand", 100 - mix.photographs - mix.verifications, understanding),
    ]


def plans(measured: Measured, mix: Mix, p99_ms: float, *, triton: bool) -> list[Plan]:
    """Return the fewest replicas for each of ``RATES`` (faces a second) within ``p99_ms``."""
    return [plan(kinds(measured, mix, triton=triton), rate, p99_ms, SINGLE) for rate in RATES]


async def measure_scale(
    portrait: Path, repository: Path, seconds: float, told: Callable[[int], None]
) -> tuple[Measured, list[Checked]]:
    """Measure service times and check the simulation at a few rates; every run takes ``seconds``."""
    ours, theirs = split_cores()
    picture = photograph(portrait)
    async with local_steps(picture, "embedded", repository, ours) as local:
        networks = {call: np.mean(await local.times(call, "networks", 20)) for call in ("extract", "understand")}
    with staying_on(theirs), running_system(ours) as system:
        async with grpc_calls(system.grpc) as calls:
            exchanges = await calls.exchanges(picture)
            frame = codec_pb2.EncodeResponse.FromString(exchanges["encode"].answer).frames[0].data
            costs = {name: await _cost(system, calls, name, exchanges[name].request, seconds) for name in _SERVED}
            told(1)
            analyze, _ = await _gateway_cost(system, "/v1/analyze", picture, "image/jpeg", seconds)
            await _enrol(system, picture)
            verify, redis = await _gateway_cost(system, f"{SUBJECT}/verify", frame, BITSTREAM_TYPE, seconds)
            told(2)
            measured = Measured(
                extract=costs["extract"],
                encode=costs["encode"],
                understand=costs["understand"],
                extract_networks=float(networks["extract"]),
                understand_networks=float(networks["understand"]),
                gateway_analyze=max(0.0, analyze - sum(costs.values())),
                gateway_verify=max(0.0, verify - costs["understand"]),
                redis_verify=redis,
            )
            checked = []
            for name in ("extract", "understand"):
                checked += await _check(name, calls.method(name, exchanges[name].request), seconds)
                told(3 + (name == "understand"))
    return measured, checked


_SERVED: Final = ("extract", "encode", "understand")


async def _cost(system: RunningSystem, calls: GrpcCalls, name: str, request: bytes, seconds: float) -> float:
    call = calls.method(name, request)
    await closed_loop(call, CALLERS, seconds=0.5)
    before = system.processor_seconds()
    outcome = await closed_loop(call, CALLERS, seconds=seconds)
    return _each(system.processor_seconds() - before, outcome)


async def _gateway_cost(
    system: RunningSystem, path: str, body: bytes, media_type: str, seconds: float
) -> tuple[float, float]:
    """Return milliseconds of processor time of the system and of its Valkey for each call."""
    async with http_call(f"{system.gateway}{path}", body, media_type) as call:
        await closed_loop(call, CALLERS, seconds=0.5)
        before, stored = system.processor_seconds(), system.store_processor_seconds()
        outcome = await closed_loop(call, CALLERS, seconds=seconds)
        return (
            _each(system.processor_seconds() - before, outcome),
            _each(system.store_processor_seconds() - stored, outcome),
        )


def _each(seconds: float, outcome: Outcome) -> float:
    if outcome.failed or not outcome.answered:
        raise RuntimeError(f"of {sum(map(len, outcome.times.values()))} calls {outcome.failed} failed")
    return 1e3 * seconds / outcome.answered


async def _enrol(system: RunningSystem, picture: bytes) -> None:
    async with httpx.AsyncClient(timeout=30) as client:
        answer = await client.put(f"{system.gateway}{SUBJECT}", content=picture, headers={"Content-Type": "image/jpeg"})
        answer.raise_for_status()


async def _check(name: str, call: Call, seconds: float) -> list[Checked]:
    """Return the simulation of one core beside real runs, from what one caller alone meets."""
    alone = await closed_loop(call, 1, seconds=seconds)
    saturating = (await closed_loop(call, CALLERS, seconds=seconds)).rate
    service = service_times(alone, saturating)
    checked = []
    for share in CHECKED:
        rate = share * saturating
        real = await open_loop(call, rate, seconds=seconds)
        if real.unanswered:
            raise RuntimeError(f"{real.unanswered} calls are unanswered: the system neither answers nor refuses")
        outside = max(0.0, alone.percentile(0.5) - float(np.median(service)))
        found = simulate([Kind(name, 1.0, (Step("system", service),))], {"system": 1}, rate)
        checked.append(
            Checked(
                what=name,
                share=share,
                rate=rate,
                simulated_p50_ms=found.p50_ms + outside,
                real_p50_ms=real.percentile(0.5),
                simulated_p99_ms=found.p99_ms + outside,
                real_p99_ms=real.percentile(0.99),
            )
        )
    return checked


def service_times(alone: Outcome, saturating: float) -> tuple[float, ...]:
    """Return service times (ms) whose mean is what a call takes at saturation and whose spread is that of one alone."""
    times = np.array(alone.times["OK"])
    return tuple((times * (1e3 / saturating) / times.mean()).tolist())


def limits(measured: Measured, mix: Mix, *, triton: bool) -> Mapping[str, float]:
    """Return the faces a second at which one replica of each station is busy all the time."""
    return {name: 1 / busy for name, busy in offered(kinds(measured, mix, triton=triton), 1.0).items()}


def _with_networks(station: str, whole: float, networks: float, *, triton: bool) -> tuple[Step, ...]:
    """Return the visit to a service, its networks done by itself or by Triton."""
    if not triton:
        return (Step(station, (whole,)),)
    return Step(station, (max(0.05, whole - networks),)), Step("Triton", (networks,))
