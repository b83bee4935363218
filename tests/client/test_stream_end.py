"""A server that ends a stream while the client is still writing is heard, whatever becomes of the write."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TypeVar

import grpc
import grpc.aio
import pytest

from semface.client import AsyncClient, CallError, Client
from semface.descriptors import Portion
from semface.errors import Reason
from semface.v1 import codec_pb2, codec_pb2_grpc
from tests.codec.faces import faces

Item = TypeVar("Item")

ROUNDS = 40
"""Without the cure every third stream is told INTERNAL."""


async def many(item: Item, count: int = 40) -> AsyncIterator[Item]:
    for _ in range(count):
        yield item


class OneAnswer(codec_pb2_grpc.CodecServiceServicer):
    """Answers the first message of a stream and ends it well."""

    async def DecodeStream(
        self, request_iterator: AsyncIterator[codec_pb2.DecodeStreamRequest], context: object
    ) -> AsyncIterator[codec_pb2.DecodeStreamResponse]:
        yield codec_pb2.DecodeStreamResponse(state=codec_pb2.FRAME_STATE_WAITING)


class Echo(codec_pb2_grpc.CodecServiceServicer):
    """Answers each message of a stream."""

    async def DecodeStream(
        self, request_iterator: AsyncIterator[codec_pb2.DecodeStreamRequest], context: object
    ) -> AsyncIterator[codec_pb2.DecodeStreamResponse]:
        async for _ in request_iterator:
            yield codec_pb2.DecodeStreamResponse(state=codec_pb2.FRAME_STATE_WAITING)


@asynccontextmanager
async def serving(codec: codec_pb2_grpc.CodecServiceServicer) -> AsyncIterator[tuple[grpc.aio.Server, AsyncClient]]:
    server = grpc.aio.server()
    port = server.add_insecure_port("127.0.0.1:0")
    codec_pb2_grpc.add_CodecServiceServicer_to_server(codec, server)
    await server.start()
    try:
        async with AsyncClient(f"127.0.0.1:{port}") as client:
            yield server, client
    finally:
        await server.stop(None)


async def test_a_refusal_is_told_by_its_reason_while_the_client_writes(address: str) -> None:
    face = faces(1)[0]
    async with AsyncClient(address) as client:
        for _ in range(ROUNDS):
            with pytest.raises(CallError) as refused:
                await anext(client.encode_stream(many(face), portions=Portion.IDENTITY))
            assert refused.value.reason is Reason.FIELD_INVALID
            with pytest.raises(CallError) as refused:
                await anext(client.decode_stream(many(bytes(500)), model_hash=1))
            assert refused.value.reason is Reason.MODEL_MISMATCH


def test_the_blocking_client_is_told_the_same(address: str) -> None:
    face = faces(1)[0]
    with Client(address) as client:
        for _ in range(ROUNDS):
            with pytest.raises(CallError) as refused:
                next(client.encode_stream(40 * [face], portions=Portion.IDENTITY))
            assert refused.value.reason is Reason.FIELD_INVALID


async def test_a_stream_that_the_server_ends_well_ends_well_while_the_client_writes() -> None:
    async with serving(OneAnswer()) as (_, client):
        counts = [len([shown async for shown in client.decode_stream(many(b""))]) for _ in range(ROUNDS)]
    assert counts == ROUNDS * [1]


async def test_a_server_that_goes_away_is_told_as_away_while_the_client_writes() -> None:
    for _ in range(5):
        async with serving(Echo()) as (server, client):
            answers = client.decode_stream(many(b"", 100_000))
            for _ in range(20):
                await anext(answers)
            await server.stop(None)
            with pytest.raises(CallError) as ended:
                async for _ in answers:
                    pass
            assert ended.value.reason is Reason.BACKEND_AWAY
