"""grpc.health.v1 by service name: NOT_SERVING until a canary inference has passed, and again when one fails."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from grpc_health.v1 import health, health_pb2

from semface.deadline import deadline
from semface.rpc.settings import ServerSettings
from semface.rpc.telemetry import Telemetry, describe_exception

Canary = Callable[[], Awaitable[object]]
"""Runs one real inference; raises when it fails."""

WHOLE_SERVER = ""
"""The name under which health of all services together is asked for."""

LIVENESS = "live"
"""The name that serves for as long as the event loop answers, whatever the canaries say: for a liveness probe."""

_SERVING = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


class HealthMonitor:
    """Runs each service's canary for as long as the server lives and tells what it found."""

    def __init__(self, canaries: Mapping[str, Canary], settings: ServerSettings, telemetry: Telemetry) -> None:
        """Watch the services named in ``canaries``; nothing runs before ``start``."""
        self.servicer = health.aio.HealthServicer()  # type: ignore[attr-defined]
        self._canaries = canaries
        self._settings = settings
        self._telemetry = telemetry
        self._serving = dict.fromkeys(canaries, False)
        self._all_serving = asyncio.Event()
        self._watchers: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Tell NOT_SERVING for everything and begin to run the canaries."""
        for name in (WHOLE_SERVER, *self._canaries):
            await self.servicer.set(name, _NOT_SERVING)
        await self.servicer.set(LIVENESS, _SERVING)
        self._watchers = [asyncio.create_task(self._watch(name, canary)) for name, canary in self._canaries.items()]

    async def wait_until_serving(self) -> None:
        """Return once every service's last canary has passed."""
        await self._all_serving.wait()

    async def stop(self) -> None:
        """Tell NOT_SERVING for good and run no further canary."""
        for watcher in self._watchers:
            watcher.cancel()
        await asyncio.gather(*self._watchers, return_exceptions=True)
        await self.servicer.enter_graceful_shutdown()

    async def _watch(self, name: str, canary: Canary) -> None:
        while True:
            healthy = await self._passes(name, canary)
            await self._tell(name, healthy)
            seconds = self._settings.canary_interval_seconds if healthy else self._settings.canary_retry_seconds
            await asyncio.sleep(seconds)

    async def _passes(self, name: str, canary: Canary) -> bool:
        try:
            seconds = self._settings.canary_timeout_seconds
            with deadline(seconds):
                async with asyncio.timeout(seconds):
                    await canary()
        except Exception as error:
            self._telemetry.log.warning("canary failed", service=name, **describe_exception(error))
            return False
        return True

    async def _tell(self, name: str, healthy: bool) -> None:
        if healthy != self._serving[name]:
            self._telemetry.log.info("health", service=name, serving=healthy)
        self._serving[name] = healthy
        await self.servicer.set(name, _SERVING if healthy else _NOT_SERVING)
        everything = all(self._serving.values())
        await self.servicer.set(WHOLE_SERVER, _SERVING if everything else _NOT_SERVING)
        if everything:
            self._all_serving.set()
        else:
            self._all_serving.clear()
