"""All of a tenant's subjects at once, as lines of JSON, and the audit trail."""

import base64
import binascii
import json
import time
from collections.abc import AsyncIterator
from typing import Annotated

import numpy as np
from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from semface.access.callers import Caller, Scope
from semface.client import Model
from semface.errors import Reason, SemfaceError
from semface.gateway import answers
from semface.gateway.dependencies import Parts, parts
from semface.gateway.enrolled.directory import unit
from semface.gateway.enrolled.protection import TenantProtection
from semface.gateway.enrolled.record import MOST_TEXT_BYTES, Details, Record, make_record
from semface.gateway.enrolled.store import AuditEvent
from semface.gateway.enrollment import SUBJECT_PATTERN
from semface.gateway.provenance import describe_model
from semface.gateway.security import admitted
from semface.gateway.sources import content_type
from semface.meaning import EMBEDDING_SIZE
from semface.media_types import LINES_TYPE

router = APIRouter(prefix="/v1", tags=["bulk"])

EXPORT_PAGE = 500
IMPORT_BATCH = 200
PROBLEMS_TOLD = 100
MAX_LINE_BYTES = 65_536
UNIT_TOLERANCE = 0.01

_LINES = {"content": {LINES_TYPE: {"schema": {"type": "string"}}}}


class SubjectLine(BaseModel):
    """A subject with its template: a line of an export, and of an import."""

    model_config = ConfigDict(extra="forbid")

    subject: str = Field(pattern=SUBJECT_PATTERN)
    embedding: str = Field(description="512 little-endian float32 of unit length, in base64.")
    model: answers.Model
    enrolled_at: float = Field(ge=0)
    expires_at: float | None = Field(None, gt=0)
    samples: int = Field(1, ge=1, le=255)
    consent: answers.Reference | None = None
    labels: list[answers.Reference] = Field(default_factory=list, max_length=answers.MAX_WORDS)
    groups: list[answers.GroupName] = Field(default_factory=list, max_length=answers.MAX_WORDS)


@router.get(
    "/export",
    response_class=StreamingResponse,
    responses={200: {**_LINES, "description": "One subject with its embedding a line."}},
)
async def export(
    request: Request, caller: Annotated[Caller, Depends(admitted(Scope.EXPORT, lasting=True))]
) -> StreamingResponse:
    """Export every subject with its embedding, which is face data, one JSON object a line.

    A line that holds only "error" says that the export is not whole.
    """
    app = parts(request)
    store = app.enrollment.store
    await store.note(caller.tenant, b"", AuditEvent("export", caller.key_id))
    first = await store.page(caller.tenant, b"", EXPORT_PAGE)
    return StreamingResponse(_lines(app, caller.tenant, first), media_type=LINES_TYPE)


@router.post("/import", openapi_extra={"requestBody": {"required": True, **_LINES}})
async def import_subjects(
    request: Request, caller: Annotated[Caller, Depends(admitted(Scope.ENROLL, lasting=True))]
) -> answers.Imported:
    """Enrol every line of an export; a line at fault is refused and told, the others are taken."""
    app = parts(request)
    if content_type(request) != LINES_TYPE:
        raise SemfaceError(Reason.MEDIA_TYPE_UNSUPPORTED, f"send lines of JSON ({LINES_TYPE})")
    told = answers.Imported(created=0, replaced=0, refused=0, problems=[])
    protection = app.enrollment.store.protection(caller.tenant)
    batch: dict[str, Record] = {}
    number = 0
    async for line in _read_lines(request):
        number += 1
        if not line.strip():
            continue
        try:
            record = _record(line, protection)
        except SemfaceError as error:
            told.refused += 1
            if len(told.problems) < PROBLEMS_TOLD:
                problem = answers.ImportProblem(line=number, reason=error.reason.name, detail=error.message)
                told.problems.append(problem)
            continue
        if record.subject in batch or len(batch) >= IMPORT_BATCH:
            await _keep(app, caller, batch, told)
        batch[record.subject] = record
    await _keep(app, caller, batch, told)
    return told


@router.get("/audit")
async def audit(
    request: Request,
    caller: Annotated[Caller, Depends(admitted(Scope.EXPORT))],
    limit: Annotated[int, Query(ge=1, le=1000, description="How many entries at most.")] = 100,
) -> answers.AuditTrail:
    """Tell what was done last: enrolments, changes, erasures, verifications, exports."""
    app = parts(request)
    trail = await app.enrollment.store.audit_trail(caller.tenant, limit)
    return answers.AuditTrail(
        entries=[answers.AuditEntry(at=int(number.partition("-")[0]) / 1000, **fields) for number, fields in trail]
    )


async def _lines(app: Parts, tenant: str, first: tuple[list[Record], bytes | None]) -> AsyncIterator[str]:
    store = app.enrollment.store
    records, after = first
    while True:
        protection = store.protection(tenant)
        for record in records:
            yield _line(record, protection).model_dump_json() + "\n"
        if after is None:
            return
        try:
            records, after = await store.page(tenant, after, EXPORT_PAGE)
        except SemfaceError as error:
            yield json.dumps({"error": error.reason.name}) + "\n"
            return


def _line(record: Record, protection: TenantProtection) -> SubjectLine:
    details = record.details
    return SubjectLine(
        subject=record.subject,
        embedding=base64.b64encode(record.embedding(protection).astype("<f4").tobytes()).decode(),
        model=describe_model(record.model),
        enrolled_at=details.enrolled_at,
        expires_at=details.expires_at,
        samples=details.samples,
        consent=details.consent,
        labels=list(details.labels),
        groups=list(details.groups),
    )


def _record(line: bytes, protection: TenantProtection) -> Record:
    try:
        told = SubjectLine.model_validate_json(line)
        vector = np.frombuffer(base64.b64decode(told.embedding, validate=True), "<f4")
        model = Model(told.model.name, told.model.version, int(told.model.hash, 16))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "line"
        raise SemfaceError(Reason.FIELD_INVALID, f"{where}: {first['msg']}") from error
    except (binascii.Error, ValueError) as error:
        raise SemfaceError(Reason.FIELD_INVALID, "embedding or model hash: not as an export writes it") from error
    if vector.shape != (EMBEDDING_SIZE,) or not abs(float(np.linalg.norm(vector)) - 1) <= UNIT_TOLERANCE:
        message = f"embedding: {EMBEDDING_SIZE} float32 of unit length are wanted"
        raise SemfaceError(Reason.DESCRIPTOR_SHAPE, message)
    longest = max(len(text.encode()) for text in (model.name, model.version))
    if not 0 <= model.hash < 1 << 64 or longest > MOST_TEXT_BYTES:
        raise SemfaceError(Reason.FIELD_INVALID, "model: not as an export writes it")
    if told.expires_at is not None and told.expires_at <= time.time():
        raise SemfaceError(Reason.FIELD_INVALID, "expires_at: it is over")
    details = Details(
        told.enrolled_at, told.expires_at, told.samples, told.consent, tuple(told.labels), tuple(told.groups)
    )
    return make_record(told.subject, unit(vector.astype(np.float32)), model, details, protection)


async def _keep(app: Parts, caller: Caller, batch: dict[str, Record], told: answers.Imported) -> None:
    if batch:
        event = AuditEvent("import", caller.key_id)
        created = await app.enrollment.store.put_many(caller.tenant, list(batch.values()), event)
        told.created += sum(created)
        told.replaced += len(created) - sum(created)
        batch.clear()


async def _read_lines(request: Request) -> AsyncIterator[bytes]:
    """Yield the lines of the body as they come. Raises BODY_TOO_LARGE for a line that is too long."""
    rest = b""
    async for chunk in request.stream():
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            yield line
        if len(rest) > MAX_LINE_BYTES:
            raise SemfaceError(Reason.BODY_TOO_LARGE, f"a line is longer than {MAX_LINE_BYTES} bytes")
    yield rest
