"""The error table on the wire: a ``SemfaceError`` as ``google.rpc.Status`` in the trailers of a call."""

import grpc
from google.protobuf.any_pb2 import Any
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

from semface.errors import DOMAIN, Reason, SemfaceError

STATUS_KEY = "grpc-status-details-bin"
"""The trailer that carries the status."""

RETRIED = frozenset({Reason.OVERLOADED, Reason.RATE_LIMITED})
"""The reasons that say when to come again."""


def status_code(reason: Reason) -> grpc.StatusCode:
    """Return the gRPC code of ``reason``."""
    return grpc.StatusCode[reason.answer.code]


DEFAULT_RETRY_SECONDS = 1.0
"""When to come again, where the error does not say."""


def to_status(error: SemfaceError, *, metadata: dict[str, str] | None = None) -> Status:
    """Return ``error`` as a status: one ErrorInfo, a BadRequest for a field at fault, a RetryInfo when shedding.

    ``metadata`` goes into the ErrorInfo; when to come again is told with OVERLOADED and RATE_LIMITED only.
    """
    details: list[Message] = [ErrorInfo(reason=error.reason.name, domain=DOMAIN, metadata=metadata or {})]
    if error.field is not None:
        violation = BadRequest.FieldViolation(field=error.field, description=error.message, reason=error.reason.name)
        details.append(BadRequest(field_violations=[violation]))
    if error.reason in RETRIED:
        delay = Duration()
        retry_seconds = DEFAULT_RETRY_SECONDS if error.retry_seconds is None else error.retry_seconds
        delay.FromMilliseconds(max(1, round(1e3 * retry_seconds)))
        details.append(RetryInfo(retry_delay=delay))
    status = Status(code=status_code(error.reason).value[0], message=error.message)
    for detail in details:
        packed = Any()
        packed.Pack(detail)
        status.details.append(packed)
    return status
