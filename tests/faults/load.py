"""Callers that go on asking while something breaks, and what they were told."""

import asyncio
import itertools
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import httpx


@dataclass(frozen=True, slots=True)
class Request:
    """What a caller sends."""

    method: str
    path: str
    content: bytes
    media_type: str


class Load:
    """``callers`` send ``requests`` by turns, each the next when it has its answer, while the block lasts."""

    def __init__(self, url: str, requests: Sequence[Request], callers: int = 4, seconds: float = 90.0) -> None:
        self._url = url
        self._requests = requests
        self._callers = callers
        self._seconds = seconds
        self._ending = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="load")
        self.answers: list[tuple[str, int | str, Any, float]] = []
        """Path, status or what was raised, the answer's reason, the moment of it."""

    @property
    def lost(self) -> Counter[tuple[str, int | str, Any]]:
        """What was not answered well, counted."""
        return Counter(each[:3] for each in self.answers if not isinstance(each[1], int) or each[1] >= 300)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ending.set()
        self._thread.join()

    async def _run(self) -> None:
        turns = itertools.cycle(self._requests)
        async with httpx.AsyncClient(base_url=self._url, timeout=self._seconds) as client:
            await asyncio.gather(*(self._call(client, turns) for _ in range(self._callers)))

    async def _call(self, client: httpx.AsyncClient, turns: "itertools.cycle[Request]") -> None:
        while not self._ending.is_set():
            request = next(turns)
            headers = {"Content-Type": request.media_type}
            try:
                answer = await client.request(request.method, request.path, content=request.content, headers=headers)
            except httpx.HTTPError as error:
                self.answers.append((request.path, type(error).__name__, None, time.monotonic()))
            else:
                reason = None if answer.status_code < 300 else answer.json()["reason"]
                self.answers.append((request.path, answer.status_code, reason, time.monotonic()))
