"""What a face comes as over HTTP: a photograph, a bitstream, a 3-D scan, or its numbers as JSON."""

import base64
import binascii
import json
from dataclasses import dataclass
from typing import Any

import numpy as np
from fastapi import Request
from numpy.typing import NDArray
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from semface.descriptors import (
    DESCRIPTOR_SIZE,
    GROUP_SIZES,
    GROUPS,
    PORTION_GROUPS,
    Descriptors,
    Portion,
    validate,
)
from semface.errors import Reason, SemfaceError
from semface.media_types import BITSTREAM_TYPE, PHOTOGRAPH_TYPES, SCAN_TYPES
from semface.messages import require_plausible

JSON_TYPE = "application/json"
MULTIPART_TYPE = "multipart/form-data"


@dataclass(frozen=True, slots=True)
class Photograph:
    """An encoded picture."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Bitstream:
    """A bitstream frame that stands alone."""

    data: bytes


@dataclass(frozen=True, slots=True)
class ScanFile:
    """The file of a 3-D scan."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Described:
    """The numbers (257,) of a face, absent ones 0, and the portions that are there with all their groups."""

    values: Descriptors
    portions: Portion

    def require(self, portions: Portion) -> None:
        """Raise GROUP_ABSENT unless all groups of ``portions`` are there."""
        if portions not in self.portions:
            raise SemfaceError(Reason.GROUP_ABSENT, "groups of a portion that is asked for are absent")


Source = Photograph | Bitstream | ScanFile | Described
Kind = type[Photograph] | type[Bitstream] | type[ScanFile] | type[Described]


async def read_source(request: Request, *kinds: Kind) -> Source:
    """Return what the body of ``request`` holds, which has to be one of ``kinds``.

    Raises ``SemfaceError`` MEDIA_TYPE_UNSUPPORTED for another content type or another type of image in a part,
    FIELD_INVALID or MESSAGE_MALFORMED for a body that is not what its type says, DESCRIPTOR_SHAPE and NOT_FINITE for
    bad numbers.
    """
    media_type = content_type(request)
    source: Source
    if media_type in PHOTOGRAPH_TYPES:
        source = Photograph(await request.body())
    elif media_type == BITSTREAM_TYPE:
        source = Bitstream(await request.body())
    elif media_type in SCAN_TYPES:
        source = ScanFile(await request.body())
    elif media_type == MULTIPART_TYPE:
        source = await _read_multipart(request)
    elif media_type == JSON_TYPE:
        source = _read_json(await request.body())
    else:
        raise _unsupported(kinds)
    if not isinstance(source, kinds):
        raise _unsupported(kinds)
    return source


async def read_faces(request: Request, most: int, most_bytes: int) -> list[Photograph | Bitstream]:
    """Return the photographs and bitstreams of the body, at least one: of a form all files, else the one that it is.

    Raises what ``read_source`` raises, FIELD_INVALID for more than ``most`` files, IMAGE_TOO_LARGE for a file of more
    than ``most_bytes``.
    """
    if content_type(request) != MULTIPART_TYPE:
        source = await read_source(request, Photograph, Bitstream)
        assert isinstance(source, Photograph | Bitstream)
        return [source]
    faces = await _read_files(request, most)
    if any(len(face.data) > most_bytes for face in faces):
        raise SemfaceError(Reason.IMAGE_TOO_LARGE, f"a file is longer than {most_bytes} bytes")
    return faces


def describe_body(*kinds: Kind, several: bool = False) -> dict[str, Any]:
    """Return the OpenAPI request body that ``read_source`` takes with the same ``kinds``, or ``read_faces``."""
    binary = {"schema": {"type": "string", "format": "binary"}}
    content: dict[str, Any] = {}
    parts: dict[str, Any] = {}
    fields: dict[str, Any] = {}
    if Photograph in kinds:
        content |= dict.fromkeys(PHOTOGRAPH_TYPES, binary)
        parts["photograph"] = {"type": "string", "format": "binary"}
    if Bitstream in kinds:
        content[BITSTREAM_TYPE] = binary
        parts["bitstream"] = {"type": "string", "format": "binary"}
        fields["bitstream"] = {"type": "string", "format": "byte", "description": "A bitstream frame in base64."}
    if ScanFile in kinds:
        content |= dict.fromkeys(SCAN_TYPES, binary)
    if Described in kinds:
        fields["descriptors"] = _describe_numbers()
    if several:
        parts = {name: {"type": "array", "items": part} for name, part in parts.items()}
    content[MULTIPART_TYPE] = {"schema": {"type": "object", "properties": parts, "minProperties": 1}}
    if not several:
        content[MULTIPART_TYPE]["schema"]["maxProperties"] = 1
    if fields:
        content[JSON_TYPE] = {"schema": {"type": "object", "properties": fields, "maxProperties": 1}}
    return {"requestBody": {"required": True, "content": content}}


def _describe_numbers() -> dict[str, Any]:
    def vector(size: int) -> dict[str, Any]:
        return {"type": "array", "items": {"type": "number"}, "minItems": size, "maxItems": size}

    groups = {name: vector(size) for name, size in GROUP_SIZES.items()}
    return {
        "description": f"All {DESCRIPTOR_SIZE} numbers, or those of some groups by name.",
        "anyOf": [vector(DESCRIPTOR_SIZE), {"type": "object", "properties": groups}],
    }


def content_type(request: Request) -> str:
    """Return the media type of the body of ``request`` in lower case, without its parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def _read_multipart(request: Request) -> Source:
    return (await _read_files(request, 1))[0]


async def _read_files(request: Request, most: int) -> list[Photograph | Bitstream]:
    parser = MultiPartParser(request.headers, request.stream(), max_files=most, max_fields=0)
    # A photograph is held in memory only; the limit of the body bounds it.
    parser.spool_max_size = 2**62
    try:
        form = await parser.parse()
    except (MultiPartException, KeyError) as error:
        message = (
            f"the multipart body cannot be read; it may hold {most} file{'s' if most > 1 else ''} and nothing else"
        )
        raise SemfaceError(Reason.MESSAGE_MALFORMED, message) from error
    faces: list[Photograph | Bitstream] = []
    try:
        for name, upload in form.multi_items():
            if name not in ("photograph", "bitstream") or not isinstance(upload, UploadFile):
                continue
            if name == "photograph":
                _require_photograph(upload.content_type or "")
                faces.append(Photograph(await upload.read()))
            else:
                faces.append(Bitstream(await upload.read()))
    finally:
        await form.close()
    if not faces:
        raise SemfaceError(Reason.FIELD_INVALID, "send a file in the field 'photograph' or 'bitstream'")
    return faces


def _require_photograph(part_type: str) -> None:
    # Many clients name no type, or only that a part is bytes: then the bytes alone tell.
    media_type = part_type.partition(";")[0].strip().lower()
    if media_type.startswith("image/") and media_type not in PHOTOGRAPH_TYPES:
        raise _unsupported((Photograph,))


def _read_json(body: bytes) -> Source:
    try:
        message = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise SemfaceError(Reason.MESSAGE_MALFORMED, "the body is not valid JSON") from error
    if not isinstance(message, dict) or len(message) != 1 or not message.keys() <= {"bitstream", "descriptors"}:
        raise SemfaceError(Reason.FIELD_INVALID, "send an object with one field, 'bitstream' or 'descriptors'")
    if "descriptors" in message:
        return _read_descriptors(message["descriptors"])
    try:
        return Bitstream(base64.b64decode(message["bitstream"], validate=True))
    except (binascii.Error, TypeError, ValueError) as error:
        raise SemfaceError(Reason.FIELD_INVALID, "bitstream is not valid base64", field="bitstream") from error


def _read_descriptors(numbers: object) -> Described:
    if not isinstance(numbers, dict):
        return Described(_checked(numbers, DESCRIPTOR_SIZE, "descriptors"), Portion.ALL)
    if not numbers or not numbers.keys() <= GROUP_SIZES.keys():
        raise SemfaceError(Reason.FIELD_INVALID, f"groups are: {', '.join(GROUP_SIZES)}", field="descriptors")
    values = np.zeros(DESCRIPTOR_SIZE, dtype=np.float32)
    for name, group in numbers.items():
        values[GROUPS[name]] = _checked(group, GROUP_SIZES[name], f"descriptors.{name}")
    portions = Portion(0)
    for portion, names in PORTION_GROUPS.items():
        if numbers.keys() >= set(names):
            portions |= portion
    return Described(values, portions)


def _checked(values: object, size: int, field: str) -> Descriptors:
    vector = validate(_vector(values, field), size)[0]
    require_plausible(vector, field)
    return vector


def _vector(values: object, field: str) -> NDArray[np.float64]:
    # JSON's true and false would pass as numbers.
    if not isinstance(values, list) or not all(type(value) in (int, float) for value in values):
        raise SemfaceError(Reason.FIELD_INVALID, f"{field} is a list of numbers", field=field)
    try:
        return np.asarray(values, dtype=np.float64)
    except OverflowError as error:
        raise SemfaceError(Reason.NOT_FINITE, f"{field} holds a number that is too large", field=field) from error


def _unsupported(kinds: tuple[Kind, ...]) -> SemfaceError:
    names = {
        Photograph: f"a photograph ({', '.join(PHOTOGRAPH_TYPES)}, or {MULTIPART_TYPE})",
        Bitstream: f"a bitstream ({BITSTREAM_TYPE})",
        ScanFile: f"a scan ({', '.join(SCAN_TYPES)})",
        Described: f"descriptors ({JSON_TYPE})",
    }
    wanted = " or ".join(names[kind] for kind in kinds)
    return SemfaceError(Reason.MEDIA_TYPE_UNSUPPORTED, f"send {wanted}")
