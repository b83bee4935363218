"""How much time the work at hand has left; whoever passes work on passes this on too."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_END: ContextVar[float | None] = ContextVar("semface_deadline", default=None)
"""When the time is up on the monotonic clock; None where nobody has set an end."""


@contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """Say that the block, and the tasks that it starts, have ``seconds`` at most; an earlier end stays."""
    end, before = time.monotonic() + seconds, _END.get()
    token = _END.set(end if before is None else min(end, before))
    try:
        yield
    finally:
        _END.reset(token)


def remaining_seconds() -> float | None:
    """Return the seconds left, below zero where the time is up; None where nobody has set an end."""
    end = _END.get()
    return None if end is None else end - time.monotonic()
