"""The whole system in one process and one event loop: three gRPC services on one port, the gateway, Valkey inside."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import structlog
from pydantic import Field, SecretStr

from semface.cli.embedded_store import embedded_store
from semface.codec.service import services as codec_services
from semface.codec.settings import CodecSettings
from semface.extraction.service import services as extraction_services
from semface.extraction.settings import ExtractionSettings
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
        server = await stack.enter_async_context(_services(settings))
        host = _ANY_ADDRESSES.get(settings.host, settings.host)
        address = f"[{host}]:{server.port}" if ":" in host else f"{host}:{server.port}"
        gateway_settings = GatewaySettings(
            extraction_address=address, codec_address=address, understanding_address=address
        )
        embedded = "redis_url" not in gateway_settings.model_fields_set
        if embedded:
            url = stack.enter_context(embedded_store(settings.data))
            gateway_settings = gateway_settings.model_copy(update={"redis_url": SecretStr(url)})
        gateway = GatewayServer(gateway_settings)
        await gateway.start()
        stack.push_async_callback(gateway.stop)
        await server.wait_until_serving()
        store = gateway_settings.redis_url.get_secret_value() if embedded else "the server at SEMFACE_REDIS_URL"
        yield Stack(address, gateway.url, store, keeps_data=not embedded or settings.data is not None)


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
