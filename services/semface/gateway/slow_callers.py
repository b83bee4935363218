"""How long a caller may take to send the head of a request and to read an answer, which uvicorn leaves open."""

from asyncio import BaseTransport, TimerHandle
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


def protocol(head_seconds: float, answer_seconds: float) -> type[HttpToolsProtocol]:
    """Return uvicorn's protocol with a bound on slow callers.

    It closes a connection on which a head has not arrived after ``head_seconds``, and breaks one whose caller leaves
    what it was sent unread for ``answer_seconds``.
    """

    class Impatient(HttpToolsProtocol):
        """One connection of a caller."""

        _head: TimerHandle | None = None
        _answer: TimerHandle | None = None

        def connection_made(self, transport: BaseTransport) -> None:
            super().connection_made(cast(Any, transport))
            self._wait_for_head()

        def on_message_begin(self) -> None:
            super().on_message_begin()
            self._wait_for_head()

        def on_headers_complete(self) -> None:
            _stop(self._head)
            super().on_headers_complete()

        def pause_writing(self) -> None:
            super().pause_writing()
            # To close it would wait until all is read.
            self._answer = self.loop.call_later(answer_seconds, self.transport.abort)

        def resume_writing(self) -> None:
            _stop(self._answer)
            super().resume_writing()

        def connection_lost(self, exc: Exception | None) -> None:
            _stop(self._head)
            _stop(self._answer)
            super().connection_lost(exc)

        def _wait_for_head(self) -> None:
            _stop(self._head)
            self._head = self.loop.call_later(head_seconds, self.transport.close)

    return Impatient


def _stop(timer: TimerHandle | None) -> None:
    if timer is not None:
        timer.cancel()
