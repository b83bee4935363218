"""The whole system in one process and one event loop: three gRPC services on one port, the gateway, Valkey inside."""

import os
import secrets
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import structlog
from pydantic import Field, SecretStr

from semface.access.keys import digest_of
from semface.cli.embedded_store import embedded_store
from semface.codec.service import services as codec_services
from semface.codec.settings import CodecSettings
from semface.extraction.service import services as extraction_services
from semface.extraction.settings import ExtractionSettings
from semface.gateway.enrolled.key_ring import new_master_key
from semface.gateway.server import GatewayServer
from semface.gateway.settings import LOOPBACK, GatewaySettings
from semface.inference.engine import open_engine
from semface.rpc.server import Server
from semface.rpc.settings import ServerSettings
from semface.understanding.service import services as understanding_services
from semface.understanding.settings import UnderstandingSettings

_log = structlog.get_logger("semface.up")
_ANY_ADDRESSES = {"0.0.0.0": LOOPBACK, "::": "::1"}


class StackSettings(ServerSettings):
    """Settings of `semface up`, beside those of the services and the gateway, which it reads too."""

    data: Path | None = Field(
        None,
        description="Folder where the embedded Valkey keeps what is enrolled; without it nothing outlives the process.",
    )


@dataclass(frozen=True, slots=True)
class Stack:
    """Where the parts of a running system are."""

    grpc_address: str
    gateway_url: str
    store_url: str
    keeps_data: bool


@asynccontextmanager
async def running_stack(settings: StackSettings) -> AsyncIterator[Stack]:
    """Run everything while the block lasts; entered once every service's canary has passed.

    The services and the gateway read their own settings; host, port and repository are those of ``settings``. A Redis
    URL that is set is used in place of the embedded Valkey.
    """
    async with AsyncExitStack() as stack:
        # Where callers need keys, the gateway needs one to the services too: one that lives as long as this process.
        inner_key = secrets.token_urlsafe(32) if settings.asks_for_keys else None
        if inner_key is not None:
            digest = SecretStr(digest_of(inner_key).hex())
            settings = settings.model_copy(update={"api_keys": (*settings.api_keys, digest)})
        server = await stack.enter_async_context(_services(settings))
        host = _ANY_ADDRESSES.get(server.host, server.host)
        address = f"[{host}]:{server.port}" if ":" in host else f"{host}:{server.port}"
        gateway_settings = GatewaySettings(
            extraction_address=address, codec_address=address, understanding_address=address
        )
        embedded = "redis_url" not in gateway_settings.model_fields_set
        if embedded:
            url = stack.enter_context(embedded_store(settings.data))
            gateway_settings = gateway_settings.model_copy(update={"redis_url": SecretStr(url)})
        gateway_settings = _protected(gateway_settings, settings.data, stack, embedded=embedded)
        if inner_key is not None:
            gateway_settings = gateway_settings.model_copy(update={"service_key": SecretStr(inner_key)})
        gateway = GatewayServer(gateway_settings)
        await gateway.start()
        stack.push_async_callback(gateway.stop)
        await server.wait_until_serving()
        store = gateway_settings.redis_url.get_secret_value() if embedded else "the server at SEMFACE_REDIS_URL"
        yield Stack(address, gateway.url, store, keeps_data=not embedded or settings.data is not None)


def _protected(
    settings: GatewaySettings, data: Path | None, stack: AsyncExitStack, *, embedded: bool
) -> GatewaySettings:
    """Return ``settings`` with a key ring of our own beside the embedded Valkey, where none is set.

    The keys lie beside the data, not in it: whoever copies Valkey's folder alone has only what is sealed.
    """
    if not embedded or settings.key_ring is not None or settings.read_master_key() is not None:
        return settings
    folder = data if data is not None else Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="semface-")))
    keys = folder / "keys"
    keys.mkdir(parents=True, exist_ok=True)
    keys.chmod(0o700)
    master_key = keys / "master.key"
    if not master_key.exists():
        with os.fdopen(os.open(master_key, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(new_master_key())
    ours: dict[str, Path] = {"key_ring": keys / "ring.json", "master_key_file": master_key}
    if data is not None and settings.index_folder is None:
        ours["index_folder"] = data / "index"
    return settings.model_copy(update=ours)


@asynccontextmanager
async def _services(settings: StackSettings) -> AsyncIterator[Server]:
    engine = open_engine(settings)
    served = [
        *extraction_services(engine, ExtractionSettings(model_repository=settings.model_repository)),
        *codec_services(engine, CodecSettings(model_repository=settings.model_repository)),
        *understanding_services(engine, UnderstandingSettings(model_repository=settings.model_repository)),
    ]
    server = Server(served, settings)
    try:
        # What is missing ends the command here; once started, the server would wait for it for ever.
        for service in served:
            await service.canary()
        await server.start()
        yield server
    finally:
        await server.stop()
        await engine.close()
