"""Whose turn it is: tenants share the gateway by the work that they make, so that none starves the others.

The services see one caller, the gateway. So it lets no more requests in at once than they answer without refusing any,
and the others wait here, in turns among tenants; of a full queue the last of the tenant with most in it make room. A
stream takes a turn for each of its messages, one at a time.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Final

from fastapi import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from semface.errors import Reason, SemfaceError
from semface.gateway.settings import GatewaySettings
from semface.rpc.limits import Admission, Bounds
from semface.tracing.spans import span

_HELD: Final = "semface.held"


class Turns:
    """Gives requests their places."""

    def __init__(self, settings: GatewaySettings) -> None:
        """Start with nobody there."""
        places = settings.http_max_in_flight
        self._admission = Admission(Bounds(places, places, settings.http_max_waiting, settings.http_max_wait_seconds))
        self._seconds = settings.call_timeout_seconds

    async def take(self, request: Request, tenant: str) -> None:
        """Return when it is the turn of ``tenant``; its place is held until ``request`` is answered.

        Raises OVERLOADED where too much waits; the body has not been read then.
        """
        held: AsyncExitStack = request.scope[_HELD]
        length = request.headers.get("content-length", "")
        kind = f"{request.method} {getattr(request.scope.get('route'), 'path', '')}"
        size = int(length) if length.isdecimal() else 0
        with span("wait"):
            await held.enter_async_context(self.place(kind, size, tenant))

    def place(self, kind: str, size: int, tenant: str) -> AbstractAsyncContextManager[None]:
        """Hold a place for work of one ``kind`` and ``size`` in bytes while the block lasts. Raises OVERLOADED."""
        return self._admission.call(kind, size, tenant, self._seconds)

    @asynccontextmanager
    async def stream(self, kind: str, tenant: str) -> AsyncIterator["StreamTurns"]:
        """Give the turns of a stream of ``tenant`` while the block lasts."""
        turns = StreamTurns(self, kind, tenant)
        try:
            yield turns
        finally:
            await turns.close()


class StreamTurns:
    """The turns that the messages of one stream take, each when the one before has been answered."""

    def __init__(self, turns: Turns, kind: str, tenant: str) -> None:
        """Take places of ``turns`` for messages of one ``kind``."""
        self._turns, self._kind, self._tenant = turns, kind, tenant
        self._idle = asyncio.Event()
        self._idle.set()
        self._held = AsyncExitStack()
        self._closed = False

    async def take(self, size: int) -> None:
        """Return when it is the turn of a message of ``size`` bytes; its place is held until ``end``.

        Where too much waits it waits longer: whoever sends a stream goes at the pace of its answers.
        """
        await self._idle.wait()
        while True:
            try:
                await self._held.enter_async_context(self._turns.place(self._kind, size, self._tenant))
            except SemfaceError as error:
                if error.reason is not Reason.OVERLOADED or error.retry_seconds is None:
                    raise
                await asyncio.sleep(error.retry_seconds)
            else:
                self._idle.clear()
                if self._closed:
                    await self.end()
                return

    async def end(self) -> None:
        """Let go of the place of the message that has been answered, where there is one."""
        await self._held.aclose()
        self._idle.set()

    async def close(self) -> None:
        """Let go of the place, and hold none from now on, whoever still waits for a turn."""
        self._closed = True
        await self.end()


class HeldPlaces:
    """ASGI middleware: what a request holds is let go when it has been answered."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        async with AsyncExitStack() as held:
            scope[_HELD] = held
            await self._app(scope, receive, send)
