"""Around every call: whose it is, admission, parsing that cannot break it, a cap on its time, its errors, its log."""

import asyncio
import inspect
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Set
from contextlib import asynccontextmanager
from functools import lru_cache, partial
from typing import Any, NoReturn

import grpc
import grpc.aio
from google.rpc.status_pb2 import Status

from semface.access.callers import Caller
from semface.deadline import deadline
from semface.errors import Reason, SemfaceError
from semface.rpc.access import CallerCheck
from semface.rpc.arrivals import Arrivals
from semface.rpc.backlog import Backlog
from semface.rpc.errors import STATUS_KEY, to_status
from semface.rpc.limits import FULL, Admission, StreamPlaces
from semface.rpc.telemetry import Telemetry, describe_exception
from semface.rpc.timing import start_clock
from semface.tracing.spans import Span, answering, tell_failure

Handler = Any
"""A ``grpc.RpcMethodHandler``; its concrete classes are private to grpc."""

_MAKE_HANDLER: dict[tuple[bool, bool], Callable[..., Handler]] = {
    (False, False): grpc.unary_unary_rpc_method_handler,
    (False, True): grpc.unary_stream_rpc_method_handler,
    (True, False): grpc.stream_unary_rpc_method_handler,
    (True, True): grpc.stream_stream_rpc_method_handler,
}

_CODES = {code.value[0]: code for code in grpc.StatusCode}
_FAULTS = frozenset({"DEADLINE_EXCEEDED", "INTERNAL", "UNAVAILABLE", "UNIMPLEMENTED"})
"""Codes that are the server's fault, by the semantic conventions of OpenTelemetry."""

_INFRASTRUCTURE = ("/grpc.health.", "/grpc.reflection.")

_ASK_NO_MORE = ("grpc-retry-pushback-ms", "-1")
"""Tells the caller's channel that this is an answer, not a call that broke off: to make it again would not help."""


_RETRY_DIGITS = 2
"""Refusals at the door tell when to come again to a hundredth of a second, so that few different ones are made."""

Trailers = tuple[tuple[str, str | bytes], ...]

Parse = Callable[[bytes], Any]
"""From the bytes of a message to the message."""


def _parsed(parse: Parse, data: bytes) -> Any:
    """Return the message in ``data``; raises MESSAGE_MALFORMED where grpc by itself would answer UNKNOWN."""
    try:
        return parse(data)
    except Exception as error:
        raise SemfaceError(Reason.MESSAGE_MALFORMED, "the request is no valid message of its type") from error


async def _parsed_all(parse: Parse, requests: AsyncIterator[bytes], idle_seconds: float) -> AsyncIterator[Any]:
    """Yield ``requests`` as messages; raises DEADLINE_EXCEEDED where none has come for ``idle_seconds``."""
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
        yield _parsed(parse, request)


class CallInterceptor(grpc.aio.ServerInterceptor):  # type: ignore[type-arg]
    """Guards every method but those of health and reflection."""

    def __init__(
        self,
        access: CallerCheck,
        admissions: Mapping[str, Admission],
        joining: Set[str],
        streams: StreamPlaces,
        backlog: Backlog,
        telemetry: Telemetry,
        call_seconds: float,
        stream_idle_seconds: float,
    ) -> None:
        """Let ``access`` decide who enters, and the ``admissions`` of each service and of ``streams`` when.

        Calls of the services ``joining`` that come in together start together. ``backlog`` and ``telemetry`` are told
        of all. Unary calls end after ``call_seconds``, streams when nothing is sent for ``stream_idle_seconds``.
        """
        self._access = access
        self._admissions = admissions
        self._joining = joining
        self._streams = streams
        self._backlog = backlog
        self._telemetry = telemetry
        self._call_seconds = call_seconds
        self._stream_idle_seconds = stream_idle_seconds
        self._arrivals = Arrivals()
        self._guarded: dict[str, Handler] = {}
        self._doors: dict[str, tuple[Admission, Handler]] = {}

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler:
        """Return the method's handler with the guard around it; an unknown method stays unknown."""
        method = handler_call_details.method
        known = self._guarded.get(method)
        if known is not None:
            door = self._doors.get(method)
            if door is None or door[0].has_room(self._backlog.waiting):
                return known
            self._arrivals.note()
            self._telemetry.shed(method)
            return door[1]
        handler = await continuation(handler_call_details)
        if handler is None:
            return None
        if method.startswith(_INFRASTRUCTURE):
            return self._counted(handler)
        guarded = self._guarded[method] = self._guarded_handler(handler, method)
        # Where there is no room a call does not come in, before anything is spent on it. Where callers are told apart,
        # whose call it is decides, and that is not known yet.
        if not (handler.request_streaming or handler.response_streaming or self._access.asks):
            admission = self._admissions[_service(method)]
            self._doors[method] = admission, _refusing(admission, self._backlog)
        return guarded

    def _counted(self, handler: Handler) -> Handler:
        """Return ``handler`` with its calls counted as taken, and nothing else done about them."""
        kinds = handler.unary_unary, handler.unary_stream, handler.stream_unary, handler.stream_stream
        answer = next(kind for kind in kinds if kind is not None)

        async def awaited(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
            self._backlog.take(context)
            return await answer(request, context)

        async def iterated(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> AsyncIterator[Any]:
            self._backlog.take(context)
            async for response in answer(request, context):
                yield response

        make = _MAKE_HANDLER[handler.request_streaming, handler.response_streaming]
        counted = iterated if inspect.isasyncgenfunction(answer) else awaited
        return make(counted, handler.request_deserializer, handler.response_serializer)

    def _guarded_handler(self, handler: Handler, method: str) -> Handler:
        make = _MAKE_HANDLER[handler.request_streaming, handler.response_streaming]
        behaviour = self._streaming(handler, method) if handler.response_streaming else self._answering(handler, method)
        # Messages are read and written inside the guard: only who was admitted costs the work of it, and an answer of a
        # wrong type is a logged defect like any other.
        return make(behaviour, None, response_serializer=None)

    def _answering(self, handler: Handler, method: str) -> Callable[..., Awaitable[Any]]:
        answer = handler.stream_unary if handler.request_streaming else handler.unary_unary
        served = inspect.iscoroutinefunction(answer)

        async def guarded(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
            size = None if handler.request_streaming else len(request)
            async with self._guard(method, context, size, streamed=handler.request_streaming):
                incoming = self._incoming(handler, request)
                if not served:
                    raise NotImplementedError
                return handler.response_serializer(await answer(incoming, context))

        return guarded

    def _streaming(self, handler: Handler, method: str) -> Callable[..., AsyncIterator[Any]]:
        answer = handler.stream_stream if handler.request_streaming else handler.unary_stream
        served = inspect.isasyncgenfunction(answer)

        async def guarded(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> AsyncIterator[Any]:
            async with self._guard(method, context, None, streamed=True):
                incoming = self._incoming(handler, request)
                if not served:
                    raise NotImplementedError
                async for response in answer(incoming, context):
                    # Whoever does not read holds a place as whoever does not send; this ends the whole call.
                    async with asyncio.timeout(self._stream_idle_seconds):
                        yield handler.response_serializer(response)

        return guarded

    def _incoming(self, handler: Handler, request: Any) -> Any:
        """Return the request, or the iterator over the requests, as messages."""
        parse = handler.request_deserializer
        if handler.request_streaming:
            return _parsed_all(parse, request, self._stream_idle_seconds)
        return _parsed(parse, request)

    @asynccontextmanager
    async def _guard(
        self, method: str, context: grpc.aio.ServicerContext[Any, Any], size: int | None, *, streamed: bool
    ) -> AsyncIterator[None]:
        """Admit the call, end it in time, and turn what the block raises into the answer of the error table.

        ``size`` is that of the request in bytes; None for a stream. The block is a span of the caller's trace.
        """
        self._backlog.take(context)
        clock = start_clock()
        code, fields = "OK", dict[str, Any]()
        self._telemetry.begin(method)
        self._arrivals.note()
        metadata = context.invocation_metadata() or ()
        with answering(method[1:], metadata, apart=streamed) as span:
            try:
                try:
                    caller = await self._access.check(metadata)
                    async with self._admitted(method, context, caller, size):
                        clock.admitted()
                        yield
                except SemfaceError as error:
                    code, fields = error.reason.answer.code, {"reason": error.reason.name}
                    await _abort(context, to_status(error))
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
                # Counted and logged when the answer is on its way.
                end = partial(self._telemetry.end, method, code, clock.total_seconds, **fields)
                asyncio.get_running_loop().call_soon(end)
                if span is not None:
                    _describe(span, method, code, clock.queue_seconds, fields.get("reason", code))

    @asynccontextmanager
    async def _admitted(
        self, method: str, context: grpc.aio.ServicerContext[Any, Any], caller: Caller, size: int | None
    ) -> AsyncIterator[None]:
        if size is None:
            with self._streams.stream(caller.tenant):
                yield
            return
        remaining = context.time_remaining()
        seconds = self._call_seconds if remaining is None else min(remaining, self._call_seconds)
        service = _service(method)
        admission = self._admissions[service]
        try:
            with deadline(seconds):
                async with asyncio.timeout(seconds) as timer, admission.call(method, size, caller.tenant, seconds):
                    if service in self._joining:
                        await self._arrivals.settled()
                    yield
        except TimeoutError as error:
            if not timer.expired():
                raise
            raise SemfaceError(Reason.DEADLINE_EXCEEDED, f"the call took longer than its {seconds:.3g} s") from error


def _describe(span: Span, method: str, code: str, queue_seconds: float, reason: str) -> None:
    """Give ``span`` the attributes of the semantic conventions for gRPC, and how long the call waited."""
    span.set_attribute("rpc.system", "grpc")
    span.set_attribute("rpc.service", _service(method))
    span.set_attribute("rpc.method", method.rpartition("/")[2])
    span.set_attribute("rpc.grpc.status_code", int(grpc.StatusCode[code].value[0]))
    span.set_attribute("semface.queue_ms", round(1e3 * queue_seconds, 3))
    if code != "OK":
        tell_failure(span, reason, fault=code in _FAULTS)


def _service(method: str) -> str:
    return method.split("/")[1]


def _refusing(admission: Admission, backlog: Backlog) -> Handler:
    """Return a handler that refuses. It takes a call for a stream, so that its message is never read."""
    trailers = lru_cache(maxsize=256)(_trailers_of_refusal)

    async def refuse(requests: AsyncIterator[bytes], context: grpc.aio.ServicerContext[Any, Any]) -> NoReturn:
        backlog.take(context)
        seconds = round(admission.retry_seconds(), _RETRY_DIGITS)
        await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, FULL, trailers(seconds))

    return grpc.stream_unary_rpc_method_handler(refuse)


def _defect(error_id: str) -> Status:
    error = SemfaceError(Reason.INTERNAL, f"a defect of the server, logged as {error_id}")
    return to_status(error, metadata={"error_id": error_id})


def _trailers_of_refusal(retry_seconds: float) -> Trailers:
    return _trailers(to_status(SemfaceError(Reason.OVERLOADED, FULL, retry_seconds=retry_seconds)))


def _trailers(status: Status) -> Trailers:
    return (STATUS_KEY, status.SerializeToString()), _ASK_NO_MORE


async def _abort(context: grpc.aio.ServicerContext[Any, Any], status: Status) -> NoReturn:
    await context.abort(_CODES[status.code], status.message, _trailers(status))
