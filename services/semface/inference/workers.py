"""Who does work that asks several networks one after the other, with some of its own between them.

Where networks run in this process all of it is done in one of the engine's threads: each change of thread would cost a
core some 0.1 ms, and two pictures at a time on one core only take the cache from each other.
"""

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

from numpy.typing import NDArray

from semface.inference.engine import Arrays, Engine, Work

Result = TypeVar("Result")


class LoopWorker:
    """Works on the event loop: networks run wherever the engine runs them, everything long in threads."""

    def __init__(self, engine: Engine) -> None:
        """Ask ``engine``."""
        self._engine = engine

    async def infer(self, model: str, inputs: Arrays) -> dict[str, NDArray[Any]]:
        """See :meth:`semface.inference.engine.Worker.infer`."""
        return await self._engine.infer(model, inputs)

    async def compute(self, function: Callable[..., Result], *arguments: Any) -> Result:
        """See :meth:`semface.inference.engine.Worker.compute`."""
        return await asyncio.to_thread(function, *arguments)


class ThreadWorker:
    """Works in the thread that it is called in, from the first step to the last."""

    def __init__(self, run: Callable[[str, Arrays], dict[str, NDArray[Any]]]) -> None:
        """Let ``run`` run a network here."""
        self._run = run

    async def infer(self, model: str, inputs: Arrays) -> dict[str, NDArray[Any]]:
        """See :meth:`semface.inference.engine.Worker.infer`."""
        return self._run(model, inputs)

    async def compute(self, function: Callable[..., Result], *arguments: Any) -> Result:
        """See :meth:`semface.inference.engine.Worker.compute`."""
        return function(*arguments)

    def finish(self, work: Work[Result]) -> Result:
        """Return what ``work`` returns. Raises RuntimeError where it waits for anything but this worker."""
        steps = work(self)
        try:
            steps.send(None)
        except StopIteration as end:
            result: Result = end.value
            return result
        steps.close()
        raise RuntimeError("work in a thread of the engine cannot wait for an event loop")
