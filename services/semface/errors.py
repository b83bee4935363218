"""The one table of everything that can go wrong for a caller: reason, gRPC code, HTTP status.

A reason is part of the public API and never changes its meaning. Messages carry no face data and no subject id.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Final

DOMAIN: Final = "semface"
"""The domain of every ``google.rpc.ErrorInfo`` that the services send."""


@dataclass(frozen=True, slots=True)
class Answer:
    """How a reason is told over each transport. ``code`` is the name of a gRPC status code."""

    code: str
    http_status: int


class Reason(Enum):
    """Why a request was refused or failed; the name is what callers see."""

    MESSAGE_MALFORMED = Answer("INVALID_ARGUMENT", 400)
    IMAGE_UNDECODABLE = Answer("INVALID_ARGUMENT", 422)
    IMAGE_TOO_LARGE = Answer("INVALID_ARGUMENT", 413)
    SCAN_UNDECODABLE = Answer("INVALID_ARGUMENT", 422)
    SCAN_TOO_LARGE = Answer("INVALID_ARGUMENT", 413)
    DESCRIPTOR_SHAPE = Answer("INVALID_ARGUMENT", 422)
    NOT_FINITE = Answer("INVALID_ARGUMENT", 422)
    ENUM_UNSPECIFIED = Answer("INVALID_ARGUMENT", 422)
    FIELD_INVALID = Answer("INVALID_ARGUMENT", 422)
    BITSTREAM_CORRUPT = Answer("INVALID_ARGUMENT", 422)
    BITSTREAM_TOO_LARGE = Answer("INVALID_ARGUMENT", 413)
    BITSTREAM_VERSION = Answer("FAILED_PRECONDITION", 409)
    MODEL_MISMATCH = Answer("FAILED_PRECONDITION", 409)
    GROUP_ABSENT = Answer("FAILED_PRECONDITION", 422)
    NO_FACE = Answer("FAILED_PRECONDITION", 422)
    SEVERAL_FACES = Answer("FAILED_PRECONDITION", 422)
    LOW_QUALITY = Answer("FAILED_PRECONDITION", 422)
    FACES_DIFFER = Answer("FAILED_PRECONDITION", 422)
    SUBJECT_UNKNOWN = Answer("NOT_FOUND", 404)
    MODEL_UNKNOWN = Answer("NOT_FOUND", 404)
    KEY_INVALID = Answer("UNAUTHENTICATED", 401)
    SCOPE_MISSING = Answer("PERMISSION_DENIED", 403)
    REQUEST_ID_REUSED = Answer("ABORTED", 409)
    OVERLOADED = Answer("RESOURCE_EXHAUSTED", 429)
    RATE_LIMITED = Answer("RESOURCE_EXHAUSTED", 429)
    MODEL_LOADING = Answer("UNAVAILABLE", 503)
    BACKEND_AWAY = Answer("UNAVAILABLE", 503)
    STORE_FULL = Answer("UNAVAILABLE", 503)
    DEADLINE_EXCEEDED = Answer("DEADLINE_EXCEEDED", 504)
    INTERNAL = Answer("INTERNAL", 500)

    # Met over HTTP only.
    ROUTE_UNKNOWN = Answer("UNIMPLEMENTED", 404)
    METHOD_NOT_ALLOWED = Answer("UNIMPLEMENTED", 405)
    NOT_ACCEPTABLE = Answer("INVALID_ARGUMENT", 406)
    BODY_TOO_LARGE = Answer("RESOURCE_EXHAUSTED", 413)
    MEDIA_TYPE_UNSUPPORTED = Answer("INVALID_ARGUMENT", 415)

    # Without this, reasons with equal answers would become aliases of the first one.
    def __new__(cls, answer: Answer) -> "Reason":
        member = object.__new__(cls)
        member._value_ = len(cls.__members__)
        member.answer = answer
        return member

    answer: Answer


class SemfaceError(Exception):
    """A request that cannot be answered: why, in words for the caller, perhaps the field at fault and when to retry."""

    def __init__(
        self, reason: Reason, message: str, *, field: str | None = None, retry_seconds: float | None = None
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.field = field
        self.retry_seconds = retry_seconds
