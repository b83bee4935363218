"""The enrolled: enrol a subject, show, list, change and erase."""

from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Path, Query, Request, Response

from semface.access.callers import Caller, Scope
from semface.descriptors import Portion
from semface.errors import Reason, SemfaceError
from semface.gateway import answers
from semface.gateway.dependencies import Choice, Parts, parts
from semface.gateway.enrolled.record import Record
from semface.gateway.enrolled.requests import REQUEST_ID_PATTERN
from semface.gateway.enrolled.requests import Request as IdentifiedRequest
from semface.gateway.enrollment import SUBJECT_PATTERN, Description
from semface.gateway.pipeline import FaceChoice
from semface.gateway.provenance import describe_model
from semface.gateway.security import admitted
from semface.gateway.sources import Bitstream, Photograph, describe_body, read_faces

router = APIRouter(prefix="/v1", tags=["subjects"])

SubjectId = Annotated[
    str,
    Path(
        pattern=SUBJECT_PATTERN,
        description="1 to 128 letters, digits, dots, dashes, underscores; says nothing of the person.",
    ),
]
RequestId = Annotated[
    str | None,
    Header(
        alias="Request-Id",
        pattern=REQUEST_ID_PATTERN,
        description="A request sent again under its id within a day is answered as before, not done again.",
    ),
]


@router.put("/subjects/{subject_id}", openapi_extra=describe_body(Photograph, Bitstream, several=True))
async def enroll(
    request: Request,
    response: Response,
    subject_id: SubjectId,
    caller: Annotated[Caller, Depends(admitted(Scope.ENROLL))],
    face: Choice = FaceChoice.ONLY,
    consent: Annotated[answers.Reference | None, Query(description="Where the consent is recorded.")] = None,
    label: Annotated[list[answers.Reference] | None, Query(max_length=answers.MAX_WORDS)] = None,
    group: Annotated[list[answers.GroupName] | None, Query(max_length=answers.MAX_WORDS)] = None,
    expires_in_seconds: Annotated[float | None, Query(gt=0, le=answers.MAX_LIFE_SECONDS)] = None,
    request_id: RequestId = None,
) -> answers.Enrolled:
    """Enrol a face as a subject, in place of any enrolled before, from one or several photographs or bitstreams.

    Only its embedding is kept. Several faces have to be of one person.
    """
    app = parts(request)
    pipeline = app.pipeline()
    settings = app.settings
    faces = await read_faces(request, settings.enroll_max_faces, settings.http_max_image_bytes)
    identified = _identified(app, caller, request, request_id, b"".join(one.data for one in faces))
    if identified is not None and (known := await identified.answered()) is not None:
        record, created = await app.enrollment.subject(caller, subject_id), bool(known["created"])
    else:
        coded = [await pipeline.coded(one, face, Portion.IDENTITY, settings.enroll_minimum_quality) for one in faces]
        hashes = {one.codec_hash for one in coded}
        batches = [[one for one in coded if one.codec_hash == found] for found in sorted(hashes)]
        embeddings = [embedding for batch in batches for embedding in await pipeline.embed(batch)]
        told = Description(consent, tuple(label or ()), tuple(group or ()), expires_in_seconds)
        with pipeline.provenance.stage("store"):
            record, created = await app.enrollment.enroll(caller, subject_id, embeddings, told)
            if identified is not None:
                await identified.done({"created": created})
    response.status_code = HTTPStatus.CREATED if created else HTTPStatus.OK
    told_subject = describe_subject(record).model_dump()
    return answers.Enrolled(
        **told_subject,
        created=created,
        models=pipeline.provenance.models,
        milliseconds=pipeline.provenance.milliseconds,
    )


@router.get("/subjects")
async def list_subjects(
    request: Request,
    caller: Annotated[Caller, Depends(admitted(Scope.READ))],
    after: Annotated[str | None, Query(pattern=r"^[0-9a-f]{32}$", description="Where the page before ended.")] = None,
    limit: Annotated[int, Query(ge=1, le=1000, description="How many subjects at most.")] = 100,
) -> answers.SubjectPage:
    """List the enrolled by page."""
    app = parts(request)
    records, end = await app.enrollment.store.page(caller.tenant, bytes.fromhex(after or ""), limit)
    return answers.SubjectPage(
        subjects=[describe_subject(record) for record in records], after=end.hex() if end else None
    )


@router.get("/subjects/{subject_id}")
async def show(
    request: Request, subject_id: SubjectId, caller: Annotated[Caller, Depends(admitted(Scope.READ))]
) -> answers.Subject:
    """Tell when a subject was enrolled, by which model, and what was noted."""
    app = parts(request)
    return describe_subject(await app.enrollment.subject(caller, subject_id))


@router.patch("/subjects/{subject_id}")
async def update(
    request: Request,
    subject_id: SubjectId,
    change: answers.SubjectChange,
    caller: Annotated[Caller, Depends(admitted(Scope.ENROLL))],
) -> answers.Subject:
    """Change what is noted of a subject; its template stays."""
    app = parts(request)
    given = change.model_fields_set
    for name in ("labels", "groups"):
        if name in given and getattr(change, name) is None:
            raise SemfaceError(Reason.FIELD_INVALID, f"{name}: send a list, an empty one to empty it", field=name)
    told = Description(
        change.consent,
        None if change.labels is None else tuple(change.labels),
        None if change.groups is None else tuple(change.groups),
        change.expires_in_seconds,
        frozenset(name for name in given if getattr(change, name) is None),
    )
    return describe_subject(await app.enrollment.update(caller, subject_id, told))


@router.delete("/subjects/{subject_id}", status_code=HTTPStatus.NO_CONTENT)
async def forget(
    request: Request, subject_id: SubjectId, caller: Annotated[Caller, Depends(admitted(Scope.ENROLL))]
) -> None:
    """Erase a subject."""
    app = parts(request)
    await app.enrollment.forget(caller, subject_id)


def describe_subject(record: Record) -> answers.Subject:
    """Return ``record`` as it is told: all but the template."""
    details = record.details
    return answers.Subject(
        subject=record.subject,
        model=describe_model(record.model),
        enrolled_at=details.enrolled_at,
        expires_at=details.expires_at,
        samples=details.samples,
        consent=details.consent,
        labels=list(details.labels),
        groups=list(details.groups),
    )


def _identified(
    app: Parts, caller: Caller, request: Request, request_id: str | None, body: bytes
) -> IdentifiedRequest | None:
    if request_id is None:
        return None
    said: Any = f"{request.method} {request.url.path}?{request.url.query}\0".encode()
    return IdentifiedRequest.of(app.enrollment.store, caller.tenant, request_id, said + body)
