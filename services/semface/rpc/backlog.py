"""Calls that have come in and that the event loop has not taken yet.

A server of asyncio takes calls one by one, and what it does not see it cannot refuse. gRPC itself knows of them: it
counts the calls of each server for its own channelz, which is read here and served to nobody.
"""

from typing import Any, Final, cast

import grpc
import grpc.aio
from grpc_channelz.v1 import channelz, channelz_pb2

LOOK_EVERY: Final = 32
"""Calls taken from one look to the next. A look costs as much as half a call."""

_CHANNELZ: Final = channelz.ChannelzServicer  # type: ignore[attr-defined]
_NO_CONTEXT: Final = cast(grpc.ServicerContext, None)
"""Channelz would tell it of a server that is gone."""


class Backlog:
    """Tells how many calls of one server wait to be taken. Belongs to its event loop."""

    def __init__(self, look_every: int = LOOK_EVERY) -> None:
        """Know of none before ``watch_newest``; look again after ``look_every`` calls."""
        self._look_every = look_every
        self._server_id: int | None = None
        self._open = self._seen = self._since = 0

    def watch_newest(self) -> None:
        """Watch the server that was made last."""
        end, newest = False, 0
        while not end:
            request = channelz_pb2.GetServersRequest(start_server_id=newest + 1)
            found = _CHANNELZ.GetServers(request, _NO_CONTEXT)
            newest, end = max((server.ref.server_id for server in found.server), default=newest), found.end
        self._server_id = newest

    def take(self, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        """Count the call of ``context`` as taken, whatever becomes of it."""
        self._open += 1
        self._since += 1
        context.add_done_callback(self._end)  # type: ignore[arg-type]

    def _end(self, _: object) -> None:
        self._open -= 1

    @property
    def waiting(self) -> int:
        """How many calls wait, of those that had come in at the last look."""
        if self._since >= self._look_every and self._server_id is not None:
            request = channelz_pb2.GetServerRequest(server_id=self._server_id)
            calls = _CHANNELZ.GetServer(request, _NO_CONTEXT).server.data
            self._seen = calls.calls_started - calls.calls_succeeded - calls.calls_failed - self._open
            self._since = 0
        return max(0, self._seen - self._since)
