"""The codec over a repository of tiny networks: the core, and the service on a real socket."""

from collections.abc import AsyncIterator
from pathlib import Path

import grpc.aio
import pytest

from semface.codec.core import Codec
from semface.codec.service import services
from semface.codec.settings import CodecSettings
from semface.inference.embedded import EmbeddedEngine
from semface.rpc.server import Server
from tests.triton_server import BOTH_ENGINES, open_test_engine

MAX_FACES = 8
"""Most faces of one call to the service of these tests."""


@pytest.fixture
async def codec(tiny_repository: Path) -> AsyncIterator[Codec]:
    engine = EmbeddedEngine(tiny_repository)
    yield Codec(engine, tiny_repository)
    await engine.close()


@pytest.fixture(params=BOTH_ENGINES)
async def channel(request: pytest.FixtureRequest, tiny_repository: Path) -> AsyncIterator[grpc.aio.Channel]:
    """A channel to a started codec service, its networks on each engine in turn."""
    settings = CodecSettings(
        host="127.0.0.1", port=0, model_repository=tiny_repository, codec_max_faces=MAX_FACES, grace_seconds=0.5
    )
    engine = open_test_engine(request.param, tiny_repository, request)
    server = Server(services(engine, settings), settings)
    port = await server.start()
    try:
        await server.wait_until_serving()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as opened:
            yield opened
    finally:
        await server.stop()
        await engine.close()
