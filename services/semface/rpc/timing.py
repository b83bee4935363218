"""Where the time of a call goes: waiting, inference, all."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from semface.v1.descriptors_pb2 import Timings


class CallClock:
    """Measures one call, or one message of a stream. Time that inferences of one call overlap counts for each."""

    def __init__(self) -> None:
        """Start now; until ``admitted`` is called the call counts as never queued."""
        self._started = time.perf_counter()
        self._queue = 0.0
        self._inference = 0.0

    def admitted(self) -> None:
        """Note that the wait for admission is over."""
        self._queue = time.perf_counter() - self._started

    @contextmanager
    def inference(self) -> Iterator[None]:
        """Count the time of the block as inference."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self._inference += time.perf_counter() - started

    @property
    def queue_seconds(self) -> float:
        """Seconds that were waited for admission."""
        return self._queue

    @property
    def total_seconds(self) -> float:
        """Seconds since the start."""
        return time.perf_counter() - self._started

    def timings(self) -> Timings:
        """Return the times up to now, in milliseconds."""
        return Timings(
            queue_ms=1e3 * self._queue, inference_ms=1e3 * self._inference, total_ms=1e3 * self.total_seconds
        )


_CURRENT: ContextVar[CallClock] = ContextVar("semface_call_clock")


def start_clock() -> CallClock:
    """Start the clock of the call that this task answers."""
    clock = CallClock()
    _CURRENT.set(clock)
    return clock


def current_clock() -> CallClock:
    """Return the clock of the call that this task answers."""
    return _CURRENT.get()
