"""What is asked for in one turn of the event loop is done in one go, and each caller gets its own answer."""

import asyncio
from collections.abc import Sequence

import pytest

from semface.understanding.gathering import MOST_AT_ONCE, Gathering, row_bounds


class Doubling:
    """Doubles numbers, refuses odd ones, and keeps how many came at once."""

    def __init__(self) -> None:
        self.batches: list[int] = []

    async def work(self, numbers: Sequence[int]) -> list[int]:
        self.batches.append(len(numbers))
        await asyncio.sleep(0)
        if any(number % 2 for number in numbers):
            raise ValueError("odd")
        return [2 * number for number in numbers]


async def test_requests_of_one_turn_are_answered_in_one_go() -> None:
    doubling = Doubling()
    gathering = Gathering(doubling.work)
    assert await asyncio.gather(*(gathering.submit(number) for number in (2, 4, 6))) == [4, 8, 12]
    assert await gathering.submit(8) == 16
    assert doubling.batches == [3, 1]


async def test_a_request_at_fault_fails_alone() -> None:
    gathering = Gathering(Doubling().work)
    good, bad, other = (gathering.submit(number) for number in (2, 3, 4))
    assert (await good, await other) == (4, 8)
    with pytest.raises(ValueError, match="odd"):
        await bad


async def test_so_many_that_the_loop_would_be_held_are_split() -> None:
    doubling = Doubling()
    gathering = Gathering(doubling.work)
    await asyncio.gather(*(gathering.submit(2) for _ in range(MOST_AT_ONCE + 1)))
    assert sorted(doubling.batches) == [1, MOST_AT_ONCE]


async def test_a_caller_who_leaves_does_not_fail_the_others() -> None:
    gathering = Gathering(Doubling().work)
    leaving, staying = gathering.submit(2), gathering.submit(4)
    await asyncio.sleep(0)
    leaving.cancel()
    assert await staying == 8


def test_rows_of_each_request_lie_one_after_the_other() -> None:
    assert list(row_bounds([[1, 2], [], [3]])) == [(0, 2), (2, 2), (2, 3)]
