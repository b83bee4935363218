"""The two clients: one channel each, and every call of ``semface.client.calls`` as a method."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import aclosing
from functools import wraps
from types import TracebackType
from typing import Any, ClassVar, Concatenate, Final, ParamSpec, Self, TypeVar

import grpc
import grpc.aio
from numpy.typing import ArrayLike

from semface.access.certificates import TlsFiles
from semface.client import calls
from semface.client.answers import Extraction, Frame, ShownFace
from semface.client.calls import Call, Moment
from semface.client.connection import Connection
from semface.client.errors import CallError, to_call_error
from semface.client.stream_end import StreamEnd
from semface.descriptors import Portion
from semface.tracing.spans import Kind, span, trace_metadata
from semface.v1.codec_pb2 import DecodeStreamRequest
from semface.v1.codec_pb2_grpc import CodecServiceStub
from semface.v1.extraction_pb2 import ExtractStreamRequest
from semface.v1.extraction_pb2_grpc import ExtractionServiceStub

Parameters = ParamSpec("Parameters")
Answer = TypeVar("Answer")

DEFAULT_SECONDS: Final = 10.0


def _awaiting(
    build: Callable[Parameters, Call[Answer]],
) -> Callable[Concatenate["AsyncClient", Parameters], Awaitable[Answer]]:
    """Make a method of ``AsyncClient`` from a call."""

    @wraps(build)
    async def method(self: "AsyncClient", /, *args: Parameters.args, **kwargs: Parameters.kwargs) -> Answer:
        return await self._run(build(*args, **kwargs))

    return method


def _blocking(
    build: Callable[Parameters, Call[Answer]],
) -> Callable[Concatenate["Client", Parameters], Answer]:
    """Make a method of ``Client`` from a call."""

    @wraps(build)
    def method(self: "Client", /, *args: Parameters.args, **kwargs: Parameters.kwargs) -> Answer:
        return self._run(build(*args, **kwargs))

    return method


class _Client:
    """A connection, the deadline of each call and the key to show."""

    _maker: ClassVar[Any]
    """What makes the channel: ``grpc`` or ``grpc.aio``."""

    def __init__(
        self,
        address: str,
        *,
        seconds: float = DEFAULT_SECONDS,
        key: str | None = None,
        tls: TlsFiles | None = None,
        name: str | None = None,
    ) -> None:
        """Connect to ``address`` (host:port) at the first call; each call has to be answered within ``seconds``.

        ``key`` is the API key or token to show; ``tls`` this side's certificates, without which nothing is encrypted.
        ``name`` is whom the server's certificate has to be for, where that is not the address's host.
        """
        self._connection = Connection(self._maker, address, tls, name)
        self._seconds = seconds
        self._metadata = (("authorization", f"Bearer {key}"),) if key else ()

    def within(self, seconds: float) -> Self:
        """Return a client over the same channel whose calls have to be answered within ``seconds``."""
        other = type(self).__new__(type(self))
        other._connection, other._seconds, other._metadata = self._connection, seconds, self._metadata
        return other

    def _failure(self, error: grpc.RpcError) -> CallError:
        self._connection.failed(error)
        return to_call_error(error)

    def _call(self, call: Call[Any]) -> Any:
        method = getattr(self._connection.stub(call.stub), call.method)
        return method(call.request, timeout=self._seconds, metadata=self._metadata + trace_metadata())


class AsyncClient(_Client):
    """The services at one address, for one event loop. Every method raises ``CallError``."""

    _maker: ClassVar[Any] = grpc.aio

    async def _run(self, call: Call[Answer]) -> Answer:
        with span(call.method, Kind.CLIENT):
            try:
                return call.read(await self._call(call))
            except grpc.RpcError as error:
                raise self._failure(error) from error

    async def extract_stream(self, images: AsyncIterator[bytes]) -> AsyncIterator[Extraction]:
        """Yield the faces of each of ``images`` (JPEG, PNG or WebP), in their order; a face keeps its ``track_id``.

        A frame without a face has none. The stream has no deadline; it ends with ``images``, when it is closed, or by
        DEADLINE_EXCEEDED when no image comes for as long as the server is set to wait. What ``images`` raises is raised
        here.
        """
        requests = (ExtractStreamRequest(image=image) async for image in images)
        async with aclosing(self._stream(ExtractionServiceStub, "ExtractStream", requests)) as answers:
            async for message in answers:
                yield calls.read_extraction(message)

    async def encode_stream(
        self,
        faces: AsyncIterator[ArrayLike | Moment],
        *,
        quality: str | int | None = None,
        portions: Portion = Portion.ALL,
    ) -> AsyncIterator[Frame]:
        """Yield a frame for each of ``faces`` (257,), moments of one moving face: a key first, then predicted ones.

        A ``Moment`` with ``refresh`` becomes a key too. ``quality`` is a name or number, None the session's own. Ends
        and fails as ``extract_stream``.
        """
        request = calls.moments(quality, portions)
        requests = (request(face) async for face in faces)
        async with aclosing(self._stream(CodecServiceStub, "EncodeStream", requests)) as answers:
            async for message in answers:
                yield calls.read_moment(message)

    async def decode_stream(
        self, frames: AsyncIterator[bytes | None], *, model_hash: int = 0
    ) -> AsyncIterator[ShownFace]:
        """Yield what a receiver shows after each of ``frames``; None or no bytes say that one was lost.

        ``model_hash`` as in ``decode``. Ends and fails as ``extract_stream``.
        """
        requests = (DecodeStreamRequest(frame=frame or b"", model_hash=model_hash) async for frame in frames)
        async with aclosing(self._stream(CodecServiceStub, "DecodeStream", requests)) as answers:
            async for message in answers:
                yield calls.read_shown(message)

    async def _stream(self, stub: Callable[..., Any], method: str, messages: AsyncIterator[Any]) -> AsyncGenerator[Any]:
        """Yield the answers to ``messages``; what ``messages`` raises is raised here."""
        failures: list[Exception] = []

        async def requests() -> AsyncIterator[Any]:
            try:
                async for message in messages:
                    yield message
            except Exception as error:
                # grpc would only log it and cancel the call.
                failures.append(error)
                call.cancel()

        call = getattr(self._connection.stub(stub), method)(requests(), metadata=self._metadata + trace_metadata())
        end = StreamEnd(call)
        try:
            async for answer in call:
                yield answer
        except grpc.RpcError as seen:
            error = await end.error(seen)
            if error is not None:
                raise self._failure(error) from error
        except asyncio.CancelledError:
            if not failures:
                raise
            raise failures[0] from None
        finally:
            call.cancel()

    async def close(self) -> None:
        """Let go of the channel; calls in flight are cancelled."""
        for channel in self._connection.channels():
            await channel.close()

    async def __aenter__(self) -> Self:
        """Return the client itself."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        await self.close()

    extract = _awaiting(calls.extract)
    encode = _awaiting(calls.encode)
    decode = _awaiting(calls.decode)
    recognize = _awaiting(calls.recognize)
    read_scan = _awaiting(calls.read_scan)
    recognize_view = _awaiting(calls.recognize_view)
    embed = _awaiting(calls.embed)
    compare = _awaiting(calls.compare)
    understand = _awaiting(calls.understand)
    serving = _awaiting(calls.serving)


class Client(_Client):
    """The services at one address, for threads. Every method raises ``CallError``."""

    _maker: ClassVar[Any] = grpc

    def _run(self, call: Call[Answer]) -> Answer:
        with span(call.method, Kind.CLIENT):
            try:
                return call.read(self._call(call))
            except grpc.RpcError as error:
                raise self._failure(error) from error

    def extract_stream(self, images: Iterable[bytes]) -> Iterator[Extraction]:
        """Yield the faces of each of ``images`` as ``AsyncClient.extract_stream``; a thread of its own reads them."""
        requests = (ExtractStreamRequest(image=image) for image in images)
        for message in self._stream(ExtractionServiceStub, "ExtractStream", requests):
            yield calls.read_extraction(message)

    def encode_stream(
        self, faces: Iterable[ArrayLike | Moment], *, quality: str | int | None = None, portions: Portion = Portion.ALL
    ) -> Iterator[Frame]:
        """Yield a frame for each of ``faces`` as ``AsyncClient.encode_stream``; a thread of its own reads them."""
        messages = map(calls.moments(quality, portions), faces)
        yield from map(calls.read_moment, self._stream(CodecServiceStub, "EncodeStream", messages))

    def decode_stream(self, frames: Iterable[bytes | None], *, model_hash: int = 0) -> Iterator[ShownFace]:
        """Yield what is shown after each of ``frames`` as ``AsyncClient.decode_stream``."""
        messages = (DecodeStreamRequest(frame=frame or b"", model_hash=model_hash) for frame in frames)
        yield from map(calls.read_shown, self._stream(CodecServiceStub, "DecodeStream", messages))

    def _stream(self, stub: Callable[..., Any], method: str, messages: Iterator[Any]) -> Iterator[Any]:
        """Yield the answers to ``messages``; what ``messages`` raises is raised here."""
        failures: list[Exception] = []

        def requests() -> Iterator[Any]:
            try:
                yield from messages
            except Exception as error:
                # grpc would only log it and cancel the call.
                failures.append(error)
                call.cancel()

        call = getattr(self._connection.stub(stub), method)(requests(), metadata=self._metadata + trace_metadata())
        try:
            yield from call
        except grpc.RpcError as error:
            if failures:
                raise failures[0] from None
            raise self._failure(error) from error
        finally:
            call.cancel()

    def close(self) -> None:
        """Let go of the channel; calls in flight are cancelled."""
        for channel in self._connection.channels():
            channel.close()

    def __enter__(self) -> Self:
        """Return the client itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        self.close()

    extract = _blocking(calls.extract)
    encode = _blocking(calls.encode)
    decode = _blocking(calls.decode)
    recognize = _blocking(calls.recognize)
    read_scan = _blocking(calls.read_scan)
    recognize_view = _blocking(calls.recognize_view)
    embed = _blocking(calls.embed)
    compare = _blocking(calls.compare)
    understand = _blocking(calls.understand)
    serving = _blocking(calls.serving)
