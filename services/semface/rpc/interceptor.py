"""Around every call: whose it is, parsing that cannot break it, admission, a cap on its time, its errors, its log."""

import asyncio
import inspect
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, NoReturn

import grpc
import grpc.aio
from google.rpc.status_pb2 import Status

from semface.deadline import deadline
from semface.errors import Reason, SemfaceError
from semface.rpc.access import CallerCheck
from semface.rpc.errors import STATUS_KEY, to_status
from semface.rpc.limits import Admission
from semface.rpc.telemetry import Telemetry, describe_exception
from semface.rpc.timing import start_clock

Handler = Any
"""A ``grpc.RpcMethodHandler``; its concrete classes are private to grpc."""

_MAKE_HANDLER: dict[tuple[bool, bool], Callable[..., Handler]] = {
    (False, False): grpc.unary_unary_rpc_method_handler,
    (False, True): grpc.unary_stream_rpc_method_handler,
    (True, False): grpc.stream_unary_rpc_method_handler,
    (True, True): grpc.stream_stream_rpc_method_handler,
}

_INFRASTRUCTURE = ("/grpc.health.", "/grpc.reflection.")


class _Malformed:
    """Stands for a request that is no message of its type."""


_MALFORMED = _Malformed()


def _safe(parse: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    """Return ``parse`` answering ``_MALFORMED`` where it fails: grpc would answer UNKNOWN by itself."""

    def parse_or_mark(data: bytes) -> Any:
        try:
            return parse(data)
        except Exception:
            return _MALFORMED

    return parse_or_mark


def _checked(request: Any) -> Any:
    if request is _MALFORMED:
        raise SemfaceError(Reason.MESSAGE_MALFORMED, "the request is no valid message of its type")
    return request


async def _checked_all(requests: AsyncIterator[Any], idle_seconds: float) -> AsyncIterator[Any]:
    """Yield ``requests`` as they come; raises DEADLINE_EXCEEDED where none has come for ``idle_seconds``."""
    incoming = aiter(requests)
    while True:
        try:
            async with asyncio.timeout(idle_seconds) as timer:
                request = await anext(incoming)
        except StopAsyncIteration:
            return
        except TimeoutError as error:
            if not timer.expired():
                raise
            message = f"nothing was sent for {idle_seconds:.3g} s; open another stream to go on"
            raise SemfaceError(Reason.DEADLINE_EXCEEDED, message) from error
        yield _checked(request)


class CallInterceptor(grpc.aio.ServerInterceptor):  # type: ignore[type-arg]
    """Guards every method but those of health and reflection."""

    def __init__(
        self,
        access: CallerCheck,
        admission: Admission,
        telemetry: Telemetry,
        call_seconds: float,
        stream_idle_seconds: float,
    ) -> None:
        """Let ``access`` and ``admission`` decide who enters, tell ``telemetry`` of all.

        Unary calls end after ``call_seconds``, streams when nothing is sent for ``stream_idle_seconds``.
        """
        self._access = access
        self._admission = admission
        self._telemetry = telemetry
        self._call_seconds = call_seconds
        self._stream_idle_seconds = stream_idle_seconds
        self._guarded: dict[str, Handler] = {}

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler:
        """Return the method's handler with the guard around it; an unknown method stays unknown."""
        method = handler_call_details.method
        guarded = self._guarded.get(method)
        if guarded is not None:
            return guarded
        handler = await continuation(handler_call_details)
        if handler is None or method.startswith(_INFRASTRUCTURE):
            return handler
        self._guarded[method] = self._guarded_handler(handler, method)
        return self._guarded[method]

    def _guarded_handler(self, handler: Handler, method: str) -> Handler:
        make = _MAKE_HANDLER[handler.request_streaming, handler.response_streaming]
        behaviour = self._streaming(handler, method) if handler.response_streaming else self._answering(handler, method)
        # Answers are serialised inside the guard, so that one of a wrong type is a logged defect like any other.
        return make(behaviour, _safe(handler.request_deserializer), response_serializer=None)

    def _answering(self, handler: Handler, method: str) -> Callable[..., Awaitable[Any]]:
        answer = handler.stream_unary if handler.request_streaming else handler.unary_unary

        async def guarded(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
            async with self._guard(method, context, stream=handler.request_streaming):
                incoming = self._incoming(handler, request)
                if not inspect.iscoroutinefunction(answer):
                    raise NotImplementedError
                return handler.response_serializer(await answer(incoming, context))

        return guarded

    def _streaming(self, handler: Handler, method: str) -> Callable[..., AsyncIterator[Any]]:
        answer = handler.stream_stream if handler.request_streaming else handler.unary_stream

        async def guarded(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> AsyncIterator[Any]:
            async with self._guard(method, context, stream=True):
                incoming = self._incoming(handler, request)
                if not inspect.isasyncgenfunction(answer):
                    raise NotImplementedError
                async for response in answer(incoming, context):
                    yield handler.response_serializer(response)

        return guarded

    def _incoming(self, handler: Handler, request: Any) -> Any:
        """Return the request, or the iterator over the requests, once seen to be messages."""
        return _checked_all(request, self._stream_idle_seconds) if handler.request_streaming else _checked(request)

    @asynccontextmanager
    async def _guard(
        self, method: str, context: grpc.aio.ServicerContext[Any, Any], *, stream: bool
    ) -> AsyncIterator[None]:
        """Admit the call, end it in time, and turn what the block raises into the answer of the error table."""
        clock = start_clock()
        code, fields = "OK", dict[str, Any]()
        self._telemetry.begin(method)
        try:
            try:
                await self._access.check(context.invocation_metadata())
                async with self._admitted(context, stream=stream):
                    clock.admitted()
                    yield
            except SemfaceError as error:
                code, fields = error.reason.answer.code, {"reason": error.reason.name}
                await _abort(context, to_status(error, retry_seconds=self._admission.retry_seconds))
            except NotImplementedError:
                code = "UNIMPLEMENTED"
                await context.abort(grpc.StatusCode.UNIMPLEMENTED, "this method is declared but not served yet")
            except (asyncio.CancelledError, GeneratorExit):
                code = "DEADLINE_EXCEEDED" if context.time_remaining() == 0 else "CANCELLED"
                raise
            except Exception as error:
                error_id = uuid.uuid4().hex[:12]
                code, fields = "INTERNAL", {"reason": "INTERNAL", "error_id": error_id}
                self._telemetry.log.error("defect", method=method, error_id=error_id, **describe_exception(error))
                await _abort(context, _defect(error_id))
        finally:
            self._telemetry.end(method, code, clock.total_seconds, **fields)

    @asynccontextmanager
    async def _admitted(self, context: grpc.aio.ServicerContext[Any, Any], *, stream: bool) -> AsyncIterator[None]:
        if stream:
            with self._admission.stream():
                yield
            return
        remaining = context.time_remaining()
        seconds = self._call_seconds if remaining is None else min(remaining, self._call_seconds)
        try:
            with deadline(seconds):
                async with asyncio.timeout(seconds) as timer, self._admission.call():
                    yield
        except TimeoutError as error:
            if not timer.expired():
                raise
            raise SemfaceError(Reason.DEADLINE_EXCEEDED, f"the call took longer than its {seconds:.3g} s") from error


def _defect(error_id: str) -> Status:
    error = SemfaceError(Reason.INTERNAL, f"a defect of the server, logged as {error_id}")
    return to_status(error, metadata={"error_id": error_id})


async def _abort(context: grpc.aio.ServicerContext[Any, Any], status: Status) -> NoReturn:
    code = next(code for code in grpc.StatusCode if code.value[0] == status.code)
    await context.abort(code, status.message, ((STATUS_KEY, status.SerializeToString()),))
