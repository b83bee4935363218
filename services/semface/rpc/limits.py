"""Admission: how much work is taken at once, how much waits, whose turn it is, and when to come again.

Work is counted in seconds of the server. While n calls of a service are in flight, each takes 1/n of a second from
every second, so what a call took in all is the time that it would take alone at the rate the server has just now. Calls
of one method and about one size are taken to be alike.
"""

import asyncio
import random
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field

from semface.errors import Reason, SemfaceError

_WEIGHT_OF_LAST = 0.1
_SHORTEST_RETRY_SECONDS = 0.05
_JITTER = 0.5
"""Those who are refused together are told to come again at different moments, up to so much later."""

FULL = "the server has as many calls as it can take; come again later"

_KINDS_KEPT = 1024
"""Kinds of call (method and size) whose work is remembered."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What one service takes: ``places`` calls at once, and how many may wait, or how long.

    Up to ``unrefused`` calls in all nobody is refused for the time that the wait would take.
    """

    places: int
    unrefused: int
    waiting: int
    wait_seconds: float


@dataclass(slots=True, eq=False)
class _Waiting:
    tenant: str
    work: float
    place: asyncio.Future[None]


@dataclass(slots=True)
class _Tenant:
    """What one tenant has waiting, and what it was given since it last had nothing."""

    queue: deque[_Waiting] = field(default_factory=deque)
    waiting: float = 0.0
    in_flight: int = 0
    given: float = 0.0


class Admission:
    """Lets calls of one service in, in turns among tenants by the work that they make."""

    def __init__(self, bounds: Bounds, clock: Callable[[], float] = time.perf_counter) -> None:
        """Start with nothing in flight and nothing known of how long calls take; ``clock`` tells seconds."""
        self._bounds = bounds
        self._now = clock
        self._in_flight = self._waiting = 0
        self._tenants: dict[str, _Tenant] = {}
        self._work: dict[tuple[str, int], float] = {}
        self._clock, self._looked = 0.0, clock()

    @property
    def wait_seconds(self) -> float:
        """How long a call that comes now should wait for its place, by the work of those before it."""
        return sum(tenant.waiting for tenant in self._tenants.values())

    @asynccontextmanager
    async def call(
        self, method: str, size: int, tenant: str = "", within_seconds: float | None = None
    ) -> AsyncIterator[None]:
        """Hold a place while a call of ``method`` with ``size`` bytes is answered; wait for it in the tenant's turn.

        Raises OVERLOADED where too much waits, or the wait would take longer than ``within_seconds``. Of a tenant with
        more waiting than others the last calls make room for theirs.
        """
        kind = (method, size.bit_length())
        work = self._work.get(kind, 0.0)
        ours = self._tenants.setdefault(tenant, self._newcomer())
        try:
            if self._in_flight < self._bounds.places:
                self._enter(ours)
            else:
                self._require_room(ours, within_seconds)
                await self._wait(_Waiting(tenant, work, asyncio.get_running_loop().create_future()), ours)
            ours.given += work
            began = self._clock
            try:
                yield
            finally:
                self._advance()
                self._learn(kind, self._clock - began)
                ours.given += self._clock - began - work
                self._leave(ours)
        finally:
            if not ours.in_flight and not ours.queue:
                self._tenants.pop(tenant, None)

    def _newcomer(self) -> _Tenant:
        """Return a tenant that is owed nothing for the time in which it asked for nothing."""
        return _Tenant(given=min((tenant.given for tenant in self._tenants.values()), default=0.0))

    def has_room(self, untaken: int = 0) -> bool:
        """Return whether a call that comes now finds a place or may wait for one, as ``untaken`` more do unseen."""
        bounds = self._bounds
        if self._in_flight + self._waiting + untaken >= bounds.places + bounds.waiting:
            return False
        if self._in_flight < bounds.places:
            return True
        return self._in_flight + self._waiting < bounds.unrefused or self.wait_seconds <= bounds.wait_seconds

    def refusal(self, message: str = FULL) -> SemfaceError:
        """Return OVERLOADED, with when to come again."""
        return SemfaceError(Reason.OVERLOADED, message, retry_seconds=self.retry_seconds())

    def retry_seconds(self) -> float:
        """Return when a call that is refused now should come again."""
        return max(_SHORTEST_RETRY_SECONDS, self.wait_seconds) * (1 + _JITTER * random.random())

    def _wait_in_turn(self, ours: _Tenant) -> float:
        """Return how long the next call of ``ours`` should wait: meanwhile no other tenant is given more than ours."""
        return sum(min(tenant.waiting, ours.waiting) for tenant in self._tenants.values())

    def _require_room(self, ours: _Tenant, within_seconds: float | None) -> None:
        bounds, wait_seconds = self._bounds, self._wait_in_turn(ours)
        if within_seconds is not None and wait_seconds > within_seconds:
            raise self.refusal("the call could not be answered within its deadline; come again later")
        if self._waiting < bounds.waiting and (
            self._in_flight + self._waiting < bounds.unrefused or wait_seconds <= bounds.wait_seconds
        ):
            return
        greediest = max(self._tenants.values(), key=lambda tenant: (len(tenant.queue), tenant.waiting))
        # Making room for one more must not make them the greedier.
        if len(ours.queue) + 1 >= len(greediest.queue):
            raise self.refusal()
        last = greediest.queue.pop()
        self._forget(greediest, last)
        if not last.place.done():
            last.place.set_exception(self.refusal("others wait with fewer calls; come again later"))

    async def _wait(self, waiting: _Waiting, ours: _Tenant) -> None:
        ours.queue.append(waiting)
        ours.waiting += waiting.work
        self._waiting += 1
        try:
            await waiting.place
        except BaseException:
            if waiting in ours.queue:
                ours.queue.remove(waiting)
                self._forget(ours, waiting)
            elif waiting.place.done() and not waiting.place.cancelled() and waiting.place.exception() is None:
                # Given a place and cancelled before it could take it.
                self._leave(ours)
            raise

    def _forget(self, tenant: _Tenant, waiting: _Waiting) -> None:
        self._waiting -= 1
        # What is left of sums of fractions is no work.
        tenant.waiting = tenant.waiting - waiting.work if tenant.queue else 0.0

    def _enter(self, tenant: _Tenant) -> None:
        self._advance()
        self._in_flight += 1
        tenant.in_flight += 1

    def _leave(self, tenant: _Tenant) -> None:
        self._advance()
        self._in_flight -= 1
        tenant.in_flight -= 1
        while self._waiting and self._in_flight < self._bounds.places:
            # The turn is of whoever was given least.
            following = min((one for one in self._tenants.values() if one.queue), key=lambda one: one.given)
            waiting = following.queue.popleft()
            self._forget(following, waiting)
            if not waiting.place.done():
                self._enter(following)
                waiting.place.set_result(None)

    def _advance(self) -> None:
        now = self._now()
        if self._in_flight:
            self._clock += (now - self._looked) / self._in_flight
        self._looked = now

    def _learn(self, kind: tuple[str, int], work: float) -> None:
        known = self._work.get(kind)
        if known is None and len(self._work) >= _KINDS_KEPT:
            self._work.clear()
        self._work[kind] = work if known is None else known + _WEIGHT_OF_LAST * (work - known)


class StreamPlaces:
    """How many streams are open; where callers are told apart, none may keep the others out."""

    def __init__(self, most: int, *, shared: bool) -> None:
        """Let ``most`` be open at once; where ``shared``, a tenant has a quarter less, which is kept for the others."""
        self._most = most
        self._each = max(1, most - most // 4) if shared else most
        self._open: dict[str, int] = {}

    @contextmanager
    def stream(self, tenant: str = "") -> Iterator[None]:
        """Hold a place while a stream lasts. Raises OVERLOADED when as many are open as may."""
        ours = self._open.get(tenant, 0)
        if ours >= self._each or sum(self._open.values()) >= self._most:
            raise SemfaceError(Reason.OVERLOADED, "the server has as many streams as it can take; come again later")
        self._open[tenant] = ours + 1
        try:
            yield
        finally:
            self._open[tenant] -= 1
            if not self._open[tenant]:
                del self._open[tenant]
