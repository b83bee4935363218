"""Photographs in: what they hold, and their bitstream."""

import base64
from typing import Annotated

import numpy as np
from fastapi import APIRouter, Depends, Query, Request, Response

from semface.access.callers import Caller, Scope
from semface.client import Encoding, Face, Frame, UnderstoodFace
from semface.descriptors import Portion
from semface.gateway import answers
from semface.gateway.dependencies import (
    Choice,
    OperatingPointChoice,
    PortionNames,
    Quality,
    TargetBits,
    choose_media_type,
    parts,
    read_portions,
    read_quality,
)
from semface.gateway.pipeline import Coded, FaceChoice, Pipeline, choose
from semface.gateway.routes.matching import identify_faces
from semface.gateway.security import admitted
from semface.gateway.sources import Described, Photograph, describe_body, read_source
from semface.meaning import DEFAULT_OPERATING_POINT
from semface.media_types import BITSTREAM_TYPE

router = APIRouter(prefix="/v1", tags=["photographs"])

TASK_PORTIONS = {"expression": Portion.EXPRESSION, "embedding": Portion.IDENTITY}
WHO_TOP = 5


@router.post("/analyze", openapi_extra=describe_body(Photograph))
async def analyze(
    request: Request,
    caller: Annotated[Caller, Depends(admitted(Scope.FACES))],
    quality: Quality = None,
    bits: TargetBits = None,
    portion: PortionNames = None,
    who: Annotated[bool, Query(description="Also look each face up among the enrolled.")] = False,
    numbers: Annotated[
        bool, Query(alias="descriptors", description="Also tell the numbers of each face before they were coded.")
    ] = False,
    operating_point: OperatingPointChoice = DEFAULT_OPERATING_POINT,
) -> answers.Analysis:
    """Find the faces of a photograph, code each, and say what its decoded numbers tell."""
    app = parts(request)
    pipeline = app.pipeline()
    if who:
        caller.require(Scope.IDENTIFY)
    photograph = await _read_photograph(request)
    extraction = await pipeline.extract(photograph)
    portions = read_portions(portion)
    descriptors = np.stack([face.descriptors for face in extraction.faces])
    coding = await pipeline.encode(descriptors, read_quality(quality, bits), portions, bits)
    tasks = [task for task, needed in TASK_PORTIONS.items() if needed in portions and (task != "embedding" or who)]
    understood = await _understand(pipeline, coding, tasks)
    embeddings = {
        face.id: meaning.embedding
        for face, meaning in zip(extraction.faces, understood, strict=True)
        if meaning.embedding is not None and face.quality >= extraction.minimum_quality
    }
    found: dict[int, answers.Who] = {}
    if embeddings:
        with pipeline.provenance.stage("identify"):
            who_is = await identify_faces(app.enrollment, caller, list(embeddings.values()), operating_point, WHO_TOP)
        found = dict(zip(embeddings, who_is, strict=True))
    faces = [
        _analyzed(face, frame, meaning, found.get(face.id), descriptors=numbers)
        for face, frame, meaning in zip(extraction.faces, coding.frames, understood, strict=True)
    ]
    return answers.Analysis(
        width=extraction.width,
        height=extraction.height,
        bytes=len(photograph.data),
        faces=faces,
        minimum_quality=extraction.minimum_quality,
        models=pipeline.provenance.models,
        milliseconds=pipeline.provenance.milliseconds,
    )


@router.post(
    "/encode",
    dependencies=[Depends(admitted(Scope.FACES))],
    openapi_extra=describe_body(Photograph, Described),
    response_class=Response,
    responses={200: {"content": {BITSTREAM_TYPE: {}}, "description": "The bitstream frame of the face."}},
)
async def encode(
    request: Request,
    quality: Quality = None,
    bits: TargetBits = None,
    portion: PortionNames = None,
    face: Choice = FaceChoice.ONLY,
) -> Response:
    """Code the one face of a photograph, or the numbers sent, into a bitstream frame.

    Models and times are in the headers.
    """
    pipeline = parts(request).pipeline()
    choose_media_type(request, BITSTREAM_TYPE)
    portions = read_portions(portion)
    source = await read_source(request, Photograph, Described)
    if isinstance(source, Described):
        source.require(portions)
        values = source.values
    else:
        assert isinstance(source, Photograph)
        values = choose((await pipeline.extract(source)).good_faces, face).descriptors
    coding = await pipeline.encode(values, read_quality(quality, bits), portions, bits)
    return Response(coding.frames[0].data, media_type=BITSTREAM_TYPE, headers=pipeline.provenance.headers)


async def _read_photograph(request: Request) -> Photograph:
    source = await read_source(request, Photograph)
    assert isinstance(source, Photograph)
    return source


async def _understand(pipeline: Pipeline, coding: Encoding, tasks: list[str]) -> list[UnderstoodFace]:
    if not tasks:
        return [UnderstoodFace(None, None, None)] * len(coding.frames)
    return await pipeline.understand([Coded(frame.data, coding.model.hash) for frame in coding.frames], tasks)


def _analyzed(
    face: Face, frame: Frame, meaning: UnderstoodFace, who: answers.Who | None, *, descriptors: bool
) -> answers.AnalyzedFace:
    x0, y0, x1, y1 = face.box.tolist()
    left, top, side = face.square.tolist()
    return answers.AnalyzedFace(
        id=face.id,
        box=answers.Box(x0=x0, y0=y0, x1=x1, y1=y1),
        square=answers.FaceSquare(x0=left, y0=top, side=side),
        landmarks=face.landmarks.tolist(),
        confidence=face.confidence,
        quality=face.quality,
        bits=answers.describe_bits(frame),
        bitstream=base64.b64encode(frame.data).decode(),
        descriptors=face.descriptors.tolist() if descriptors else None,
        expression=answers.expression(meaning),
        who=who,
    )
