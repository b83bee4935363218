import asyncio

import pytest

from semface.deadline import deadline, remaining_seconds


def test_nobody_has_set_an_end_by_itself() -> None:
    assert remaining_seconds() is None


def test_the_earlier_end_holds_and_the_one_before_comes_back() -> None:
    with deadline(10):
        with deadline(1):
            assert remaining_seconds() == pytest.approx(1, abs=0.5)
            with deadline(5):
                assert remaining_seconds() == pytest.approx(1, abs=0.5)
        assert remaining_seconds() == pytest.approx(10, abs=0.5)
    assert remaining_seconds() is None


async def test_tasks_that_the_block_starts_know_of_it() -> None:
    async def ask() -> float | None:
        return remaining_seconds()

    with deadline(10):
        task = asyncio.create_task(ask())
    assert await task == pytest.approx(10, abs=0.5)
    assert remaining_seconds() is None
