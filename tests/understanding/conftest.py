"""The understanding services on a real socket, over a repository of tiny networks."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import grpc.aio
import numpy as np
import pytest
from numpy.typing import NDArray

from semface.codec.core import Codec
from semface.descriptors import DESCRIPTOR_SIZE, GROUPS
from semface.inference.engine import Engine
from semface.rpc.server import Server
from semface.understanding.core import Understanding
from semface.understanding.service import services
from semface.understanding.settings import UnderstandingSettings
from semface.v1 import understanding_pb2_grpc
from tests.triton_server import BOTH_ENGINES, open_test_engine

SPREAD = np.ones(DESCRIPTOR_SIZE, np.float32)
SPREAD[GROUPS["rotation"]] = 0.1
SPREAD[GROUPS["translation"]] = 10.0
SPREAD[GROUPS["illumination"]] = 0.1


@pytest.fixture(params=BOTH_ENGINES)
async def engine(request: pytest.FixtureRequest, tiny_repository: Path) -> AsyncIterator[Engine]:
    opened = open_test_engine(request.param, tiny_repository, request)
    yield opened
    await opened.close()


@pytest.fixture
def understanding(engine: Engine) -> Understanding:
    return Understanding(engine)


@pytest.fixture
def codec(engine: Engine, tiny_repository: Path) -> Codec:
    return Codec(engine, tiny_repository)


@pytest.fixture
def faces() -> NDArray[np.float32]:
    """Four faces (4, 257) as real ones are spread."""
    return (np.random.default_rng(7).normal(size=(4, DESCRIPTOR_SIZE)) * SPREAD).astype(np.float32)


@dataclass(frozen=True)
class Stubs:
    """A started server's three services, and a channel for anything else."""

    channel: grpc.aio.Channel
    expression: understanding_pb2_grpc.ExpressionServiceStub
    verification: understanding_pb2_grpc.VerificationServiceStub
    understanding: understanding_pb2_grpc.UnderstandingServiceStub


@pytest.fixture
async def served(engine: Engine, tiny_repository: Path) -> AsyncIterator[Stubs]:
    settings = UnderstandingSettings(
        host="127.0.0.1", port=0, model_repository=tiny_repository, understanding_max_faces=8, grace_seconds=0.5
    )
    server = Server(services(engine, settings), settings)
    port = await server.start()
    try:
        await server.wait_until_serving()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield Stubs(
                channel,
                understanding_pb2_grpc.ExpressionServiceStub(channel),
                understanding_pb2_grpc.VerificationServiceStub(channel),
                understanding_pb2_grpc.UnderstandingServiceStub(channel),
            )
    finally:
        await server.stop()
