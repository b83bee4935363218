"""A real server on a real socket, around a servicer that does what its request says."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import grpc
import grpc.aio
import pytest
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

from semface.errors import Reason, SemfaceError
from semface.rpc.server import Server, Service
from semface.rpc.settings import ServerSettings
from semface.rpc.timing import current_clock
from semface.v1 import codec_pb2, codec_pb2_grpc, understanding_pb2, understanding_pb2_grpc

EXPRESSION = "semface.v1.ExpressionService"
SECRET = "a number of somebody's face"


class Obedient(understanding_pb2_grpc.ExpressionServiceServicer):
    """Does what the request's model names: a reason is raised, ``defect`` breaks, ``wait`` waits for ``release``."""

    def __init__(self) -> None:
        self.release = asyncio.Event()
        self.entered = 0
        self.cancelled = 0

    async def Recognize(self, request: Any, context: Any) -> understanding_pb2.RecognizeResponse:
        self.entered += 1
        if request.model in Reason.__members__:
            raise SemfaceError(Reason[request.model], "refused", field="face.descriptors")
        if request.model == "defect":
            raise ValueError(SECRET)
        if request.model == "nothing":
            return None  # type: ignore[return-value]
        if request.model == "wait":
            try:
                with current_clock().inference():
                    await self.release.wait()
            except asyncio.CancelledError:
                self.cancelled += 1
                raise
        return understanding_pb2.RecognizeResponse(timings=current_clock().timings())


class Streaming(codec_pb2_grpc.CodecServiceServicer):
    """Answers each frame of a stream with its bytes turned round; serves no other method."""

    async def DecodeStream(self, request_iterator: Any, context: Any) -> AsyncIterator[codec_pb2.DecodeStreamResponse]:
        async for request in request_iterator:
            if request.frame == b"corrupt":
                raise SemfaceError(Reason.BITSTREAM_CORRUPT, "the check fails", field="frame")
            yield codec_pb2.DecodeStreamResponse(face=codec_pb2.DecodedFace(quality_name=request.frame.decode()[::-1]))


async def eventually(condition: Callable[[], bool], seconds: float = 5) -> None:
    """Return once ``condition`` holds; fail after ``seconds``."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - what it looks at has no event
            await asyncio.sleep(0.002)


async def healthy() -> None:
    """A canary that passes."""


class Running:
    """A started server and what a test needs of it."""

    def __init__(self, server: Server, channel: grpc.aio.Channel, obedient: Obedient) -> None:
        self.server = server
        self.channel = channel
        self.obedient = obedient
        self.recognize = understanding_pb2_grpc.ExpressionServiceStub(channel).Recognize

    async def ask(self, what: str = "", seconds: float | None = 5.0) -> understanding_pb2.RecognizeResponse:
        """Send a request that tells the servicer ``what`` to do."""
        return await self.recognize(understanding_pb2.RecognizeRequest(model=what), timeout=seconds)

    async def until_entered(self, count: int) -> None:
        """Wait until the servicer has seen ``count`` calls in all."""
        await eventually(lambda: self.obedient.entered >= count)


def server_settings(**changes: Any) -> ServerSettings:
    """Settings of a test's server: a free port, whatever the environment says."""
    return ServerSettings(**{"host": "127.0.0.1", "port": 0, "canary_retry_seconds": 0.02, **changes})


@asynccontextmanager
async def running(
    canary: Callable[[], Awaitable[None]] = healthy, *, joins: bool = True, **changes: Any
) -> AsyncIterator[Running]:
    """Start a server with changed settings and stop it afterwards."""
    obedient, streaming = Obedient(), Streaming()
    add = partial(understanding_pb2_grpc.add_ExpressionServiceServicer_to_server, obedient)
    services = [
        Service(EXPRESSION, add, canary, joins=joins),
        Service(
            "semface.v1.CodecService", partial(codec_pb2_grpc.add_CodecServiceServicer_to_server, streaming), healthy
        ),
    ]
    server = Server(services, server_settings(**{"grace_seconds": 0.5, **changes}))
    port = await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield Running(server, channel, obedient)
    finally:
        await server.stop()


@pytest.fixture
async def service() -> AsyncIterator[Running]:
    """A server as its defaults make it."""
    async with running() as started:
        yield started


class Refusal:
    """A failed call, with the details of its status."""

    def __init__(self, error: grpc.aio.AioRpcError) -> None:
        self.code = error.code()
        self.message = error.details() or ""
        trailers = dict(error.trailing_metadata())
        self.text = f"{self.message} {trailers}"
        self.status = Status.FromString(trailers.get("grpc-status-details-bin", b""))

    def details(self, kind: type[Any]) -> list[Any]:
        """Return the details of one kind."""
        found = []
        for packed in self.status.details:
            detail = kind()
            if packed.Unpack(detail):
                found.append(detail)
        return found

    @property
    def reason(self) -> str:
        """The reason of the one ErrorInfo."""
        (info,) = self.details(ErrorInfo)
        assert info.domain == "semface"
        return str(info.reason)

    @property
    def fields(self) -> list[str]:
        """The fields at fault."""
        return [violation.field for bad in self.details(BadRequest) for violation in bad.field_violations]

    @property
    def retry_seconds(self) -> float | None:
        """When to come again."""
        return next((retry.retry_delay.ToMilliseconds() / 1e3 for retry in self.details(RetryInfo)), None)


async def refusal(call: Awaitable[Any]) -> Refusal:
    """Return why ``call`` failed; it has to."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return Refusal(caught.value)
