"""The calls that are measured: the same photograph, face and bitstream at every step, as bytes that are ready to go."""

import io
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

import grpc
import grpc.aio
import httpx
from PIL import Image

from semface.evaluation.extract_bench import JPEG_QUALITY, benchmark_picture
from semface.evaluation.load.driving import OK, Call
from semface.v1 import codec_pb2, extraction_pb2, understanding_pb2

BATCH: Final = 32
SECONDS: Final = 30.0
METHODS: Final = MappingProxyType(
    {
        "extract": "/semface.v1.ExtractionService/Extract",
        "encode": "/semface.v1.CodecService/Encode",
        "decode": "/semface.v1.CodecService/Decode",
        "understand": "/semface.v1.UnderstandingService/Understand",
        f"understand {BATCH}": "/semface.v1.UnderstandingService/Understand",
    }
)
"""Each measured call to its method."""

FACES: Final = MappingProxyType({f"understand {BATCH}": BATCH})
"""Faces in one call, where there is not one."""

CHANNELS: Final = 4
"""Connections, as several back ends have."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """The request and the answer of one call, as they travel inside gRPC messages or HTTP bodies."""

    request: bytes
    answer: bytes

    @property
    def size(self) -> int:
        """Bytes of both together."""
        return len(self.request) + len(self.answer)


def photograph(portrait: Path) -> bytes:
    """Return the benchmark's JPEG of 640 × 480 with the face of ``portrait``."""
    file = io.BytesIO()
    benchmark_picture(Image.open(portrait)).save(file, "JPEG", quality=JPEG_QUALITY)
    return file.getvalue()


class GrpcCalls:
    """Calls of a system's gRPC services."""

    def __init__(self, channels: list[grpc.aio.Channel]) -> None:
        """Spread the calls over ``channels``."""
        self.channels = channels

    def method(self, name: str, request: bytes) -> Call:
        """Return the call of ``METHODS[name]`` with ``request``."""
        methods = [channel.unary_unary(METHODS[name], None, None) for channel in self.channels]
        turn = 0

        async def call() -> str:
            nonlocal turn
            turn = (turn + 1) % len(methods)
            try:
                await methods[turn](request, timeout=SECONDS)
            except grpc.aio.AioRpcError as error:
                return error.code().name
            return OK

        return call

    async def exchange(self, name: str, request: bytes) -> Exchange:
        """Return ``request`` with its answer; raises grpc.aio.AioRpcError where it fails."""
        answer: bytes = await self.channels[0].unary_unary(METHODS[name], None, None)(request, timeout=SECONDS)
        return Exchange(request, answer)

    async def exchanges(self, picture: bytes) -> Mapping[str, Exchange]:
        """Return each call of ``METHODS`` as it is made for ``picture``: its face, and what is coded of it."""
        extract = await self.exchange("extract", extraction_pb2.ExtractRequest(image=picture).SerializeToString())
        found = extraction_pb2.ExtractResponse.FromString(extract.answer).faces[0].descriptors
        encode = await self.exchange("encode", codec_pb2.EncodeRequest(faces=[found]).SerializeToString())
        frame = codec_pb2.EncodeResponse.FromString(encode.answer).frames[0].data
        face = understanding_pb2.FaceSource(bitstream=frame)

        async def understand(name: str, count: int) -> Exchange:
            return await self.exchange(
                name, understanding_pb2.UnderstandRequest(faces=[face] * count).SerializeToString()
            )

        many = f"understand {BATCH}"
        return {
            "extract": extract,
            "encode": encode,
            "decode": await self.exchange("decode", codec_pb2.DecodeRequest(frames=[frame]).SerializeToString()),
            "understand": await understand("understand", 1),
            many: await understand(many, BATCH),
        }


@asynccontextmanager
async def grpc_calls(address: str) -> AsyncIterator[GrpcCalls]:
    """Connect to ``address`` while the block lasts."""
    # Channels with equal options would share one connection.
    options = [("grpc.use_local_subchannel_pool", 1)]
    channels = [grpc.aio.insecure_channel(address, options=options) for _ in range(CHANNELS)]
    try:
        yield GrpcCalls(channels)
    finally:
        for channel in channels:
            await channel.close(None)


@asynccontextmanager
async def http_call(url: str, body: bytes, media_type: str) -> AsyncIterator[Call]:
    """Give the call that posts ``body`` to ``url``."""
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=256)
    async with httpx.AsyncClient(timeout=SECONDS, limits=limits) as client:

        async def call() -> str:
            try:
                answer = await client.post(url, content=body, headers={"Content-Type": media_type})
            except httpx.HTTPError as error:
                return type(error).__name__
            return OK if answer.is_success else str(answer.status_code)

        yield call
