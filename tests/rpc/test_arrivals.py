"""Calls that come in together start in the same turn of the event loop, and none waits for ever."""

import asyncio
import time

import pytest

from semface.rpc.arrivals import LONGEST_SECONDS, Arrivals
from tests.rpc.conftest import running


async def test_calls_that_come_in_some_turns_after_each_other_start_together() -> None:
    # However slow the machine, the turns decide here.
    arrivals, turns = Arrivals(longest_seconds=60), 0
    begun: list[int] = []

    async def call() -> None:
        arrivals.note()
        await arrivals.settled()
        begun.append(turns)

    tasks = []
    for _ in range(20):
        tasks.append(asyncio.create_task(call()))
        await asyncio.sleep(0)
        turns += 1
    await asyncio.gather(*tasks)
    assert len(begun) == 20
    assert len(set(begun)) == 1


async def test_work_goes_on_however_many_come_in() -> None:
    arrivals, calm = Arrivals(), asyncio.Event()

    async def first() -> None:
        await arrivals.settled()
        calm.set()

    waiting, started = asyncio.create_task(first()), time.perf_counter()
    while not calm.is_set():
        arrivals.note()
        await asyncio.sleep(0)
        assert time.perf_counter() - started < 50 * LONGEST_SECONDS
    await waiting


async def test_a_caller_who_leaves_does_not_take_the_others_along() -> None:
    arrivals = Arrivals()
    leaving, staying = (asyncio.create_task(arrivals.settled()) for _ in range(2))
    await asyncio.sleep(0)
    leaving.cancel()
    await asyncio.wait_for(staying, 1)
    assert leaving.cancelled() or leaving.cancelling()


async def test_only_calls_of_a_service_that_joins_them_wait_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    waited = 0

    async def settled(arrivals: Arrivals) -> None:
        nonlocal waited
        waited += 1

    monkeypatch.setattr(Arrivals, "settled", settled)
    async with running(joins=False) as service:
        await service.ask()
    assert waited == 0
    async with running() as service:
        await service.ask()
    assert waited == 1
