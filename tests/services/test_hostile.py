"""Damaged and simultaneous requests: each gets an answer of the table, and its own."""

import asyncio
import io
from collections.abc import Sequence

import grpc
import numpy as np
import pytest
from google.protobuf.message import Message
from PIL import Image

from semface.client import AsyncClient, Client
from semface.messages import LARGEST, pack_descriptors
from semface.v1 import codec_pb2 as codec
from semface.v1 import extraction_pb2 as extraction
from semface.v1 import understanding_pb2 as understanding
from tests.services.stack import photograph

FACES = np.random.default_rng(5).normal(0, 0.5, (64, 257)).astype(np.float32)
NEVER = {grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.UNAVAILABLE}


def small_picture(kind: str) -> bytes:
    buffer = io.BytesIO()
    Image.open(io.BytesIO(photograph("astronaut.png"))).crop((150, 30, 310, 190)).resize((64, 64)).save(buffer, kind)
    return buffer.getvalue()


def good_requests(frame: bytes) -> dict[str, Message]:
    face = understanding.FaceSource(descriptors=pack_descriptors(FACES[0]))
    coded = understanding.FaceSource(bitstream=frame)
    sides = {"probe": understanding.ComparedFace(face=face), "reference": understanding.ComparedFace(face=coded)}
    return {
        "CodecService/Encode": codec.EncodeRequest(faces=[pack_descriptors(row) for row in FACES[:2]], portions=[1, 2]),
        "CodecService/Decode": codec.DecodeRequest(frames=[frame, frame]),
        "ExpressionService/Recognize": understanding.RecognizeRequest(face=coded, model="expression_recognition"),
        "VerificationService/Embed": understanding.EmbedRequest(face=face),
        "VerificationService/Compare": understanding.CompareRequest(**sides, operating_point=1),
        "UnderstandingService/Understand": understanding.UnderstandRequest(faces=[face, coded], tasks=[1, 2]),
        "ExtractionService/Extract": extraction.ExtractRequest(image=small_picture("JPEG")),
    }


def damaged(random: np.random.Generator, data: bytes) -> bytes:
    """Return ``data`` with bytes changed, cut out or put in at random places."""
    changed = bytearray(data)
    for _ in range(random.integers(1, 6)):
        place = int(random.integers(len(changed))) if changed else 0
        match random.integers(4):
            case 0:
                changed[place : place + 1] = random.bytes(1)
            case 1:
                del changed[place : place + int(random.integers(1, 40))]
            case 2:
                changed[place:place] = random.bytes(int(random.integers(1, 20)))
            case _:
                changed[place : place + 4] = np.float32(random.choice([np.nan, np.inf, 3e38, -1e30])).tobytes()
    return bytes(changed)


def codes(channel: grpc.Channel, method: str, messages: Sequence[bytes]) -> set[grpc.StatusCode]:
    """Send each of ``messages`` and return the codes of what came back."""
    call = channel.unary_unary(f"/semface.v1.{method}")
    return {call.future(data, timeout=30).code() for data in messages}


@pytest.mark.parametrize("method", good_requests(b""))
def test_no_damage_to_a_request_meets_a_defect(channel: grpc.Channel, method: str) -> None:
    encode = channel.unary_unary("/semface.v1.CodecService/Encode")
    coded = encode(codec.EncodeRequest(faces=[pack_descriptors(FACES[0])]).SerializeToString())
    frame = codec.EncodeResponse.FromString(coded).frames[0].data
    random = np.random.default_rng(23)
    good = good_requests(frame)[method].SerializeToString()
    met = codes(channel, method, [damaged(random, good) for _ in range(150)])
    assert not met & NEVER
    assert grpc.StatusCode.INVALID_ARGUMENT in met
    assert codes(channel, method, [good]) == {grpc.StatusCode.OK}


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_no_damage_to_a_picture_meets_a_defect(channel: grpc.Channel, kind: str) -> None:
    random, picture = np.random.default_rng(29), small_picture(kind)
    damaged_pictures = [damaged(random, picture) for _ in range(60)]
    requests = [extraction.ExtractRequest(image=data).SerializeToString() for data in damaged_pictures]
    met = codes(channel, "ExtractionService/Extract", requests)
    assert not met & NEVER
    assert grpc.StatusCode.INVALID_ARGUMENT in met


def test_the_largest_numbers_that_are_taken_have_finite_answers(address: str) -> None:
    extreme = LARGEST * np.sign(FACES[0])
    with Client(address) as client:
        assert np.isfinite(client.decode([client.encode(extreme).frames[0].data]).faces[0].descriptors).all()
        (face,) = client.understand([extreme]).faces
    assert sum(face.confidences.values()) == pytest.approx(1, abs=1e-5)
    assert np.linalg.norm(face.embedding.vector) == pytest.approx(1, abs=1e-5)


async def test_simultaneous_calls_get_their_own_answers(address: str) -> None:
    async with AsyncClient(address) as client:
        alone = [(await client.recognize(face)).confidences for face in FACES[:24]]
        frames = [(await client.encode(face)).frames[0].data for face in FACES[:24]]
        together = await asyncio.gather(*(client.recognize(face) for face in FACES[:24]))
        coded = await asyncio.gather(*(client.encode(face) for face in FACES[:24]))
        batch = await client.understand(FACES[:24])
    assert [answer.frames[0].data for answer in coded] == frames
    for single, other, row in zip(alone, together, batch.faces, strict=True):
        assert other.confidences == pytest.approx(single, abs=1e-6)
        assert row.confidences == pytest.approx(single, abs=1e-6)
    assert len({tuple(single.values()) for single in alone}) == 24


async def test_a_bad_call_among_good_ones_harms_none_of_them(address: str) -> None:
    async with AsyncClient(address) as client:
        calls = [client.embed(face) for face in FACES[:12]] + [client.decode([b"damaged"]) for _ in range(12)]
        answers = await asyncio.gather(*calls, return_exceptions=True)
        expected = [(await client.embed(face)).vector for face in FACES[:12]]
    for answer, vector in zip(answers[:12], expected, strict=True):
        assert np.allclose(answer.vector, vector, atol=1e-6)
    assert {str(getattr(answer, "reason", None)) for answer in answers[12:]} == {"Reason.BITSTREAM_CORRUPT"}
