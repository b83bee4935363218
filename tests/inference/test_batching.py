import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from semface.inference.batching import Batcher

Rows = list[int]


class Doubling:
    """A network that doubles, notes the rows of each run, waits for ``gate``, and breaks on a negative number."""

    def __init__(self) -> None:
        self.runs: Rows = []
        self.gate = threading.Event()
        self.gate.set()

    def __call__(self, inputs: Any) -> dict[str, Any]:
        self.gate.wait(5)
        self.runs.append(len(inputs["x"]))
        if (inputs["x"] < 0).any():
            raise ArithmeticError("negative")
        return {"y": 2 * inputs["x"]}


def request(value: float, rows: int = 1, length: int = 3) -> dict[str, Any]:
    return {"x": np.arange(rows * length, dtype=np.float32).reshape(rows, length) + np.float32(value)}


async def submit_all(
    network: Callable[[Any], Any], requests: list[dict[str, Any]], *, size: int = 4, delay: float = 0.0, slots: int = 1
) -> list[Any]:
    with ThreadPoolExecutor(slots) as executor:
        batcher = Batcher(network, executor, size, delay, slots)
        return await asyncio.gather(*(batcher.submit(each) for each in requests), return_exceptions=True)


async def test_requests_that_wait_together_run_together_and_each_gets_its_own_rows() -> None:
    network = Doubling()
    requests = [request(100 * index) for index in range(9)]
    answers = await submit_all(network, requests)
    for sent, answer in zip(requests, answers, strict=True):
        np.testing.assert_array_equal(answer["y"], 2 * sent["x"])
    assert network.runs == [4, 4, 1]


async def test_a_request_to_an_idle_network_starts_at_once_whatever_the_delay() -> None:
    async with asyncio.timeout(5):
        for value in (1, 2):
            await submit_all(Doubling(), [request(value)], delay=60)


@asynccontextmanager
async def half_busy(network: Doubling, delay: float) -> AsyncIterator[Batcher]:
    """A batcher with two slots, of which one runs as long as the gate is shut."""
    network.gate.clear()
    with ThreadPoolExecutor(2) as executor:
        batcher = Batcher(network, executor, 4, delay, 2)
        first = asyncio.create_task(batcher.submit(request(0)))
        await asyncio.sleep(0.01)
        yield batcher
        network.gate.set()
        await first


async def test_beside_a_running_batch_a_request_waits_for_company_but_no_longer_than_the_delay() -> None:
    network = Doubling()
    async with half_busy(network, delay=0.4) as batcher:
        started = asyncio.get_running_loop().time()
        early = asyncio.create_task(batcher.submit(request(1)))
        await asyncio.sleep(0.05)
        late = asyncio.create_task(batcher.submit(request(2)))
        asyncio.get_running_loop().call_later(0.6, network.gate.set)
        await asyncio.gather(early, late)
        assert 0.39 <= asyncio.get_running_loop().time() - started < 3
    assert sorted(network.runs) == [1, 2]


async def test_beside_a_running_batch_a_full_one_does_not_wait_for_the_delay() -> None:
    network = Doubling()
    async with half_busy(network, delay=60) as batcher, asyncio.timeout(5):
        asyncio.get_running_loop().call_later(0.02, network.gate.set)
        await asyncio.gather(*(batcher.submit(request(index)) for index in range(4)))
    assert sorted(network.runs) == [1, 4]


async def test_requests_of_other_sizes_are_never_laid_end_to_end() -> None:
    network = Doubling()
    requests = [request(index, length=3 + index % 2) for index in range(6)]
    answers = await submit_all(network, requests, delay=0.01)
    assert [answer["y"].shape for answer in answers] == [each["x"].shape for each in requests]
    assert sorted(network.runs) == [3, 3]


async def test_a_request_that_breaks_a_run_does_not_break_the_others_of_its_batch() -> None:
    first, bad, last = await submit_all(Doubling(), [request(1), request(-50), request(7)], delay=0.01)
    np.testing.assert_array_equal(first["y"], 2 * request(1)["x"])
    np.testing.assert_array_equal(last["y"], 2 * request(7)["x"])
    assert isinstance(bad, ArithmeticError)


async def test_a_cancelled_request_is_dropped_before_it_runs_and_the_others_are_answered() -> None:
    network = Doubling()
    network.gate.clear()
    with ThreadPoolExecutor(1) as executor:
        batcher = Batcher(network, executor, 4, 0.0, 1)
        running = asyncio.create_task(batcher.submit(request(1)))
        await asyncio.sleep(0.01)
        cancelled, waiting = (asyncio.create_task(batcher.submit(request(value))) for value in (2, 3))
        await asyncio.sleep(0.01)
        cancelled.cancel()
        network.gate.set()
        np.testing.assert_array_equal((await running)["y"], 2 * request(1)["x"])
        np.testing.assert_array_equal((await waiting)["y"], 2 * request(3)["x"])
        with pytest.raises(asyncio.CancelledError):
            await cancelled
    assert network.runs == [1, 1]


async def test_a_request_cancelled_while_it_runs_leaves_the_rest_of_its_batch_alone() -> None:
    network = Doubling()
    network.gate.clear()
    with ThreadPoolExecutor(1) as executor:
        batcher = Batcher(network, executor, 2, 0.0, 1)
        kept, cancelled = (asyncio.create_task(batcher.submit(request(value))) for value in (1, 2))
        await asyncio.sleep(0.01)
        cancelled.cancel()
        network.gate.set()
        np.testing.assert_array_equal((await kept)["y"], 2 * request(1)["x"])
    assert network.runs == [2]


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(st.integers(1, 11), st.integers(1, 3)), min_size=1, max_size=12),
    st.integers(1, 5),
    st.sampled_from([0.0, 0.001]),
    st.integers(1, 3),
)
def test_whatever_comes_together_every_answer_is_its_own_and_no_run_is_too_large(
    shapes: list[tuple[int, int]], size: int, delay: float, slots: int
) -> None:
    network = Doubling()
    requests = [request(1000 * index, rows, length) for index, (rows, length) in enumerate(shapes)]
    answers = asyncio.run(submit_all(network, requests, size=size, delay=delay, slots=slots))
    for sent, answer in zip(requests, answers, strict=True):
        np.testing.assert_array_equal(answer["y"], 2 * sent["x"])
    assert max(network.runs) <= size
    assert sum(network.runs) == sum(rows for rows, _ in shapes)
