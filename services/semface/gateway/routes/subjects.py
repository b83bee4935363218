"""The enrolled: subjects, and who a face is."""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response

from semface.client import Embedding, Model
from semface.descriptors import Portion
from semface.gateway import answers
from semface.gateway.dependencies import (
    AnswerProvenance,
    AppParts,
    Choice,
    OperatingPointChoice,
    RequestPipeline,
)
from semface.gateway.enrollment import SUBJECT_PATTERN, Enrollment
from semface.gateway.pipeline import Coded, FaceChoice, Pipeline
from semface.gateway.provenance import describe_model
from semface.gateway.sources import Bitstream, Described, Photograph, describe_body, read_source
from semface.gateway.store import Template
from semface.meaning import DEFAULT_OPERATING_POINT, OperatingPoint

router = APIRouter(prefix="/v1", tags=["subjects"])

SubjectId = Annotated[
    str,
    Path(
        pattern=SUBJECT_PATTERN,
        description="1 to 128 letters, digits, dots, dashes, underscores; says nothing of the person.",
    ),
]
FACE_BODY = describe_body(Photograph, Bitstream)


@router.put("/subjects/{subject_id}", openapi_extra=FACE_BODY)
async def enroll(
    request: Request,
    response: Response,
    subject_id: SubjectId,
    app: AppParts,
    pipeline: RequestPipeline,
    provenance: AnswerProvenance,
    face: Choice = FaceChoice.ONLY,
) -> answers.Enrolled:
    """Enrol a face as a subject, in place of any enrolled before. Only its embedding is kept."""
    embedding = await _embed(pipeline, await _identity(request, pipeline, face))
    with provenance.stage("store"):
        template, created = await app.enrollment.enroll(subject_id, embedding)
    response.status_code = HTTPStatus.CREATED if created else HTTPStatus.OK
    return answers.Enrolled(
        **_subject(subject_id, template).model_dump(),
        created=created,
        models=provenance.models,
        milliseconds=provenance.milliseconds,
    )


@router.get("/subjects/{subject_id}")
async def show(subject_id: SubjectId, app: AppParts) -> answers.Subject:
    """Tell when a subject was enrolled and by which model."""
    return _subject(subject_id, await app.enrollment.template(subject_id))


@router.delete("/subjects/{subject_id}", status_code=HTTPStatus.NO_CONTENT)
async def forget(subject_id: SubjectId, app: AppParts) -> None:
    """Erase a subject."""
    await app.enrollment.forget(subject_id)


@router.post("/subjects/{subject_id}/verify", openapi_extra=FACE_BODY)
async def verify(
    request: Request,
    subject_id: SubjectId,
    app: AppParts,
    pipeline: RequestPipeline,
    provenance: AnswerProvenance,
    face: Choice = FaceChoice.ONLY,
    operating_point: OperatingPointChoice = DEFAULT_OPERATING_POINT,
) -> answers.Verified:
    """Tell whether a face is the subject's. There is no liveness detection."""
    with provenance.stage("store"):
        template = await app.enrollment.template(subject_id)
    coded = await _identity(request, pipeline, face)
    with provenance.stage("verify"):
        comparison = await app.enrollment.verify(template, coded.frame, coded.codec_hash, operating_point)
    provenance.made_by([comparison.model])
    return answers.Verified(
        subject=subject_id,
        matched=comparison.matched,
        score=comparison.score,
        threshold=comparison.threshold,
        operating_point=operating_point,
        models=provenance.models,
        milliseconds=provenance.milliseconds,
    )


@router.post("/identify", openapi_extra=FACE_BODY)
async def identify(
    request: Request,
    app: AppParts,
    pipeline: RequestPipeline,
    provenance: AnswerProvenance,
    face: Choice = FaceChoice.ONLY,
    operating_point: OperatingPointChoice = DEFAULT_OPERATING_POINT,
    top: Annotated[int, Query(ge=1, le=100, description="How many candidates at most.")] = 5,
) -> answers.Identified:
    """Tell which enrolled subjects a face may be: those that reach the threshold, best first."""
    embedding = await _embed(pipeline, await _identity(request, pipeline, face))
    with provenance.stage("identify"):
        (who,) = await identify_faces(app.enrollment, [embedding], operating_point, top)
    return answers.Identified(**who.model_dump(), models=provenance.models, milliseconds=provenance.milliseconds)


async def identify_faces(
    enrollment: Enrollment, embeddings: Sequence[Embedding], operating_point: OperatingPoint, top: int
) -> list[answers.Who]:
    """Return for each face, all embedded by one model, the enrolled subjects that reach the threshold."""
    return [
        answers.Who(
            candidates=[answers.Candidate(subject=match.subject, score=match.score) for match in found.matches],
            threshold=found.threshold,
            operating_point=operating_point,
            compared=found.compared,
        )
        for found in await enrollment.identify(embeddings, operating_point, top)
    ]


async def _identity(request: Request, pipeline: Pipeline, choice: FaceChoice) -> Coded:
    """Return the frame of the face sent; of a photograph it carries identity only, since nothing else is asked."""
    source = await read_source(request, Photograph, Bitstream)
    assert not isinstance(source, Described)
    return await pipeline.coded(source, choice, Portion.IDENTITY)


async def _embed(pipeline: Pipeline, coded: Coded) -> Embedding:
    embedding = (await pipeline.understand([coded], ["embedding"]))[0].embedding
    assert embedding is not None, "the task was asked for"
    return embedding


def _subject(subject_id: str, template: Template) -> answers.Subject:
    model = Model(template.model, template.version, template.hash)
    return answers.Subject(subject=subject_id, model=describe_model(model), enrolled_at=template.enrolled_at)
