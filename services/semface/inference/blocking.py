"""For callers without an event loop (the command line, evaluation, training): wait for a coroutine."""

import asyncio
from collections.abc import Coroutine
from functools import cache
from threading import Thread
from typing import Any, TypeVar

Result = TypeVar("Result")


@cache
def _loop() -> asyncio.AbstractEventLoop:
    # One loop for the life of the process: an engine's queues belong to the loop that first used them.
    loop = asyncio.new_event_loop()
    Thread(target=loop.run_forever, name="semface-blocking", daemon=True).start()
    return loop


def run_blocking(coroutine: Coroutine[Any, Any, Result]) -> Result:
    """Run ``coroutine`` on the process's background event loop and return its result, or raise its error.

    May be called from many threads at once; never call it from a coroutine.
    """
    return asyncio.run_coroutine_threadsafe(coroutine, _loop()).result()
