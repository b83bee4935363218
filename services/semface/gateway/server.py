"""The gateway on a socket, inside an event loop that others may share."""

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from typing import Final

import structlog
import uvicorn

from semface.errors import Reason, SemfaceError
from semface.gateway.app import create_app
from semface.gateway.enrolled.key_ring import KeyRing, open_key_ring
from semface.gateway.settings import GatewaySettings
from semface.gateway.slow_callers import protocol

DRAIN_LOOK_SECONDS: Final = 0.01
QUIET_SECONDS: Final = 0.4
"""After so long without a connection nobody is taken to come any more."""
KEEP_ALIVE_SECONDS: Final = 75
"""How long an idle connection is kept: longer than proxies in front do (60 s). Who closes it first loses nothing, the
other may lose the request that is on its way."""

_log = structlog.get_logger("semface.gateway")


class SharedServer(uvicorn.Server):
    """A uvicorn inside a process that handles signals itself."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to whoever runs the process."""
        yield


class GatewayServer:
    """Serves the gateway from ``start`` to ``stop``."""

    def __init__(self, settings: GatewaySettings) -> None:
        """Prepare to serve; nothing listens before ``start``. Raises FIELD_INVALID without key ring and master key."""
        self._settings = settings
        self._ring = configured_ring(settings)
        self._app = create_app(settings, self._ring)
        self._uvicorn: SharedServer | None = None
        self._serving: asyncio.Task[None] | None = None
        self.host = settings.listen_host
        self.port = 0

    @property
    def url(self) -> str:
        """Where the gateway is."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    async def start(self) -> int:
        """Listen and return the port. Raises FIELD_INVALID when the port cannot be had."""
        if self.host != self._settings.http_host:
            _log.warning("no API keys are set, so the gateway listens on loopback only", host=self.host)
        listener = self._bind()
        self.port = listener.getsockname()[1]
        config = uvicorn.Config(
            self._app,
            http=protocol(self._settings.http_head_seconds, self._settings.http_answer_seconds),
            log_config=None,
            access_log=False,
            lifespan="on",
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=round(self._settings.grace_seconds),
            ws="websockets-sansio",
            ws_max_size=self._settings.http_max_image_bytes,
            # Photographs and bitstreams are compressed already.
            ws_per_message_deflate=False,
        )
        self._uvicorn = SharedServer(config)
        self._serving = asyncio.create_task(self._uvicorn.serve([listener]))
        while not self._uvicorn.started:
            if self._serving.done():
                await self._serving
                raise SemfaceError(Reason.INTERNAL, "the gateway stopped while it started; its log tells why")
            await asyncio.sleep(0.01)
        _log.info("listening", host=self.host, port=self.port, keys=self._settings.asks_for_keys)
        return self.port

    async def stop(self) -> None:
        """Be unready, let callers go elsewhere, then take no new requests, let those in flight end, let go of the port.

        Whoever still has a connection is asked to leave it with the next answer, for ``drain_seconds`` at most.
        """
        if self._uvicorn is not None and self._serving is not None:
            self._app.state.draining = True
            await self._drain(self._uvicorn)
            self._uvicorn.should_exit = True
            await self._serving

    async def _drain(self, server: SharedServer) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._settings.drain_seconds):
                quiet = 0.0
                # As long as somebody still comes, whoever sends callers here has not seen yet that this is unready.
                while quiet < QUIET_SECONDS:
                    await asyncio.sleep(DRAIN_LOOK_SECONDS)
                    quiet = 0.0 if server.server_state.connections else quiet + DRAIN_LOOK_SECONDS

    def _bind(self) -> socket.socket:
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        try:
            listener = socket.create_server((self.host, self._settings.http_port), family=family, backlog=1024)
        except OSError as error:
            where = f"{self.host}:{self._settings.http_port}"
            message = f"cannot listen on {where}; is the port taken? Set SEMFACE_HTTP_PORT to another"
            raise SemfaceError(Reason.FIELD_INVALID, message, field="http_port") from error
        # asyncio does not see that this is TCP; a body would wait 40 ms for its headers' acknowledgement.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return listener


def configured_ring(settings: GatewaySettings) -> KeyRing:
    """Return the key ring of ``settings``. Raises FIELD_INVALID where it or the master key is not set."""
    master_key = settings.read_master_key()
    if settings.key_ring is None or master_key is None:
        message = (
            "enrolled templates are kept encrypted only: set SEMFACE_KEY_RING to a file outside Redis, and "
            "SEMFACE_MASTER_KEY or SEMFACE_MASTER_KEY_FILE to a key of `semface tenants master-key`"
        )
        raise SemfaceError(Reason.FIELD_INVALID, message, field="key_ring")
    return open_key_ring(settings.key_ring, master_key)
