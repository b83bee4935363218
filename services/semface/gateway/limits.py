"""How large a body may be and how long it may take, enforced while it is read, so that no more is ever held."""

import asyncio

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from semface.errors import Reason, SemfaceError
from semface.gateway.settings import GatewaySettings
from semface.media_types import BITSTREAM_TYPE, LINES_TYPE

MULTIPART_OVERHEAD = 4096
"""Bytes that a multipart body may need beside its photograph."""


class BodyLimit:
    """ASGI middleware: a body that is, or says it is, longer than allowed, or comes too slowly, is refused."""

    def __init__(self, app: ASGIApp, settings: GatewaySettings) -> None:
        self._app = app
        self._max_image_bytes = settings.http_max_image_bytes
        self._max_message_bytes = settings.http_max_message_bytes
        self._max_import_bytes = settings.http_max_import_bytes
        self._max_faces = settings.enroll_max_faces
        self._body_seconds = settings.http_body_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        # Only an enrolment and a comparison may hold several photographs.
        faces = self._max_faces if scope["method"] == "PUT" else 2 if scope["path"] == "/v1/compare" else 1
        content_type = headers.get("content-type", "").lower()
        limit, reason = self._limit(content_type, faces)
        declared = headers.get("content-length", "0")
        read, complete = 0, False
        loop = asyncio.get_running_loop()
        end = loop.time() + self._body_seconds

        async def receive_limited() -> Message:
            nonlocal read, complete, end
            _refuse_beyond(limit, reason, int(declared) if declared.isdecimal() else 0)
            try:
                async with asyncio.timeout_at(None if complete else end):
                    message = await receive()
            except TimeoutError as error:
                told = f"the body did not arrive within {self._body_seconds:.3g} s"
                raise SemfaceError(Reason.DEADLINE_EXCEEDED, told) from error
            if content_type.startswith(LINES_TYPE):
                end = loop.time() + self._body_seconds
            read += len(message.get("body", b""))
            _refuse_beyond(limit, reason, read)
            complete = not message.get("more_body", False)
            return message

        await self._app(scope, receive_limited, send)

    def _limit(self, content_type: str, faces: int) -> tuple[int, Reason]:
        if content_type.startswith("image/"):
            return self._max_image_bytes, Reason.IMAGE_TOO_LARGE
        if content_type.startswith("model/"):
            return self._max_image_bytes, Reason.SCAN_TOO_LARGE
        if content_type.startswith("multipart/"):
            return faces * (self._max_image_bytes + MULTIPART_OVERHEAD), Reason.IMAGE_TOO_LARGE
        if content_type.startswith(LINES_TYPE):
            return self._max_import_bytes, Reason.BODY_TOO_LARGE
        if content_type.startswith(BITSTREAM_TYPE):
            return self._max_message_bytes, Reason.BITSTREAM_TOO_LARGE
        return self._max_message_bytes, Reason.BODY_TOO_LARGE


def _refuse_beyond(limit: int, reason: Reason, size: int) -> None:
    if size > limit:
        raise SemfaceError(reason, f"the body is longer than {limit} bytes, the most that is taken here")
