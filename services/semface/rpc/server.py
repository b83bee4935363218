"""A gRPC server from its services: start, serve, stop gracefully."""

import asyncio
import gc
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import grpc
import grpc.aio
from grpc_health.v1 import health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from semface.access.authentication import Authenticator
from semface.access.certificates import TlsFiles, configured_tls
from semface.errors import Reason, SemfaceError
from semface.rpc.access import CallerCheck, server_credentials
from semface.rpc.backlog import Backlog
from semface.rpc.health import Canary, HealthMonitor
from semface.rpc.interceptor import CallInterceptor
from semface.rpc.limits import Admission, Bounds, StreamPlaces
from semface.rpc.settings import ServerSettings, is_loopback
from semface.rpc.telemetry import MetricsServer, Telemetry, configure_logging
from semface.tracing.export import exported_traces

UNPROTECTED: Final = (
    "neither keys nor certificates are set, so gRPC listens on loopback only; SEMFACE_ALLOW_ANONYMOUS=true lets "
    "whoever reaches the port call every service"
)
LOOPBACK: Final = "127.0.0.1"

_COLLECTED_AFTER: Final = (10_000, 10, 10)
"""New objects after which garbage is looked for, and rounds before older ones are looked through: a call leaves some
hundred, nearly all of which go without."""

_HEALTH_NAME: Final = "grpc.health.v1.Health"
_CALLS_OF_A_CONNECTION: Final = 200
"""More wait at the caller."""

_AHEAD_BYTES: Final = 256 << 10
"""Of each call so much may come unasked: with gRPC's 64 KiB a common photograph waits half-way for leave to go on."""

_WAITING_TO_BE_TAKEN: Final = 100_000
"""Calls of all connections from which gRPC, left alone at a thousand, would drop some as CANCELLED."""

CONNECTION_AGE_MS: Final = 300_000
"""After this long a caller is asked to connect anew, calls in flight go on: so it finds servers that were added."""


@dataclass(frozen=True, slots=True)
class Service:
    """One gRPC service of a server."""

    name: str
    """Its full name, such as ``semface.v1.CodecService``; health is asked for by it."""
    add_to_server: Callable[[grpc.aio.Server], Any]
    """Adds its servicer, as ``add_CodecServiceServicer_to_server`` does."""
    canary: Canary
    """Runs one real inference; raises when it fails."""
    places: int | None = None
    """Unary calls that it answers at once, where that is fewer than the settings allow."""
    joins: bool = True
    """Whether calls that come in together are worked on together. Otherwise none waits to see whether others come."""


class Server:
    """A gRPC server with health, limits, metrics and errors as all of semface has them."""

    def __init__(self, services: Sequence[Service], settings: ServerSettings) -> None:
        """Prepare to serve ``services``; nothing listens before ``start``."""
        self._services = services
        self._settings = settings
        self.telemetry = Telemetry()
        self.port = 0
        self.metrics_port: int | None = None
        self._server: grpc.aio.Server | None = None
        self._health: HealthMonitor | None = None
        self._metrics: MetricsServer | None = None
        self._probed: grpc.aio.Server | None = None
        self.health_port: int | None = None
        self._tls = configured_tls(settings)
        self._authenticator = Authenticator(settings)
        guarded = self._authenticator.asks or self._tls is not None or settings.allow_anonymous
        self.host = settings.host if guarded or is_loopback(settings.host) else LOOPBACK

    async def start(self) -> int:
        """Listen, begin to run the canaries and return the port. Raises FIELD_INVALID when the port cannot be had."""
        settings = self._settings
        self._health = HealthMonitor({item.name: item.canary for item in self._services}, settings, self.telemetry)
        self._server = self._build(self._health)
        self.port = self._listen(self._server, self.host, settings.port, self._tls)
        await self._health.start()
        await self._server.start()
        if settings.health_port is not None:
            self._probed = grpc.aio.server()
            health_pb2_grpc.add_HealthServicer_to_server(self._health.servicer, self._probed)
            self.health_port = self._listen(self._probed, settings.host, settings.health_port, None)
            await self._probed.start()
        if settings.metrics_port is not None:
            self._metrics = self.telemetry.serve_metrics(settings.host, settings.metrics_port)
            self.metrics_port = self._metrics.port
        if self.host != settings.host:
            self.telemetry.log.warning("unprotected", message=UNPROTECTED, host=self.host, port=self.port)
        self.telemetry.log.info("listening", host=self.host, port=self.port, metrics_port=self.metrics_port)
        return self.port

    async def wait_until_serving(self) -> None:
        """Return once every service's canary has passed."""
        assert self._health is not None, "start first"
        await self._health.wait_until_serving()

    async def stop(self) -> None:
        """Tell NOT_SERVING, take no new calls, let those in flight end within the grace, and let go of the ports."""
        if self._server is None or self._health is None:
            return
        await self._health.stop()
        await self._server.stop(self._settings.grace_seconds)
        if self._probed is not None:
            await self._probed.stop(None)
        if self._metrics is not None:
            await asyncio.to_thread(self._metrics.stop)
        self.telemetry.log.info("stopped", port=self.port)

    def _build(self, health: HealthMonitor) -> grpc.aio.Server:
        settings = self._settings
        backlog = Backlog()
        server = grpc.aio.server(
            interceptors=[
                CallInterceptor(
                    CallerCheck(self._authenticator),
                    {service.name: Admission(self._bounds(service)) for service in self._services},
                    {service.name for service in self._services if service.joins},
                    StreamPlaces(settings.max_streams, shared=self._authenticator.asks),
                    backlog,
                    self.telemetry,
                    settings.call_seconds,
                    settings.stream_idle_seconds,
                )
            ],
            options=[
                ("grpc.max_receive_message_length", settings.max_message_bytes),
                ("grpc.max_send_message_length", settings.max_message_bytes),
                # Without it two servers share a port in silence, and each gets half of the calls.
                ("grpc.so_reuseport", 0),
                ("grpc.enable_channelz", 1),
                ("grpc.keepalive_permit_without_calls", 1),
                ("grpc.max_concurrent_streams", _CALLS_OF_A_CONNECTION),
                ("grpc.http2.lookahead_bytes", _AHEAD_BYTES),
                # Otherwise calls are dropped as UNAVAILABLE while ended ones still wait to be let go.
                ("grpc.http.overload_protection", 0),
                ("grpc.server.max_pending_requests", _WAITING_TO_BE_TAKEN),
                ("grpc.server.max_pending_requests_hard_limit", _WAITING_TO_BE_TAKEN),
                ("grpc.max_connection_age_ms", CONNECTION_AGE_MS),
                # Callers ask every two seconds whether a silent link still is one. On a busy machine pings are read
                # several at once; a server that counts them would end the connection. grpc bounds floods otherwise.
                ("grpc.http2.max_ping_strikes", 0),
            ],
        )
        backlog.watch_newest()
        for service in self._services:
            service.add_to_server(server)
        health_pb2_grpc.add_HealthServicer_to_server(health.servicer, server)
        if settings.reflection:
            names = [service.name for service in self._services]
            reflection.enable_server_reflection([*names, _HEALTH_NAME, reflection.SERVICE_NAME], server)
        return server

    def _bounds(self, service: Service) -> Bounds:
        settings = self._settings
        places = min(service.places or settings.max_in_flight, settings.max_in_flight)
        return Bounds(places, settings.max_in_flight, settings.max_waiting, settings.max_wait_seconds)

    def _listen(self, server: grpc.aio.Server, host: str, port: int, tls: TlsFiles | None) -> int:
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        try:
            if tls is None:
                return server.add_insecure_port(address)
            return server.add_secure_port(address, server_credentials(tls))
        except RuntimeError as error:
            message = f"cannot listen on {address}; is the port taken? Set SEMFACE_PORT to another"
            raise SemfaceError(Reason.FIELD_INVALID, message, field="port") from error


async def serve(services: Sequence[Service], settings: ServerSettings, name: str) -> None:
    """Serve until SIGTERM or SIGINT, then stop gracefully; traces tell of this server by ``name``."""
    configure_logging(settings.log_level, settings.log_format)
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    server = Server(services, settings)
    async with exported_traces(settings, name):
        await server.start()
        settling = asyncio.create_task(_settle_when_serving(server))
        try:
            await stopping.wait()
        finally:
            settling.cancel()
            await server.stop()


async def _settle_when_serving(server: Server) -> None:
    await server.wait_until_serving()
    settle_memory()


def settle_memory() -> None:
    """Take what has been made so far for lasting: garbage collection no longer looks through it at every turn."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_COLLECTED_AFTER)
