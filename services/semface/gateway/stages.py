"""How long each stage of an answer took."""

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Stages:
    """Collects the milliseconds of named stages, in the order in which they ran; ``total`` counts from construction."""

    def __init__(self) -> None:
        self._start = time.perf_counter()
        self._milliseconds: dict[str, float] = {}

    @contextmanager
    def measure(self, name: str) -> Iterator[None]:
        """Add the time spent in the block to the stage ``name``."""
        start = time.perf_counter()
        try:
            yield
        finally:
            spent = (time.perf_counter() - start) * 1000
            self._milliseconds[name] = self._milliseconds.get(name, 0.0) + spent

    def milliseconds(self) -> dict[str, float]:
        """Return stage to milliseconds, with ``total``, rounded to microseconds."""
        total = (time.perf_counter() - self._start) * 1000
        return {name: round(spent, 3) for name, spent in {**self._milliseconds, "total": total}.items()}

    def server_timing(self) -> str:
        """Return the same as the value of a Server-Timing header."""
        return ", ".join(f"{name};dur={spent}" for name, spent in self.milliseconds().items())
