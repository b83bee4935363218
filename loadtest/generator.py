"""Is the generator itself the limit? Each process measures how late its own greenlets run, and its processor time."""

import time
from collections import deque
from typing import Any, Final

import gevent
from locust import events
from locust.runners import MasterRunner

PERIOD_SECONDS: Final = 0.02
KEPT: Final = 30_000
"""Samples kept in each process: ten minutes."""

LAG_LIMIT_MS: Final = 20.0
PROCESSOR_LIMIT: Final = 0.9
"""Beyond either, what is measured is the generator."""


class GeneratorCheck:
    """Measures one process, and in the master keeps what the workers tell."""

    def __init__(self) -> None:
        """Measure nothing before ``watch``."""
        self._lags: deque[float] = deque(maxlen=KEPT)
        self._workers: dict[str, tuple[float, float]] = {}
        self._wall = self._processor = 0.0

    def watch(self) -> None:
        """Measure from now on, in a greenlet of its own."""
        self._wall, self._processor = time.perf_counter(), time.process_time()
        gevent.spawn(self._sample)

    def _sample(self) -> None:
        while True:
            started = time.perf_counter()
            gevent.sleep(PERIOD_SECONDS)
            self._lags.append(1e3 * (time.perf_counter() - started - PERIOD_SECONDS))

    def own(self) -> tuple[float, float]:
        """Return the 99th percentile of this process's lag in milliseconds, and its share of a core."""
        lags = sorted(self._lags) or [0.0]
        passed = max(time.perf_counter() - self._wall, 1e-9)
        return lags[int(0.99 * (len(lags) - 1))], (time.process_time() - self._processor) / passed

    def keep(self, worker: str, told: tuple[float, float]) -> None:
        """Keep what a worker told."""
        self._workers[worker] = told

    def worst(self) -> tuple[float, float]:
        """Return the worst lag and share over all processes that make load."""
        found = list(self._workers.values()) or [self.own()]
        return max(lag for lag, _ in found), max(share for _, share in found)

    @property
    def is_limit(self) -> bool:
        """Whether the generator, not the system, decides the figures."""
        lag, share = self.worst()
        return lag > LAG_LIMIT_MS or share > PROCESSOR_LIMIT


CHECK: Final = GeneratorCheck()


def install() -> None:
    """Measure in every process that makes load; workers tell the master."""
    events.test_start.add_listener(_start)
    events.report_to_master.add_listener(_tell)
    events.worker_report.add_listener(_keep)


def _start(environment: Any, **_: Any) -> None:
    if not isinstance(environment.runner, MasterRunner):
        CHECK.watch()


def _tell(client_id: str, data: dict[str, Any]) -> None:
    data["generator"] = CHECK.own()


def _keep(client_id: str, data: dict[str, Any]) -> None:
    lag, share = data["generator"]
    CHECK.keep(client_id, (lag, share))
