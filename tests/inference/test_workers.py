"""Work with several networks is done in one thread where they run in this process."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextvars import ContextVar
from pathlib import Path

import numpy as np
import pytest

from semface.errors import Reason, SemfaceError
from semface.inference.embedded import EmbeddedEngine
from semface.inference.engine import Worker
from semface.inference.workers import LoopWorker
from tests.inference.networks import add_model

ROWS = np.arange(12, dtype=np.float32).reshape(6, 2)


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[EmbeddedEngine]:
    """An engine over one network that doubles."""
    add_model(tmp_path, "double")
    started = EmbeddedEngine(tmp_path, threads=1)
    yield started
    await started.close()


async def four_times(worker: Worker) -> tuple[np.ndarray, set[str]]:
    """Return four times ``ROWS``, and the threads in which something of it was done."""
    threads = {threading.current_thread().name}
    twice = (await worker.infer("double", {"x": ROWS}))["y"]
    threads.add(await worker.compute(lambda: threading.current_thread().name))
    return (await worker.infer("double", {"x": twice}))["y"], threads


async def test_all_of_it_is_done_in_one_thread_beside_the_event_loop(engine: EmbeddedEngine) -> None:
    values, threads = await engine.work_through(four_times)
    np.testing.assert_array_equal(values, 4 * ROWS)
    assert len(threads) == 1
    assert threading.current_thread().name not in threads


async def test_on_the_event_loop_it_comes_to_the_same(engine: EmbeddedEngine) -> None:
    values, threads = await four_times(LoopWorker(engine))
    np.testing.assert_array_equal(values, 4 * ROWS)
    assert threading.current_thread().name in threads


async def test_more_rows_than_a_network_takes_are_run_in_parts(tmp_path: Path) -> None:
    add_model(tmp_path, "double", more='parameters { key: "cpu_batch_size" value { string_value: "1" } }')
    engine = EmbeddedEngine(tmp_path, threads=1)
    values, _ = await engine.work_through(four_times)
    np.testing.assert_array_equal(values, 4 * ROWS)
    await engine.close()


async def test_as_many_are_at_work_as_the_engine_has_threads(tmp_path: Path) -> None:
    add_model(tmp_path, "double")
    engine, both = EmbeddedEngine(tmp_path, threads=2), threading.Barrier(2)

    async def meet(worker: Worker) -> None:
        # Each waits for the other, which one thread alone could not.
        await worker.compute(both.wait, 10)

    await asyncio.gather(engine.work_through(meet), engine.work_through(meet))
    await engine.close()


async def test_what_goes_wrong_is_raised_to_the_caller(engine: EmbeddedEngine) -> None:
    async def unknown(worker: Worker) -> None:
        await worker.infer("nothing", {"x": ROWS})

    async def unfit(worker: Worker) -> None:
        await worker.infer("double", {"y": ROWS})

    async def waiting(worker: Worker) -> None:
        await asyncio.sleep(0)

    with pytest.raises(SemfaceError) as caught:
        await engine.work_through(unknown)
    assert caught.value.reason is Reason.MODEL_UNKNOWN
    with pytest.raises(ValueError, match="takes"):
        await engine.work_through(unfit)
    with pytest.raises(RuntimeError, match="cannot wait"):
        await engine.work_through(waiting)


async def test_the_work_sees_the_context_of_its_caller(engine: EmbeddedEngine) -> None:
    name: ContextVar[str] = ContextVar("name")
    name.set("caller")

    async def look(worker: Worker) -> str:
        return name.get()

    assert await engine.work_through(look) == "caller"
