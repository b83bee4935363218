"""Who a face is: verify it against one subject, or identify it among all."""

import asyncio
from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request

from semface.access.callers import Caller, Scope
from semface.client import Embedding
from semface.descriptors import Portion
from semface.errors import Reason, SemfaceError
from semface.gateway import answers
from semface.gateway.dependencies import (
    Choice,
    OperatingPointChoice,
    Parts,
    parts,
)
from semface.gateway.enrolled.record import Record
from semface.gateway.enrollment import Enrollment
from semface.gateway.pipeline import Coded, FaceChoice, Pipeline
from semface.gateway.routes.subjects import SubjectId
from semface.gateway.security import admitted
from semface.gateway.sources import Bitstream, Photograph, describe_body, read_faces, read_source
from semface.meaning import DEFAULT_OPERATING_POINT, OperatingPoint

router = APIRouter(prefix="/v1", tags=["matching"])

COMPARED_FACES = 2
FACE_BODY = describe_body(Photograph, Bitstream)


@router.post("/subjects/{subject_id}/verify", openapi_extra=FACE_BODY)
async def verify(
    request: Request,
    subject_id: SubjectId,
    caller: Annotated[Caller, Depends(admitted(Scope.VERIFY))],
    face: Choice = FaceChoice.ONLY,
    operating_point: OperatingPointChoice = DEFAULT_OPERATING_POINT,
) -> answers.Verified:
    """Tell whether a face is the subject's. There is no liveness detection."""
    app = parts(request)
    pipeline = app.pipeline()
    source = await _read_face(request)
    if isinstance(source, Bitstream):
        record, embedding = await _begin_and_embed(app, caller, subject_id, pipeline, Coded(source.data))
    else:
        with pipeline.provenance.stage("store"):
            record = await app.enrollment.begin_verification(caller, subject_id)
        (embedding,) = await pipeline.embed([await pipeline.coded(source, face, Portion.IDENTITY)])
    with pipeline.provenance.stage("verify"):
        found = await app.enrollment.verify(caller, record, embedding, operating_point)
    return answers.Verified(
        subject=subject_id,
        matched=found.matched,
        score=found.score,
        threshold=found.threshold,
        operating_point=operating_point,
        models=pipeline.provenance.models,
        milliseconds=pipeline.provenance.milliseconds,
    )


@router.post("/compare", openapi_extra=describe_body(Photograph, Bitstream, several=True))
async def compare(
    request: Request,
    caller: Annotated[Caller, Depends(admitted(Scope.FACES))],
    face: Choice = FaceChoice.ONLY,
    operating_point: OperatingPointChoice = DEFAULT_OPERATING_POINT,
) -> answers.Compared:
    """Tell whether two faces, the two files of a form, are one person. Nothing is kept."""
    app = parts(request)
    pipeline = app.pipeline()
    faces = await read_faces(request, COMPARED_FACES, app.settings.http_max_image_bytes)
    if len(faces) != COMPARED_FACES:
        raise SemfaceError(Reason.FIELD_INVALID, "send two files in a form, one for each face")
    one, other = [await pipeline.coded(source, face, Portion.IDENTITY) for source in faces]
    found = await pipeline.compare(one, other, operating_point)
    return answers.Compared(
        matched=found.matched,
        score=found.score,
        threshold=found.threshold,
        operating_point=operating_point,
        models=pipeline.provenance.models,
        milliseconds=pipeline.provenance.milliseconds,
    )


@router.post("/identify", openapi_extra=FACE_BODY)
async def identify(
    request: Request,
    caller: Annotated[Caller, Depends(admitted(Scope.IDENTIFY))],
    face: Choice = FaceChoice.ONLY,
    operating_point: OperatingPointChoice = DEFAULT_OPERATING_POINT,
    top: Annotated[int, Query(ge=1, le=100, description="How many candidates at most.")] = 5,
    group: Annotated[answers.GroupName | None, Query(description="Only among the subjects of this group.")] = None,
) -> answers.Identified:
    """Tell which enrolled subjects a face may be: those that reach the threshold, best first."""
    app = parts(request)
    pipeline = app.pipeline()
    coded = await pipeline.coded(await _read_face(request), face, Portion.IDENTITY)
    embeddings = await pipeline.embed([coded])
    with pipeline.provenance.stage("identify"):
        (who,) = await identify_faces(app.enrollment, caller, embeddings, operating_point, top, group)
    return answers.Identified(
        **who.model_dump(), models=pipeline.provenance.models, milliseconds=pipeline.provenance.milliseconds
    )


async def identify_faces(
    enrollment: Enrollment,
    caller: Caller,
    embeddings: Sequence[Embedding],
    operating_point: OperatingPoint,
    top: int,
    group: str | None = None,
) -> list[answers.Who]:
    """Return for each face, all embedded by one model, the enrolled subjects that reach the threshold."""
    found, threshold = await enrollment.identify(caller, embeddings, operating_point, top, group)
    return [
        answers.Who(
            candidates=[answers.Candidate(subject=subject, score=score) for subject, score in one.matches],
            threshold=threshold,
            operating_point=operating_point,
            compared=one.compared,
        )
        for one in found
    ]


async def _read_face(request: Request) -> Photograph | Bitstream:
    source = await read_source(request, Photograph, Bitstream)
    assert isinstance(source, Photograph | Bitstream)
    return source


async def _begin_and_embed(
    app: Parts, caller: Caller, subject: str, pipeline: Pipeline, coded: Coded
) -> tuple[Record, Embedding]:
    """Read the record and embed the face at once; of two failures the store's is told."""
    embedding = asyncio.create_task(pipeline.embed([coded]))
    try:
        record = await app.enrollment.begin_verification(caller, subject)
    except BaseException:
        embedding.cancel()
        # It is over before the request is, and what it may have failed of is not asked for.
        await asyncio.gather(embedding, return_exceptions=True)
        raise
    return record, (await embedding)[0]
