"""Load is made as it is told, and times count from where they should."""

import asyncio
import itertools
import time

import pytest

from semface.evaluation.load.driving import closed_loop, open_loop


async def test_callers_who_wait_are_never_more_than_told_and_every_call_is_counted() -> None:
    running = most = 0

    async def call() -> str:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.002)
        running -= 1
        return "OK"

    outcome = await closed_loop(call, 4, seconds=10, calls=40)
    assert (most, outcome.answered) == (4, 40)
    assert outcome.percentile(0.5) >= 2


async def test_a_fixed_rate_does_not_wait_for_answers_and_its_times_count_from_when_a_call_was_due() -> None:
    """One server that takes 10 ms for each call is asked 150 times a second: its queue has to show."""
    door = asyncio.Lock()

    async def call() -> str:
        async with door:
            await asyncio.sleep(0.01)
        return "OK"

    outcome = await open_loop(call, 150, seconds=1)
    assert 110 <= outcome.answered <= 190
    assert outcome.percentile(0.99) > 200


async def test_refusals_and_failures_are_told_apart_and_have_no_say_in_the_times() -> None:
    codes = iter(["OK", "RESOURCE_EXHAUSTED", "429", "UNAVAILABLE"] * 2)

    async def call() -> str:
        code = next(codes)
        await asyncio.sleep(0.001 if code == "OK" else 0.3)
        return code

    outcome = await closed_loop(call, 1, seconds=60, calls=8)
    assert (outcome.answered, outcome.shed, outcome.failed) == (2, 4, 2)
    assert outcome.percentile(0.99) < 300


async def test_a_late_generator_is_told() -> None:
    async def call() -> str:
        time.sleep(0.03)  # noqa: ASYNC251 - the loop is held on purpose
        return "OK"

    assert (await open_loop(call, 50, seconds=0.5)).lag_p99_ms > 15


async def test_a_system_that_neither_answers_nor_refuses_ends_the_run_and_what_it_answered_before_counts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("semface.evaluation.load.driving.MOST_UNANSWERED", 20)
    waits = itertools.chain([0.0], itertools.repeat(60.0))

    async def call() -> str:
        await asyncio.sleep(next(waits))
        return "OK"

    outcome = await open_loop(call, 1000, seconds=5)
    assert outcome.unanswered > 20
    assert outcome.answered == 1
    assert outcome.seconds < 1
