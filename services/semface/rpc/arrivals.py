"""Calls that come in together start together, and the door has precedence over the work.

A server of asyncio takes one call in each turn of its event loop. Were each worked on at once, those behind it would
wait unseen inside gRPC, where nobody can refuse them. So a call that was let in waits until no more come in for some
turns, which costs a lone one little, but more where networks have had the cache. What came in together is then worked
on in the same turn, where it can be joined. Only calls of services that join them wait so.
"""

import asyncio
import time
from typing import Final

PATIENCE: Final = 6
"""Turns of the event loop without a call after which no more are waited for. With 4 the batches of sixteen callers are
whole, with 2 they are not."""

LONGEST_SECONDS: Final = 0.01
"""However many still come in, work goes on after this time."""


class Arrivals:
    """Counts the calls that come in and tells when no more do. Belongs to one event loop."""

    def __init__(self, longest_seconds: float = LONGEST_SECONDS) -> None:
        """Start with none; hold nobody for more than ``longest_seconds``."""
        self._longest_seconds = longest_seconds
        self._count = 0
        self._waiting: list[asyncio.Future[None]] = []

    def note(self) -> None:
        """Count a call that has come in, whatever becomes of it."""
        self._count += 1

    async def settled(self) -> None:
        """Return once no call has come in for some turns, together with all others who wait for that."""
        loop = asyncio.get_running_loop()
        calm = loop.create_future()
        self._waiting.append(calm)
        if len(self._waiting) == 1:
            loop.call_soon(self._look, self._count, PATIENCE, time.perf_counter() + self._longest_seconds)
        await calm

    def _look(self, count: int, patience: int, end: float) -> None:
        if patience and time.perf_counter() < end:
            left = PATIENCE if self._count > count else patience - 1
            asyncio.get_running_loop().call_soon(self._look, self._count, left, end)
            return
        waiting, self._waiting = self._waiting, []
        for calm in waiting:
            if not calm.done():
                calm.set_result(None)
