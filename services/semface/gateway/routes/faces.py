"""Faces in any form: their numbers, their expression, their picture."""

import asyncio
import io
from collections.abc import Sequence
from typing import Annotated

import numpy as np
from fastapi import APIRouter, Depends, Query, Request, Response
from numpy.typing import NDArray
from PIL import Image

from semface.access.callers import Scope
from semface.descriptors import GROUPS, PORTION_GROUPS, Descriptors, portion_names
from semface.errors import Reason, SemfaceError
from semface.gateway import answers
from semface.gateway.dependencies import (
    Choice,
    choose_media_type,
    parts,
)
from semface.gateway.pipeline import Coded, FaceChoice, Pipeline
from semface.gateway.security import admitted
from semface.gateway.sources import Bitstream, Described, Photograph, ScanFile, Source, describe_body, read_source
from semface.media_types import GLB_TYPE, SCAN_TYPES
from semface.morphable import render as render_face
from semface.morphable.blendshapes import arkit_expressions, decoded_weights
from semface.morphable.gltf import head_glb
from semface.recognisers import DEFAULT_RECOGNISER, RECOGNISERS, Recogniser, Seen, find_recogniser

router = APIRouter(prefix="/v1", tags=["faces"], dependencies=[Depends(admitted(Scope.FACES))])

PNG_TYPE = "image/png"


@router.post("/decode", openapi_extra=describe_body(Bitstream))
async def decode(
    request: Request,
    blendshapes: Annotated[bool, Query(description="Also tell ARKit's 52 weights of the expression.")] = False,
) -> answers.Decoded:
    """Decode a bitstream frame into the numbers of the face."""
    pipeline = parts(request).pipeline()
    source = await read_source(request, Bitstream)
    assert isinstance(source, Bitstream)
    face = await pipeline.decode(Coded(source.data))
    names = [name for portion in face.portions for name in PORTION_GROUPS[portion]]
    return answers.Decoded(
        descriptors={name: face.descriptors[GROUPS[name]].tolist() for name in names},
        portions=portion_names(face.portions),
        quality=face.quality_name,
        blendshapes=decoded_weights(face.descriptors, face.portions) if blendshapes else None,
        models=pipeline.provenance.models,
        milliseconds=pipeline.provenance.milliseconds,
    )


@router.get("/blendshapes")
async def blendshapes() -> answers.Blendshapes:
    """Tell by ARKit's 52 names the 64 expression numbers that a weight of 1 asks for; weights between are linear."""
    return answers.Blendshapes(expressions=arkit_expressions())


@router.post("/expression", openapi_extra=describe_body(Photograph, Bitstream, ScanFile, Described))
async def expression(
    request: Request,
    model: Annotated[
        str,
        Query(
            description=f"What recognises: {', '.join(RECOGNISERS)}. The first is the default and reads what travels; "
            "dan and slfer look at the pixels of a photograph, amdfn at a 3-D scan.",
            examples=["dan"],
        ),
    ] = DEFAULT_RECOGNISER.name,
) -> answers.Recognized:
    """Recognise the expression: of each face of a photograph (from its decoded numbers), or of the face sent.

    A model that looks at pixels takes a photograph alone, and sees it as it is, not coded; one that looks at scans
    takes a scan, a file of triangles that shows one face.
    """
    recogniser = find_recogniser(model)
    pipeline = parts(request).pipeline()
    source = await read_source(request, Photograph, Bitstream, ScanFile, Described)
    if recogniser.sees is Seen.CROP:
        return await _recognized_by_pixels(pipeline, recogniser, source)
    if recogniser.sees is Seen.ATTRIBUTE_IMAGES:
        return await _recognized_by_scan(pipeline, recogniser, source)
    if isinstance(source, ScanFile):
        raise SemfaceError(Reason.FIELD_INVALID, f"{recogniser.name} looks at no scan; ask amdfn", field="model")
    if isinstance(source, Described):
        understood = [await pipeline.understand_described(source, ["expression"])]
    elif isinstance(source, Bitstream):
        understood = await pipeline.understand([Coded(source.data)], ["expression"])
    else:
        extraction = await pipeline.extract(source)
        coding = await pipeline.encode(np.stack([face.descriptors for face in extraction.good_faces]))
        coded = [Coded(frame.data, coding.model.hash) for frame in coding.frames]
        understood = await pipeline.understand(coded, ["expression"])
    faces = [told for told in map(answers.expression, understood) if told is not None]
    return answers.Recognized(
        faces=faces, models=pipeline.provenance.models, milliseconds=pipeline.provenance.milliseconds
    )


async def _recognized_by_pixels(pipeline: Pipeline, recogniser: Recogniser, source: Source) -> answers.Recognized:
    if not isinstance(source, Photograph):
        message = f"{recogniser.name} looks at pixels; send a photograph, or ask {DEFAULT_RECOGNISER.name}"
        raise SemfaceError(Reason.FIELD_INVALID, message, field="model")
    good = (await pipeline.extract(source, with_crops=True)).good_faces
    crops = [face.crop for face in good if face.crop is not None]
    return await _recognized_views(pipeline, recogniser, crops)


async def _recognized_by_scan(pipeline: Pipeline, recogniser: Recogniser, source: Source) -> answers.Recognized:
    if not isinstance(source, ScanFile):
        message = f"{recogniser.name} looks at a 3-D scan; send one ({', '.join(SCAN_TYPES)})"
        raise SemfaceError(Reason.FIELD_INVALID, message, field="model")
    return await _recognized_views(pipeline, recogniser, [(await pipeline.read_scan(source)).attribute_images])


async def _recognized_views(
    pipeline: Pipeline, recogniser: Recogniser, views: Sequence[NDArray[np.generic]]
) -> answers.Recognized:
    told = await pipeline.recognize_views(recogniser, views)
    return answers.Recognized(
        faces=[
            answers.Expression.model_validate({"leading": face.leading, "confidences": face.confidences})
            for face in told
        ],
        models=pipeline.provenance.models,
        milliseconds=pipeline.provenance.milliseconds,
    )


@router.post(
    "/render",
    openapi_extra=describe_body(Photograph, Bitstream, Described),
    response_class=Response,
    responses={200: {"content": {PNG_TYPE: {}, GLB_TYPE: {}}, "description": "The drawn face, or its mesh."}},
)
async def render(
    request: Request,
    face: Choice = FaceChoice.ONLY,
    size: Annotated[int, Query(ge=32, le=1024, description="Side of the picture, in pixels.")] = 256,
    morph_targets: Annotated[
        bool, Query(description="Of the mesh: the neutral head, with the 64 directions of expression as morph targets.")
    ] = False,
) -> Response:
    """Draw a face as a receiver would: of a photograph its decoded numbers. An absent portion is drawn as the mean.

    By the Accept header it is a PNG, or the mesh as glTF.
    """
    pipeline = parts(request).pipeline()
    media_type = choose_media_type(request, PNG_TYPE, GLB_TYPE)
    source = await read_source(request, Photograph, Bitstream, Described)
    if isinstance(source, Described):
        values = source.values
    else:
        assert not isinstance(source, ScanFile)
        values = (await pipeline.decode(await pipeline.coded(source, face))).descriptors
    with pipeline.provenance.stage("render"):
        if media_type == GLB_TYPE:
            made = await asyncio.to_thread(head_glb, values, morph_targets=morph_targets)
        else:
            made = await asyncio.to_thread(draw_png, values, size)
    return Response(made, media_type=media_type, headers=pipeline.provenance.headers)


def draw_png(values: Descriptors, size: int) -> bytes:
    """Return the face of ``values`` (257,) as a PNG of ``size`` × ``size`` pixels."""
    file = io.BytesIO()
    Image.fromarray(render_face(values, size)).save(file, "PNG")
    return file.getvalue()
