"""Admission: how many calls are answered at once, how many wait, and when to come again."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from semface.errors import Reason, SemfaceError

_WEIGHT_OF_LAST = 0.1
_SHORTEST_RETRY_SECONDS = 0.05


class Admission:
    """Lets ``max_in_flight`` unary calls through at once and ``max_waiting`` wait; streams have their own bound."""

    def __init__(self, max_in_flight: int, max_waiting: int, max_streams: int) -> None:
        """Start with nothing in flight."""
        self._places = asyncio.Semaphore(max_in_flight)
        self._max_in_flight = max_in_flight
        self._max_waiting = max_waiting
        self._max_streams = max_streams
        self._waiting = 0
        self._streams = 0
        self._mean_seconds = 0.0

    @property
    def retry_seconds(self) -> float:
        """When those who wait now should be through, in seconds, from the mean time that a call takes."""
        rounds = (self._waiting + self._max_in_flight) / self._max_in_flight
        return max(_SHORTEST_RETRY_SECONDS, rounds * self._mean_seconds)

    @asynccontextmanager
    async def call(self) -> AsyncIterator[None]:
        """Hold a place while a unary call is answered. Raises OVERLOADED when as many wait as may."""
        if self._places.locked() and self._waiting >= self._max_waiting:
            raise SemfaceError(Reason.OVERLOADED, "the server has as many calls as it can take; come again later")
        self._waiting += 1
        try:
            await self._places.acquire()
        finally:
            self._waiting -= 1
        started = time.perf_counter()
        try:
            yield
        finally:
            self._places.release()
            self._mean_seconds += _WEIGHT_OF_LAST * (time.perf_counter() - started - self._mean_seconds)

    @contextmanager
    def stream(self) -> Iterator[None]:
        """Hold a place while a stream lasts. Raises OVERLOADED when as many are open as may."""
        if self._streams >= self._max_streams:
            raise SemfaceError(Reason.OVERLOADED, "the server has as many streams as it can take; come again later")
        self._streams += 1
        try:
            yield
        finally:
            self._streams -= 1
