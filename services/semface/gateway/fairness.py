"""Whose turn it is: tenants share the gateway by the work that they make, so that none starves the others.

The services see one caller, the gateway. So it lets no more requests in at once than they answer without refusing any,
and the others wait here, in turns among tenants; of a full queue the last of the tenant with most in it make room.
"""

from contextlib import AsyncExitStack
from typing import Final

from fastapi import Request
from starlette.types import ASGIApp, Receive, Scope, Send

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
            await held.enter_async_context(self._admission.call(kind, size, tenant, self._seconds))


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
