"""A discrete-event simulation of a deployment: replicas with queues, calls at random moments, measured service times.

A replica is one process that works on one call at a time, in order. A station is what its replicas do; calls are dealt
to them in turns, as a gRPC client with round robin does. A call passes the steps of its kind one after the other.
"""

import heapq
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Final

import numpy as np

SEED: Final = 1
WARM_UP_SHARE: Final = 0.1
"""Of the calls so many come before times are taken, so that queues have their length."""


@dataclass(frozen=True, slots=True)
class Step:
    """One visit of a call to a station: milliseconds of the replica, one of ``service_ms`` drawn at random."""

    station: str
    service_ms: tuple[float, ...]

    @property
    def mean_ms(self) -> float:
        """Mean time of the visit."""
        return sum(self.service_ms) / len(self.service_ms)


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of call: its share of all, and its way."""

    name: str
    share: float
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Simulated:
    """What a run showed."""

    p50_ms: float
    p99_ms: float
    utilisation: Mapping[str, float]
    """Share of the time in which the replicas of each station worked, on average."""
    waiting_p99_ms: Mapping[str, float]
    """How long 99 of 100 visits waited at most, by station."""
    by_kind_p99_ms: Mapping[str, float]


@dataclass(slots=True)
class _Station:
    free_at: list[float]
    turn: int = 0
    busy: float = 0.0
    waits: list[float] = field(default_factory=list)

    def visit(self, now: float, service: float) -> float:
        """Return when a visit that comes ``now`` ends."""
        self.turn = (self.turn + 1) % len(self.free_at)
        begin = max(now, self.free_at[self.turn])
        self.waits.append(1e3 * (begin - now))
        self.busy += service
        self.free_at[self.turn] = begin + service
        return begin + service


def simulate(
    kinds: Sequence[Kind], replicas: Mapping[str, int], rate: float, *, calls: int = 20_000, seed: int = SEED
) -> Simulated:
    """Return what ``rate`` calls a second (Poisson) meet at stations with so many ``replicas``; the same every time."""
    draw = random.Random(seed)
    stations = {name: _Station([0.0] * most) for name, most in replicas.items()}
    order, moment = count(), 0.0
    weights = [kind.share for kind in kinds]
    # Every event is a call that comes to its next step; those of one moment in the order in which they were made.
    events: list[tuple[float, int, float, Kind, int]] = []
    for _ in range(calls):
        moment += draw.expovariate(rate)
        events.append((moment, next(order), moment, draw.choices(kinds, weights)[0], 0))
    heapq.heapify(events)
    taken: dict[str, list[float]] = {kind.name: [] for kind in kinds}
    begin, end = WARM_UP_SHARE * moment, moment
    while events:
        now, _, came, kind, place = heapq.heappop(events)
        if place == len(kind.steps):
            if came >= begin:
                taken[kind.name].append(1e3 * (now - came))
            continue
        step = kind.steps[place]
        done = stations[step.station].visit(now, draw.choice(step.service_ms) / 1e3)
        heapq.heappush(events, (done, next(order), came, kind, place + 1))
    every = np.concatenate([np.array(times) for times in taken.values()])
    return Simulated(
        p50_ms=float(np.percentile(every, 50)),
        p99_ms=float(np.percentile(every, 99)),
        utilisation={name: one.busy / (end * len(one.free_at)) for name, one in stations.items()},
        waiting_p99_ms={name: float(np.percentile(one.waits or [0.0], 99)) for name, one in stations.items()},
        by_kind_p99_ms={name: float(np.percentile(times or [0.0], 99)) for name, times in taken.items()},
    )


@dataclass(frozen=True, slots=True)
class Plan:
    """The fewest replicas that hold a rate."""

    rate: float
    held: bool
    """Whether the 99th percentile is reached at all: a station that cannot be multiplied may stand in the way."""
    replicas: Mapping[str, int]
    limit: str
    """The station that works the largest share of its time."""
    simulated: Simulated


def plan(kinds: Sequence[Kind], rate: float, p99_ms: float, single: frozenset[str], *, calls: int = 20_000) -> Plan:
    """Return how many replicas of each station hold ``rate`` calls a second within ``p99_ms``.

    Of the stations in ``single`` there is one, whatever the rate.
    """
    load = offered(kinds, rate)
    replicas = {name: 1 if name in single else max(1, int(busy) + 1) for name, busy in load.items()}
    stuck = any(load[name] >= 1 for name in single if name in load)
    while True:
        found = simulate(kinds, replicas, rate, calls=calls)
        growing = [name for name in replicas if name not in single]
        if stuck or found.p99_ms <= p99_ms or not growing:
            break
        # Another replica where calls wait longest; a step that takes too long by itself is not helped by any.
        slowest = max(growing, key=lambda name: found.waiting_p99_ms[name])
        if found.waiting_p99_ms[slowest] < 0.01 * p99_ms:
            break
        replicas[slowest] += max(1, replicas[slowest] // 20)
    limit = max(load, key=lambda name: load[name] / replicas[name])
    return Plan(rate, not stuck and found.p99_ms <= p99_ms, replicas, limit, found)


def offered(kinds: Sequence[Kind], rate: float) -> dict[str, float]:
    """Return, by station, how many replicas ``rate`` calls a second keep busy all the time."""
    total = sum(kind.share for kind in kinds)
    load: dict[str, float] = {}
    for kind in kinds:
        for step in kind.steps:
            load[step.station] = load.get(step.station, 0.0) + rate * kind.share / total * step.mean_ms / 1e3
    return load
