"""Who may call which route: the caller by its key or token, its scopes, how often in a minute, and when its turn is."""

import asyncio
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from fastapi import Request, WebSocket
from fastapi.security import HTTPBearer

from semface.access.authentication import Authenticator, CallCounts, too_many_calls
from semface.access.callers import Caller, Scope
from semface.errors import Reason, SemfaceError
from semface.gateway.enrolled.connection import as_store_errors
from semface.gateway.enrolled.keyspace import Keyspace
from semface.gateway.enrolled.scripts import COUNT
from semface.gateway.enrolled.store import EnrolledStore
from semface.gateway.fairness import Turns

WINDOW_SECONDS = 120
COUNT_SECONDS = 0.25
"""How long the store may take to count a call; beyond, this process counts."""

AWAY_SECONDS = 1.0
"""How long a store that could not count is not asked again."""

SUBPROTOCOL = "semface"
"""The subprotocol that streams speak; a client that offers a key beside it is answered with this one."""
BEARER_PREFIX = "bearer."

documented = HTTPBearer(auto_error=False, description="An API key, or a token of the configured issuer.")
"""Tells OpenAPI of the header; what it holds is checked by ``Gate``."""


class Gate:
    """Lets a request in, or refuses it."""

    def __init__(self, authenticator: Authenticator, store: EnrolledStore, turns: Turns) -> None:
        """Ask ``authenticator``; count calls in ``store``, and in this process while it is away; give ``turns``."""
        self.turns = turns
        self._authenticator = authenticator
        self._store = store
        self._counts = CallCounts()
        self._ask_again_at = 0.0

    async def admit(self, authorization: str, *scopes: Scope) -> Caller:
        """Return the caller of ``authorization``. Raises KEY_INVALID, SCOPE_MISSING or RATE_LIMITED."""
        caller = await self._authenticator.caller(authorization)
        caller.require(*scopes)
        await self._count(caller)
        return caller

    async def _count(self, caller: Caller) -> None:
        if caller.calls_per_minute is None:
            return
        if time.monotonic() < self._ask_again_at:
            self._counts.count(caller)
            return
        key = Keyspace(caller.tenant).calls(caller.key_id, int(time.time() // 60))
        try:
            with as_store_errors():
                async with asyncio.timeout(COUNT_SECONDS):
                    count, _ = await self._store.redis.eval(COUNT, 1, key, WINDOW_SECONDS)
        except SemfaceError:
            self._ask_again_at = time.monotonic() + AWAY_SECONDS
            self._counts.count(caller)
            return
        if count > caller.calls_per_minute:
            raise too_many_calls(caller)


async def admit_websocket(gate: Gate, websocket: WebSocket, *scopes: Scope) -> Caller:
    """Return the caller of ``websocket``. A page of another site, which a browser names, is refused with KEY_INVALID.

    The key is in the Authorization header or, as browsers cannot set one, in the subprotocol ``bearer.KEY``.
    """
    origin = websocket.headers.get("origin")
    if origin is not None and urlsplit(origin).netloc != websocket.headers.get("host"):
        raise SemfaceError(Reason.KEY_INVALID, "a page of another site may not open streams here")
    authorization = websocket.headers.get("authorization", "")
    for protocol in websocket.scope["subprotocols"]:
        if protocol.startswith(BEARER_PREFIX):
            authorization = f"Bearer {protocol.removeprefix(BEARER_PREFIX)}"
    return await gate.admit(authorization, *scopes)


def admitted(*scopes: Scope, lasting: bool = False) -> Callable[[Request], Any]:
    """Return the dependency that gives a route its caller, who has to have ``scopes``, when its turn is.

    What is ``lasting``, for as long as the caller sends or reads, takes no turn from the others.
    """

    async def admit(request: Request) -> Caller:
        gate: Gate = request.app.state.parts.gate
        caller = await gate.admit(request.headers.get("authorization", ""), *scopes)
        if not lasting:
            await gate.turns.take(request, caller.tenant)
        return caller

    return admit
