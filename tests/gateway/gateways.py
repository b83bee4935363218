"""Further gateways before the services of the running system, and key rings to protect what they keep."""

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
from pydantic import SecretStr

from semface.gateway.enrolled.key_ring import KeyRing, new_master_key, open_key_ring
from semface.gateway.server import GatewayServer
from semface.gateway.settings import GatewaySettings
from tests.running import System

MASTER_KEY = new_master_key()
NOWHERE = "unix:///nowhere/valkey.sock"


def new_ring(folder: Path | None = None) -> KeyRing:
    """Return a key ring in ``folder``, or in one of its own."""
    place = folder if folder is not None else Path(tempfile.mkdtemp(prefix="semface-test-"))
    return open_key_ring(place / "ring.json", MASTER_KEY)


@asynccontextmanager
async def gateway(system: System, **changes: Any) -> AsyncIterator[httpx.AsyncClient]:
    """Run another gateway before the services of ``system``."""
    addresses = dict.fromkeys(("extraction_address", "codec_address", "understanding_address"), system.grpc)
    with tempfile.TemporaryDirectory() as folder:
        kept = {"key_ring": Path(folder) / "ring.json", "master_key": SecretStr(MASTER_KEY)}
        settings = GatewaySettings(**({"http_port": 0, "redis_url": SecretStr(NOWHERE)} | addresses | kept | changes))
        server = GatewayServer(settings)
        await server.start()
        try:
            async with httpx.AsyncClient(base_url=server.url, timeout=30) as client:
                yield client
        finally:
            await server.stop()
