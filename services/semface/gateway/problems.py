"""Every error as RFC 9457 problem details, from the one error table."""

import math
import uuid
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from semface.client import CallError
from semface.errors import Reason, SemfaceError
from semface.rpc.telemetry import describe_exception

MEDIA_TYPE = "application/problem+json"
RETRY_SECONDS = 1

_FRAMEWORK_REASONS = {
    HTTPStatus.NOT_FOUND: Reason.ROUTE_UNKNOWN,
    HTTPStatus.METHOD_NOT_ALLOWED: Reason.METHOD_NOT_ALLOWED,
    HTTPStatus.NOT_ACCEPTABLE: Reason.NOT_ACCEPTABLE,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: Reason.BODY_TOO_LARGE,
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: Reason.MEDIA_TYPE_UNSUPPORTED,
    HTTPStatus.UNPROCESSABLE_ENTITY: Reason.FIELD_INVALID,
}

_HIDDEN_DETAILS = {
    Reason.BACKEND_AWAY: "a service behind the gateway cannot be reached; try again",
    Reason.INTERNAL: "a defect of a service behind the gateway; please report it",
}
"""What is told in place of a transport's own words, which name addresses inside."""

_log = structlog.get_logger(__name__)


class Problem(BaseModel):
    """Problem details (RFC 9457)."""

    type: str = Field(description="URI of the kind of problem.", examples=["urn:semface:error:NO_FACE"])
    title: str = Field(description="The kind of problem in words.", examples=["No face"])
    status: int = Field(description="HTTP status.", examples=[422])
    detail: str = Field(description="What happened and what to do.")
    reason: str = Field(description="Name of the row of the error table; stable.", examples=["NO_FACE"])
    field: str | None = Field(None, description="The part of the request at fault, if one is.")
    instance: str | None = Field(None, description="Where our log tells more of a defect of ours.")


DOCUMENTED: dict[int | str, dict[str, Any]] = {
    "default": {
        "description": "Problem details (RFC 9457).",
        "content": {MEDIA_TYPE: {"schema": Problem.model_json_schema()}},
    }
}
"""What OpenAPI says of every answer that is no success."""


def describe(error: SemfaceError, instance: str | None = None) -> Problem:
    """Return ``error`` as it is told."""
    reason = error.reason
    hidden = isinstance(error, CallError) and reason in _HIDDEN_DETAILS
    return Problem(
        type=f"urn:semface:error:{reason.name}",
        title=reason.name.replace("_", " ").capitalize(),
        status=reason.answer.http_status,
        detail=_HIDDEN_DETAILS[reason] if hidden else error.message,
        reason=reason.name,
        field=error.field,
        instance=instance,
    )


def problem(error: SemfaceError, instance: str | None = None) -> JSONResponse:
    """Return the answer that tells ``error``."""
    body = describe(error, instance)
    status = body.status
    headers = {}
    if status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    if status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE):
        headers["Retry-After"] = str(math.ceil(error.retry_seconds or RETRY_SECONDS))
    return JSONResponse(body.model_dump(exclude_none=True), status, headers, MEDIA_TYPE)


def install(app: FastAPI) -> None:
    """Make ``app`` answer every known error, the framework's own too, as problem details."""
    app.add_exception_handler(SemfaceError, _answer_known)
    app.add_exception_handler(HTTPException, _answer_framework)
    app.add_exception_handler(RequestValidationError, _answer_invalid)


async def _answer_known(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, SemfaceError)
    return problem(error)


async def _answer_framework(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    reason = _FRAMEWORK_REASONS.get(HTTPStatus(error.status_code), Reason.MESSAGE_MALFORMED)
    detail = error.detail
    if reason is Reason.ROUTE_UNKNOWN:
        detail = "there is nothing at this path; /docs lists what is there"
    elif reason is Reason.METHOD_NOT_ALLOWED:
        detail = f"{request.method} is not allowed here; allowed: {(error.headers or {}).get('Allow', 'see /docs')}"
    answer = problem(SemfaceError(reason, detail))
    answer.headers.update(error.headers or {})
    return answer


async def _answer_invalid(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"][1:]) or str(first["loc"][0])
    return problem(SemfaceError(Reason.FIELD_INVALID, f"{where}: {first['msg']}", field=where))


class DefectGuard:
    """ASGI middleware: a defect is logged without its message, which may quote the caller, and told as INTERNAL."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def send_noted(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, receive, send_noted)
        except ClientDisconnect:
            # Nobody is left to answer, and nothing of ours went wrong.
            return
        except Exception as error:
            instance = uuid.uuid4().urn
            _log.error("defect", instance=instance, **describe_exception(error))
            if scope["type"] != "http" or started:
                raise
            told = SemfaceError(Reason.INTERNAL, "a defect of ours; please report it with its instance")
            await problem(told, instance)(scope, receive, send)
