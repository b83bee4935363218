"""Who gets in and when: by the work that waits, in turns among tenants, with a time to come again."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from semface.errors import Reason, SemfaceError
from semface.rpc.limits import Admission, Bounds, StreamPlaces

METHOD = "/semface.v1.ExtractionService/Extract"


SECONDS = 0.1
"""What a call takes, by the clock of the tests."""


class Clock:
    """Time that passes when it is told to, so that a busy machine changes nothing."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Calls:
    """Calls of tenants, each held until it is let go; then it takes ``SECONDS``."""

    def __init__(self, admission: Admission, clock: Clock) -> None:
        self.admission = admission
        self._clock = clock
        self.begun: list[str] = []
        self.refused: list[SemfaceError] = []
        self._release = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def come(self, *tenants: str) -> None:
        """Let a call of each tenant come in, one after the other."""
        for tenant in tenants:
            self._tasks.append(asyncio.create_task(self._call(tenant)))
            await asyncio.sleep(0)

    async def end(self) -> None:
        """Let every call end."""
        self._release.set()
        await asyncio.gather(*self._tasks)

    async def _call(self, tenant: str) -> None:
        try:
            async with self.admission.call(METHOD, 1000, tenant):
                self.begun.append(tenant)
                await self._release.wait()
                self._clock.now += SECONDS
        except SemfaceError as error:
            self.refused.append(error)


def fresh(places: int = 1, unrefused: int = 1, waiting: int = 4, wait_seconds: float = 10.0) -> Calls:
    """Return calls of a service that nothing is known of."""
    clock = Clock()
    return Calls(Admission(Bounds(places, unrefused, waiting, wait_seconds), clock), clock)


async def taught(**bounds: float) -> Calls:
    """Return calls of a service that has seen one, so that it knows how long they take."""
    calls = fresh(**bounds)  # type: ignore[arg-type]
    async with calls.admission.call(METHOD, 1000):
        calls._clock.now += SECONDS
    return calls


async def test_what_no_place_and_no_queue_can_hold_is_refused_with_a_time_to_come_again() -> None:
    calls = fresh()
    await calls.come(*"aaaaaaa")
    assert len(calls.begun) == 1
    assert [error.reason for error in calls.refused] == [Reason.OVERLOADED] * 2
    assert all(error.retry_seconds is not None and error.retry_seconds > 0 for error in calls.refused)
    await calls.end()
    assert len(calls.begun) == 5


async def test_a_queue_that_would_take_too_long_is_refused_before_it_is_full() -> None:
    calls = await taught(waiting=100, wait_seconds=0.25)
    await calls.come(*"a" * 10)
    # One has a place; of those who wait each adds a tenth of a second, and the fourth would wait 0.3.
    assert len(calls.refused) == 6
    assert calls.admission.wait_seconds == pytest.approx(0.3)
    assert all((error.retry_seconds or 0) >= 0.25 for error in calls.refused)
    await calls.end()


async def test_few_calls_are_never_refused_however_long_they_take() -> None:
    calls = await taught(unrefused=8, waiting=100, wait_seconds=0.0)
    await calls.come(*"a" * 9)
    assert len(calls.refused) == 1
    await calls.end()


async def test_a_call_that_could_not_be_answered_in_time_is_refused_at_once() -> None:
    calls = await taught(waiting=100)
    await calls.come("a", "a", "a", "a")
    with pytest.raises(SemfaceError, match="deadline") as refused:
        async with calls.admission.call(METHOD, 1000, "a", within_seconds=0.05):
            pass
    assert refused.value.reason is Reason.OVERLOADED
    await calls.end()


async def test_a_call_with_a_deadline_is_not_refused_for_what_another_tenant_has_waiting() -> None:
    calls = await taught(waiting=100)
    await calls.come(*"a" * 20)
    waiting = asyncio.create_task(calls.admission.call(METHOD, 1000, "b", within_seconds=0.15).__aenter__())
    await asyncio.sleep(0)
    assert not waiting.done()
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    await calls.end()


async def test_tenants_take_turns_however_much_one_of_them_asks() -> None:
    calls = await taught(waiting=100)
    await calls.come(*"a" * 20, "b", "b")
    await calls.end()
    assert calls.refused == []
    # Behind all twenty they would begin at places 20 and 21.
    assert max(place for place, tenant in enumerate(calls.begun) if tenant == "b") < 12


async def test_a_full_queue_makes_room_for_a_tenant_that_has_less_in_it() -> None:
    calls = fresh(waiting=4)
    await calls.come(*"aaaaa", "b", "b", "b")
    # The first two of b take the place of the last two of a; a third would be more than a has.
    assert len(calls.refused) == 3
    await calls.end()
    assert sorted(calls.begun) == ["a", "a", "a", "b", "b"]


async def test_a_caller_who_leaves_the_queue_leaves_nothing_behind() -> None:
    found = (await taught(waiting=2)).admission
    async with AsyncExitStack() as held:
        await held.enter_async_context(found.call(METHOD, 1000))
        for _ in range(5):
            waiting = asyncio.create_task(found.call(METHOD, 1000).__aenter__())
            await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
        assert found.wait_seconds == 0.0
        assert found.has_room()
    async with found.call(METHOD, 1000):
        pass


async def test_a_place_given_to_a_caller_who_leaves_at_that_moment_is_not_lost() -> None:
    found = fresh(waiting=2).admission
    held = found.call(METHOD, 1000)
    await held.__aenter__()
    waiting = asyncio.create_task(found.call(METHOD, 1000).__aenter__())
    await asyncio.sleep(0)
    await held.__aexit__(None, None, None)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    async with asyncio.timeout(1), found.call(METHOD, 1000):
        pass


def test_streams_of_one_tenant_leave_room_for_others_where_callers_are_told_apart() -> None:
    places = StreamPlaces(4, shared=True)
    with places.stream("a"), places.stream("a"), places.stream("a"):
        with pytest.raises(SemfaceError) as refused, places.stream("a"):
            pass
        assert refused.value.reason is Reason.OVERLOADED
        with places.stream("b"):
            pass
    alone = StreamPlaces(2, shared=False)
    with alone.stream(), alone.stream():
        pass
