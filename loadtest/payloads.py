"""What is sent: one photograph in a few variants, and what the system under test itself made of it."""

import io
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from PIL import Image, ImageEnhance

from semface.v1 import codec_pb2, codec_pb2_grpc, descriptors_pb2, extraction_pb2, extraction_pb2_grpc

VARIANTS: Final = (1.0, 0.94, 1.06, 0.98)
"""Brightness of each: no two pictures are the same bytes, all show the same face."""

LONGEST_SIDE: Final = 640
FRAMES: Final = 25
"""Frames of a talking face in one session."""


@dataclass(frozen=True, slots=True)
class Payloads:
    """The photographs (JPEG), the numbers of the face, its bitstream, and a session of the same face."""

    photographs: tuple[bytes, ...]
    face: descriptors_pb2.Descriptors
    bitstream: bytes
    session: tuple[bytes, ...]


def photographs(path: str) -> tuple[bytes, ...]:
    """Return the picture at ``path``, or the portrait of scikit-image, as JPEG in each variant."""
    picture = Image.open(path or _portrait()).convert("RGB")
    picture.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
    files = []
    for brightness in VARIANTS:
        file = io.BytesIO()
        ImageEnhance.Brightness(picture).enhance(brightness).save(file, "JPEG", quality=90)
        files.append(file.getvalue())
    return tuple(files)


def prepare(channel: object, path: str) -> Payloads:
    """Return what to send, made by the system behind ``channel``, once in each process.

    Raises grpc.RpcError where the system cannot be reached or the photograph at ``path`` shows no face.
    """
    return _prepared(channel, path)


@cache
def _prepared(channel: object, path: str) -> Payloads:
    pictures = photographs(path)
    extract = extraction_pb2_grpc.ExtractionServiceStub(channel).Extract
    found = extract(extraction_pb2.ExtractRequest(image=pictures[0]), timeout=60)
    face = max(found.faces, key=lambda item: item.quality).descriptors
    codec = codec_pb2_grpc.CodecServiceStub(channel)
    coded = codec.Encode(codec_pb2.EncodeRequest(faces=[face]), timeout=60)
    frames = codec.EncodeStream((codec_pb2.EncodeStreamRequest(face=face) for _ in range(FRAMES)), timeout=60)
    return Payloads(pictures, face, coded.frames[0].data, tuple(answer.frame.data for answer in frames))


def _portrait() -> Path:
    package = find_spec("skimage")
    if package is None or package.origin is None:
        raise SystemExit("loadtest: name a photograph of one face with --photograph FILE")
    return Path(package.origin).parent / "data" / "astronaut.png"
