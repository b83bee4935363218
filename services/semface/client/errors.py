"""A failed call as an exception by reason."""

from typing import Any, TypeVar

import grpc
from google.protobuf.message import DecodeError, Message
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

from semface.errors import DOMAIN, Reason, SemfaceError

Detail = TypeVar("Detail", bound=Message)

_STATUS_KEY = "grpc-status-details-bin"

_REASONS_BY_CODE = {
    # The transport itself answers so, without details, to a message over its limit.
    grpc.StatusCode.RESOURCE_EXHAUSTED: Reason.BODY_TOO_LARGE,
    grpc.StatusCode.UNAVAILABLE: Reason.BACKEND_AWAY,
    # From a server that stops; the caller's own cancelling is an asyncio.CancelledError.
    grpc.StatusCode.CANCELLED: Reason.BACKEND_AWAY,
    grpc.StatusCode.DEADLINE_EXCEEDED: Reason.DEADLINE_EXCEEDED,
    grpc.StatusCode.UNIMPLEMENTED: Reason.METHOD_NOT_ALLOWED,
}


class CallError(SemfaceError):
    """A call that a service refused or did not answer; ``reason`` says why."""

    def __init__(
        self,
        reason: Reason,
        message: str,
        *,
        code: grpc.StatusCode,
        field: str | None = None,
        retry_seconds: float | None = None,
        error_id: str | None = None,
    ) -> None:
        """Keep the gRPC ``code``, when to come again if the service said so, and the id of a logged defect."""
        super().__init__(reason, message, field=field, retry_seconds=retry_seconds)
        self.code = code
        self.error_id = error_id


def to_call_error(error: grpc.RpcError) -> CallError:
    """Return the exception for ``error``, from the status in its trailers or, where there is none, from its code."""
    code = error.code()
    status = _status(error)
    info = _detail(status, ErrorInfo())
    if info is None or info.domain != DOMAIN or info.reason not in Reason.__members__:
        return CallError(_REASONS_BY_CODE.get(code, Reason.INTERNAL), f"{code.name}: {error.details()}", code=code)
    bad_request = _detail(status, BadRequest())
    retry = _detail(status, RetryInfo())
    return CallError(
        Reason[info.reason],
        status.message,
        code=code,
        field=bad_request.field_violations[0].field if bad_request and bad_request.field_violations else None,
        retry_seconds=retry.retry_delay.ToMilliseconds() / 1e3 if retry else None,
        error_id=info.metadata.get("error_id"),
    )


def _status(error: grpc.RpcError) -> Status:
    # The stubs' type of metadata cannot be iterated over; what grpc hands out are pairs.
    trailers: Any = error.trailing_metadata() or ()
    for key, value in trailers:
        if key == _STATUS_KEY:
            try:
                return Status.FromString(value)
            except DecodeError:
                break
    return Status()


def _detail(status: Status, empty: Detail) -> Detail | None:
    for packed in status.details:
        if packed.Unpack(empty):
            return empty
    return None
