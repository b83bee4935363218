"""Every row of the error table that the services can meet, over a real channel; the next request succeeds each time."""

import io
import resource
import struct
import time
import zlib
from collections.abc import Callable

import grpc
import numpy as np
import pytest
from google.protobuf.message import Message
from PIL import Image

from semface.errors import Reason
from semface.messages import pack_vector
from semface.v1 import codec_pb2 as codec
from semface.v1 import descriptors_pb2 as shared
from semface.v1 import extraction_pb2 as extraction
from semface.v1 import extraction_pb2_grpc as extraction_grpc
from semface.v1 import understanding_pb2 as understanding
from tests.services.calling import (
    COMPARE,
    DECODE,
    EMBED,
    ENCODE,
    EXTRACT,
    RECOGNIZE,
    UNDERSTAND,
    WHOLE,
    Caller,
    Refusal,
    described,
)
from tests.services.stack import photograph

UNARY_METHODS = [
    (service.full_name, method.name)
    for module in (extraction, codec, understanding)
    for service in module.DESCRIPTOR.services_by_name.values()
    for method in service.methods
    if not method.client_streaming
]
NAN = struct.pack("<f", float("nan"))


@pytest.fixture
def caller(channel: grpc.Channel) -> Caller:
    """Who calls the services."""
    return Caller(channel)


def changed(**groups: bytes) -> shared.Descriptors:
    """A whole face with other bytes in some groups."""
    face = shared.Descriptors()
    face.CopyFrom(WHOLE)
    for name, data in groups.items():
        setattr(face, name, data)
    return face


def truncated_jpeg() -> bytes:
    buffer = io.BytesIO()
    Image.open(io.BytesIO(photograph("astronaut.png"))).save(buffer, "JPEG")
    return buffer.getvalue()[: len(buffer.getvalue()) // 2]


def bomb(side: int) -> bytes:
    """A PNG of ``side`` × ``side`` black pixels, one bit each."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    packer = zlib.compressobj(9)
    row = bytes(1 + side // 8)
    pixels = b"".join(packer.compress(row) for _ in range(side)) + packer.flush()
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


BAD_IMAGES: dict[str, tuple[Callable[[], bytes], Reason]] = {
    "no image": (lambda: b"not an image", Reason.IMAGE_UNDECODABLE),
    "no bytes": (lambda: b"", Reason.IMAGE_UNDECODABLE),
    "a truncated JPEG": (truncated_jpeg, Reason.IMAGE_UNDECODABLE),
    "more bytes than are taken": (lambda: photograph("astronaut.png") + bytes(10_000_000), Reason.IMAGE_TOO_LARGE),
    "a photograph without a face": (lambda: photograph("coffee.png"), Reason.NO_FACE),
}


@pytest.mark.parametrize("name", BAD_IMAGES)
def test_a_picture_that_cannot_be_described_is_refused(caller: Caller, name: str) -> None:
    make, reason = BAD_IMAGES[name]
    refused = caller.refusal(*EXTRACT, extraction.ExtractRequest(image=make()))
    assert (refused.code.name, refused.reason) == (reason.answer.code, reason.name)
    caller.succeeds()


# Pillow refuses the larger one by itself; the smaller one is above our own limit only.
@pytest.mark.parametrize("side", [20_000, 8_000])
def test_a_small_file_of_many_pixels_is_refused_before_it_is_decoded(caller: Caller, side: int) -> None:
    image = bomb(side)
    assert len(image) < 60_000
    caller.succeeds()
    memory, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
    refused = caller.refusal(*EXTRACT, extraction.ExtractRequest(image=image))
    assert time.perf_counter() - started < 1
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory < 40_000, (
        "kilobytes; decoded it has 64,000 or more"
    )
    assert (refused.code.name, refused.reason) == ("INVALID_ARGUMENT", "IMAGE_TOO_LARGE")
    caller.succeeds()


BAD_FACES: dict[str, tuple[shared.Descriptors, Reason, str]] = {
    "256 numbers": (changed(illumination=bytes(4 * 26)), Reason.DESCRIPTOR_SHAPE, ".illumination"),
    "258 numbers": (changed(shape=bytes(4 * 81)), Reason.DESCRIPTOR_SHAPE, ".shape"),
    "NaN": (changed(expression=bytes(4 * 63) + NAN), Reason.NOT_FINITE, ".expression"),
    "infinity": (changed(rotation=struct.pack("<3f", 0, float("inf"), 0)), Reason.NOT_FINITE, ".rotation"),
    "numbers that no face has": (changed(rotation=struct.pack("<3f", 0, 3e38, 0)), Reason.FIELD_INVALID, ".rotation"),
    "a group absent": (changed(expression=b"", texture=b""), Reason.GROUP_ABSENT, ""),
    "nothing": (shared.Descriptors(), Reason.GROUP_ABSENT, ""),
}


@pytest.mark.parametrize("name", BAD_FACES)
def test_a_bad_face_is_refused_wherever_a_face_is_taken(caller: Caller, name: str) -> None:
    face, reason, path = BAD_FACES[name]
    requests: list[tuple[tuple[str, str], Message, str]] = [
        (ENCODE, codec.EncodeRequest(faces=[WHOLE, face]), "faces[1]"),
        (RECOGNIZE, understanding.RecognizeRequest(face=described(face)), "face"),
        (UNDERSTAND, understanding.UnderstandRequest(faces=[described(WHOLE), described(face)]), "faces[1]"),
    ]
    for method, request, field_path in requests:
        refused = caller.refusal(*method, request)
        assert (refused.code.name, refused.reason) == (reason.answer.code, reason.name), method
        (named,) = refused.fields
        assert named.startswith(field_path)
        assert named.endswith(path)
    caller.succeeds()


def test_every_flipped_bit_of_a_bitstream_is_refused(caller: Caller) -> None:
    data = caller.frame().data
    answers = set()
    for bit in range(8 * len(data)):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        refused = caller.refusal(*DECODE, codec.DecodeRequest(frames=[data, bytes(damaged)]))
        assert refused.fields == ["frames[1]"]
        answers.add((refused.code.name, refused.reason))
    assert answers == {("INVALID_ARGUMENT", "BITSTREAM_CORRUPT")}
    caller.succeeds()


def test_a_flipped_bit_is_refused_by_understanding(caller: Caller) -> None:
    data = caller.frame().data
    damaged = understanding.FaceSource(bitstream=data[:-1] + bytes([data[-1] ^ 1]))
    refused = caller.refusal(*RECOGNIZE, understanding.RecognizeRequest(face=damaged))
    assert (refused.code.name, refused.reason) == ("INVALID_ARGUMENT", "BITSTREAM_CORRUPT")
    assert refused.fields == ["face.bitstream"]
    whole = understanding.FaceSource(bitstream=data)
    refused = caller.refusal(*UNDERSTAND, understanding.UnderstandRequest(faces=[whole, damaged, whole]))
    assert refused.fields == ["faces[1].bitstream"]
    caller.succeeds()


def test_a_group_that_did_not_travel_is_absent(caller: Caller) -> None:
    request = codec.EncodeRequest(faces=[WHOLE], portions=[shared.PORTION_EXPRESSION])
    frame = codec.EncodeResponse.FromString(caller.send(*ENCODE, request)).frames[0]
    face = understanding.FaceSource(bitstream=frame.data)
    caller.send(*RECOGNIZE, understanding.RecognizeRequest(face=face))
    refused = caller.refusal(*EMBED, understanding.EmbedRequest(face=face))
    assert (refused.code.name, refused.reason) == ("FAILED_PRECONDITION", "GROUP_ABSENT")
    caller.succeeds()


def compare(**changes: object) -> understanding.CompareRequest:
    """A good comparison with some fields changed."""
    face = understanding.ComparedFace(face=described(WHOLE))
    point = understanding.OPERATING_POINT_FAR_1E_2
    return understanding.CompareRequest(**{"probe": face, "reference": face, "operating_point": point, **changes})


def embedding(size: int = 512, model: str = "face_verification") -> understanding.ComparedFace:
    vector = pack_vector(np.full(size, size**-0.5))
    made_by = shared.Model(name=model, version="1", hash=1)
    return understanding.ComparedFace(embedding=understanding.Embedding(vector=vector, model=made_by))


def decode_version_ahead(caller: Caller) -> codec.DecodeRequest:
    """A frame whose version and the parity over it say that it is of the next format."""
    data = bytearray(caller.frame().data)
    fields = int.from_bytes(data[:2], "big") >> 7 | 1 << 7
    parity = fields << 4
    for shift in range(parity.bit_length() - 5, -1, -1):
        if parity >> (shift + 4) & 1:
            parity ^= 0b10011 << shift
    head = fields << 7 | parity << 3 | data[1] & 7
    data[:2] = head.to_bytes(2, "big")
    return codec.DecodeRequest(frames=[bytes(data)])


BAD_REQUESTS: dict[str, tuple[tuple[str, str], Message, Reason, str]] = {
    "no faces": (ENCODE, codec.EncodeRequest(), Reason.FIELD_INVALID, "faces"),
    "no frames": (DECODE, codec.DecodeRequest(), Reason.FIELD_INVALID, "frames"),
    "too many frames": (DECODE, codec.DecodeRequest(frames=[b""] * 100_000), Reason.FIELD_INVALID, "frames"),
    "an empty frame": (DECODE, codec.DecodeRequest(frames=[b""]), Reason.BITSTREAM_CORRUPT, "frames[0]"),
    "a frame too large": (
        DECODE,
        codec.DecodeRequest(frames=[bytes(100_000)]),
        Reason.BITSTREAM_TOO_LARGE,
        "frames[0]",
    ),
    "a frame of another codec": (
        DECODE,
        codec.DecodeRequest(frames=[bytes(80)], model_hash=1),
        Reason.MODEL_MISMATCH,
        "model_hash",
    ),
    "an unset portion": (
        ENCODE,
        codec.EncodeRequest(faces=[WHOLE], portions=[0]),
        Reason.ENUM_UNSPECIFIED,
        "portions[0]",
    ),
    "an unknown portion": (
        ENCODE,
        codec.EncodeRequest(faces=[WHOLE], portions=[9]),
        Reason.FIELD_INVALID,
        "portions[0]",
    ),
    "an unknown quality": (
        ENCODE,
        codec.EncodeRequest(faces=[WHOLE], quality_name="perfect"),
        Reason.FIELD_INVALID,
        "quality_name",
    ),
    "a quality number too high": (
        ENCODE,
        codec.EncodeRequest(faces=[WHOLE], quality_number=4_000_000_000),
        Reason.FIELD_INVALID,
        "quality_number",
    ),
    "no face": (RECOGNIZE, understanding.RecognizeRequest(), Reason.FIELD_INVALID, "face"),
    "an unknown expression model": (
        RECOGNIZE,
        understanding.RecognizeRequest(face=described(WHOLE), model="mind_reading"),
        Reason.MODEL_UNKNOWN,
        "model",
    ),
    "an unknown verification model": (
        EMBED,
        understanding.EmbedRequest(face=described(WHOLE), model="mind_reading"),
        Reason.MODEL_UNKNOWN,
        "model",
    ),
    "an unset operating point": (COMPARE, compare(operating_point=0), Reason.ENUM_UNSPECIFIED, "operating_point"),
    "one side of a comparison": (
        COMPARE,
        compare(probe=understanding.ComparedFace()),
        Reason.FIELD_INVALID,
        "probe",
    ),
    "an embedding of another model": (
        COMPARE,
        compare(reference=embedding(model="another")),
        Reason.MODEL_MISMATCH,
        "reference.embedding.model",
    ),
    "an embedding of the model before it was trained again": (
        COMPARE,
        compare(probe=embedding()),
        Reason.MODEL_MISMATCH,
        "probe.embedding.model",
    ),
    "an unset task": (
        UNDERSTAND,
        understanding.UnderstandRequest(faces=[described(WHOLE)], tasks=[0]),
        Reason.ENUM_UNSPECIFIED,
        "tasks[0]",
    ),
    "no faces to understand": (UNDERSTAND, understanding.UnderstandRequest(), Reason.FIELD_INVALID, "faces"),
}


@pytest.mark.parametrize("name", BAD_REQUESTS)
def test_a_bad_request_is_refused_by_its_reason_and_its_field(caller: Caller, name: str) -> None:
    method, request, reason, where = BAD_REQUESTS[name]
    assert caller.refusal(*method, request) == Refusal(grpc.StatusCode[reason.answer.code], reason.name, [where])
    caller.succeeds()


def test_an_embedding_of_the_wrong_size_is_refused(caller: Caller) -> None:
    answer = understanding.EmbedResponse.FromString(
        caller.send(*EMBED, understanding.EmbedRequest(face=described(WHOLE)))
    )
    short = embedding(511)
    short.embedding.model.CopyFrom(answer.embedding.model)
    refused = caller.refusal(*COMPARE, compare(probe=short))
    assert (refused.reason, refused.fields) == ("DESCRIPTOR_SHAPE", ["probe.embedding.vector"])
    caller.succeeds()


def test_a_frame_of_a_later_format_says_so(caller: Caller) -> None:
    refused = caller.refusal(*DECODE, decode_version_ahead(caller))
    assert (refused.code.name, refused.reason) == ("FAILED_PRECONDITION", "BITSTREAM_VERSION")
    caller.succeeds()


@pytest.mark.parametrize(("service", "method"), UNARY_METHODS)
def test_no_method_takes_a_message_that_is_no_protobuf(caller: Caller, service: str, method: str) -> None:
    for data in (b"\xff", b"\x0a\xff", b"\x0a\x05abc", bytes(64)):
        refused = caller.refusal(service, method, data)
        assert (refused.code.name, refused.reason) == ("INVALID_ARGUMENT", "MESSAGE_MALFORMED")
    caller.succeeds()


def test_a_deadline_that_passes_while_networks_run_is_told(caller: Caller) -> None:
    image = extraction.ExtractRequest(image=photograph("astronaut.png"))
    assert caller.refusal(*EXTRACT, image, seconds=0.005).code is grpc.StatusCode.DEADLINE_EXCEEDED
    caller.succeeds()


def test_a_frame_that_cannot_be_decoded_ends_its_stream_after_those_before_it(
    channel: grpc.Channel, caller: Caller
) -> None:
    frames = [photograph("astronaut.png"), photograph("coffee.png"), b"no picture", photograph("astronaut.png")]
    requests = iter([extraction.ExtractStreamRequest(image=frame) for frame in frames])
    answers = extraction_grpc.ExtractionServiceStub(channel).ExtractStream(requests, timeout=10)
    assert [(answer.frame_number, len(answer.faces)) for answer in (next(answers), next(answers))] == [(0, 1), (1, 0)]
    with pytest.raises(grpc.RpcError) as caught:
        next(answers)
    refused = Refusal.of(caught.value)
    assert (refused.code.name, refused.reason) == ("INVALID_ARGUMENT", "IMAGE_UNDECODABLE")
    caller.succeeds()


def test_a_message_over_the_transports_limit_is_refused(caller: Caller) -> None:
    refused = caller.refusal(*EXTRACT, extraction.ExtractRequest(image=bytes(40 << 20)))
    assert refused == Refusal(grpc.StatusCode.RESOURCE_EXHAUSTED)
    caller.succeeds()


def test_an_unknown_method_and_an_unknown_service_are_unimplemented(caller: Caller) -> None:
    assert caller.refusal("semface.v1.CodecService", "Guess", b"").code is grpc.StatusCode.UNIMPLEMENTED
    assert caller.refusal("semface.v1.MindService", "Read", b"").code is grpc.StatusCode.UNIMPLEMENTED
    caller.succeeds()


def test_a_session_that_begins_without_numbers_is_refused(channel: grpc.Channel, caller: Caller) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        next(channel.stream_stream("/semface.v1.CodecService/EncodeStream")(iter([b""])))
    assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    caller.succeeds()
