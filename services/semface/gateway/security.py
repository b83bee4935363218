"""Who may call which route: the caller by its key or token, its scopes, how often in a minute, and when its turn is."""

import time
from collections.abc import Callable
from typing import Any

from fastapi import Request
from fastapi.security import HTTPBearer

from semface.access.authentication import Authenticator, CallCounts, too_many_calls
from semface.access.callers import Caller, Scope
from semface.errors import SemfaceError
from semface.gateway.enrolled.connection import as_store_errors
from semface.gateway.enrolled.keyspace import Keyspace
from semface.gateway.enrolled.scripts import COUNT
from semface.gateway.enrolled.store import EnrolledStore
from semface.gateway.fairness import Turns

WINDOW_SECONDS = 120

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

    async def admit(self, authorization: str, *scopes: Scope) -> Caller:
        """Return the caller of ``authorization``. Raises KEY_INVALID, SCOPE_MISSING or RATE_LIMITED."""
        caller = await self._authenticator.caller(authorization)
        caller.require(*scopes)
        await self._count(caller)
        return caller

    async def _count(self, caller: Caller) -> None:
        if caller.calls_per_minute is None:
            return
        key = Keyspace(caller.tenant).calls(caller.key_id, int(time.time() // 60))
        try:
            with as_store_errors():
                count, _ = await self._store.redis.eval(COUNT, 1, key, WINDOW_SECONDS)
        except SemfaceError:
            self._counts.count(caller)
            return
        if count > caller.calls_per_minute:
            raise too_many_calls(caller)


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
