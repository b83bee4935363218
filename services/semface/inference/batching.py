"""Requests for one network that wait together run together.

Everything but the run itself happens on the event loop, in plain callbacks, so nothing here needs a lock.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semface.inference.engine import Arrays, join_rows, row_count, split_rows

Outputs = dict[str, NDArray[Any]]
Run = Callable[[Arrays], Outputs]


@dataclass(slots=True)
class _Request:
    inputs: Arrays
    rows: int
    answer: asyncio.Future[Outputs]
    due: float


@dataclass(slots=True)
class _Line:
    """Requests whose arrays can be laid end to end: equal but for the batch axis."""

    waiting: deque[_Request] = field(default_factory=deque)
    rows: int = 0
    wake: asyncio.Handle | None = None
    wakes_later: bool = False


class Batcher:
    """Runs one network on requests as they come, several in one batch when they wait together.

    Up to ``slots`` batches run at once; what comes while all are busy joins the next batch. While none runs, whatever
    is there starts at once. While some run, the next starts when ``max_batch_size`` rows wait or the first request has
    waited ``delay`` seconds, so nobody waits for company that the load does not promise.
    """

    def __init__(self, run: Run, executor: Executor, max_batch_size: int, delay: float, slots: int) -> None:
        """Belong to the running event loop; ``run`` is called in ``executor``."""
        self._run = run
        self._executor = executor
        self._max_rows = max_batch_size
        self._delay = delay
        self._slots = self._free = slots
        self._loop = asyncio.get_running_loop()
        self._lines: dict[Hashable, _Line] = {}

    async def submit(self, inputs: Arrays) -> Outputs:
        """Return the network's outputs for ``inputs``, whose arrays all have the same number of rows, at least one."""
        rows = row_count(inputs)
        if rows <= self._max_rows:
            return await self._enqueue(inputs, rows)
        parts = split_rows(inputs, self._max_rows)
        return join_rows(await asyncio.gather(*(self._enqueue(part, row_count(part)) for part in parts)))

    def _enqueue(self, inputs: Arrays, rows: int) -> asyncio.Future[Outputs]:
        kind = tuple((name, array.shape[1:]) for name, array in sorted(inputs.items()))
        answer: asyncio.Future[Outputs] = self._loop.create_future()
        line = self._lines.setdefault(kind, _Line())
        line.rows += rows
        line.waiting.append(_Request(inputs, rows, answer, self._loop.time() + self._delay))
        # Not now but in the loop's next round, so that what is sent together runs together.
        if self._free and (line.wake is None or (line.wakes_later and line.rows >= self._max_rows)):
            self._wake(line, self._loop.call_soon(self._dispatch, kind))
        return answer

    @staticmethod
    def _wake(line: _Line, handle: asyncio.Handle | None, *, later: bool = False) -> None:
        if line.wake is not None:
            line.wake.cancel()
        line.wake, line.wakes_later = handle, later

    def _dispatch(self, kind: Hashable) -> None:
        """Start every batch of a line that may start now; for the others, see to it that this is called again."""
        line = self._lines[kind]
        self._wake(line, None)
        while self._free:
            # Whoever was cancelled while waiting has gone.
            while line.waiting and line.waiting[0].answer.done():
                line.rows -= line.waiting.popleft().rows
            if not line.waiting:
                del self._lines[kind]
                return
            busy, due = self._free < self._slots, line.waiting[0].due
            if busy and due > self._loop.time() and line.rows < self._max_rows:
                self._wake(line, self._loop.call_at(due, self._dispatch, kind), later=True)
                return
            self._start(self._take(line))

    def _take(self, line: _Line) -> list[_Request]:
        batch, room = [], self._max_rows
        while line.waiting and line.waiting[0].rows <= room:
            request = line.waiting.popleft()
            line.rows -= request.rows
            if not request.answer.done():
                batch.append(request)
                room -= request.rows
        return batch

    def _start(self, batch: list[_Request]) -> None:
        self._free -= 1
        running = self._loop.run_in_executor(self._executor, run_together, self._run, [item.inputs for item in batch])
        running.add_done_callback(partial(self._finish, batch))

    def _finish(self, batch: list[_Request], running: "asyncio.Future[list[Outputs | Exception]]") -> None:
        self._free += 1
        failure = asyncio.CancelledError() if running.cancelled() else running.exception()
        answers: Sequence[Outputs | BaseException] = [failure] * len(batch) if failure else running.result()
        for request, answer in zip(batch, answers, strict=True):
            if request.answer.done():
                continue
            if isinstance(answer, asyncio.CancelledError):
                request.answer.cancel()
            elif isinstance(answer, BaseException):
                request.answer.set_exception(answer)
            else:
                request.answer.set_result(answer)
        for kind in list(self._lines):
            self._dispatch(kind)


def run_together(run: Run, requests: Sequence[Arrays]) -> list[Outputs | Exception]:
    """Run ``requests`` as one batch and return each one's rows; when the batch fails, each is run alone."""
    if len(requests) == 1:
        return [_attempt(run, requests[0])]
    outputs = _attempt(run, join_rows(requests))
    if isinstance(outputs, Exception):
        return [_attempt(run, request) for request in requests]
    ends = np.cumsum([row_count(request) for request in requests])[:-1]
    parts = {name: np.split(array, ends) for name, array in outputs.items()}
    return [{name: parts[name][index] for name in parts} for index in range(len(requests))]


def _attempt(run: Run, inputs: Arrays) -> Outputs | Exception:
    try:
        return run(inputs)
    except Exception as error:
        return error
