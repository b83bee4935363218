"""The codec's service over a real channel."""

from collections.abc import Awaitable
from typing import Any

import grpc
import numpy as np
import pytest
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo
from google.rpc.status_pb2 import Status

from semface.codec.bitstream import drop
from semface.codec.core import Codec
from semface.descriptors import GROUPS, Portion
from semface.messages import pack_descriptors, unpack_descriptors
from semface.v1 import codec_pb2 as wire
from semface.v1 import codec_pb2_grpc, descriptors_pb2
from tests.codec.conftest import MAX_FACES
from tests.codec.faces import faces


@pytest.fixture
def stub(channel: grpc.aio.Channel) -> codec_pb2_grpc.CodecServiceStub:
    return codec_pb2_grpc.CodecServiceStub(channel)


def request(count: int = 1, **fields: Any) -> wire.EncodeRequest:
    """Return a request to code ``count`` faces."""
    return wire.EncodeRequest(faces=[pack_descriptors(face) for face in faces(count)], **fields)


async def refused(call: Awaitable[Any]) -> tuple[grpc.StatusCode, str, list[str]]:
    """Return code, reason and fields at fault of a call that has to fail."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    status = Status.FromString(dict(caught.value.trailing_metadata() or ())["grpc-status-details-bin"])
    info, bad = ErrorInfo(), BadRequest()
    fields = [v.field for detail in status.details if detail.Unpack(bad) for v in bad.field_violations]
    assert sum(detail.Unpack(info) for detail in status.details) == 1
    return caught.value.code(), info.reason, fields


async def test_faces_go_round(stub: codec_pb2_grpc.CodecServiceStub, codec: Codec) -> None:
    coded = await stub.Encode(request(3))
    frames = [frame.data for frame in coded.frames]
    assert frames == await codec.encode(faces(3))
    answer = await stub.Decode(wire.DecodeRequest(frames=frames, model_hash=coded.model.hash))
    expected = await codec.decode(frames)
    for face, decoded in zip(answer.faces, expected, strict=True):
        np.testing.assert_array_equal(unpack_descriptors(face.descriptors, "face")[0], decoded.descriptors)
        assert (face.quality_name, face.quality_number) == ("medium", 1)
        assert list(face.portions) == [1, 2, 3]
    assert coded.model.name == answer.model.name == "codec"
    assert coded.model.hash == int(codec.model_hash[:16], 16)
    assert answer.timings.total_ms >= answer.timings.inference_ms > 0


async def test_a_frame_tells_where_its_bits_went(stub: codec_pb2_grpc.CodecServiceStub) -> None:
    frame = (await stub.Encode(request(quality_name="high"))).frames[0]
    assert frame.header_bits + sum(payload.bits for payload in frame.payloads) == 8 * len(frame.data)
    assert frame.header_bits == 32
    assert {payload.portion for payload in frame.payloads} == {1, 2, 3}
    assert (frame.quality_name, frame.quality_number, frame.type) == ("high", 2, wire.FRAME_TYPE_KEY)


async def test_quality_by_name_and_by_number_are_one(stub: codec_pb2_grpc.CodecServiceStub) -> None:
    by_name, by_number = await stub.Encode(request(quality_name="low")), await stub.Encode(request(quality_number=0))
    assert by_name.frames == by_number.frames


async def test_a_face_of_one_portion_is_enough_for_that_portion(stub: codec_pb2_grpc.CodecServiceStub) -> None:
    face = pack_descriptors(faces(1), Portion.EXPRESSION)
    portions = [descriptors_pb2.PORTION_EXPRESSION]
    frame = (await stub.Encode(wire.EncodeRequest(faces=[face], portions=portions))).frames[0]
    whole = (await stub.Encode(request())).frames[0].data
    assert frame.data == drop(whole, Portion.IDENTITY | Portion.ILLUMINATION)
    decoded = (await stub.Decode(wire.DecodeRequest(frames=[frame.data]))).faces[0]
    assert list(decoded.portions) == portions
    assert not decoded.descriptors.shape
    assert len(decoded.descriptors.rotation) == 12


async def test_every_bad_request_is_refused_by_name_and_the_next_is_served(
    stub: codec_pb2_grpc.CodecServiceStub, codec: Codec
) -> None:
    good = (await codec.encode(faces(1)))[0]
    flipped = bytes((good[0], *good[1:-1], good[-1] ^ 1))
    short, nan = pack_descriptors(faces(1)), pack_descriptors(faces(1))
    short.texture = short.texture[:-4]
    nan.rotation = np.array([np.nan, 0, 0], "<f4").tobytes()
    absent = pack_descriptors(faces(1), Portion.IDENTITY)
    invalid, failed = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.FAILED_PRECONDITION
    encode, decode = stub.Encode, stub.Decode
    cases: list[tuple[Awaitable[Any], grpc.StatusCode, str, str]] = [
        (encode(wire.EncodeRequest()), invalid, "FIELD_INVALID", "faces"),
        (encode(request(MAX_FACES + 1)), invalid, "FIELD_INVALID", "faces"),
        (encode(wire.EncodeRequest(faces=[short])), invalid, "DESCRIPTOR_SHAPE", "faces[0].texture"),
        (encode(wire.EncodeRequest(faces=[nan])), invalid, "NOT_FINITE", "faces[0].rotation"),
        (encode(wire.EncodeRequest(faces=[absent])), failed, "GROUP_ABSENT", "faces[0]"),
        (encode(request(quality_name="best")), invalid, "FIELD_INVALID", "quality_name"),
        (encode(request(quality_number=7)), invalid, "FIELD_INVALID", "quality_number"),
        (encode(request(portions=[0])), invalid, "ENUM_UNSPECIFIED", "portions[0]"),
        (encode(request(portions=[1, 1])), invalid, "FIELD_INVALID", "portions[1]"),
        (decode(wire.DecodeRequest()), invalid, "FIELD_INVALID", "frames"),
        (decode(wire.DecodeRequest(frames=[good, flipped])), invalid, "BITSTREAM_CORRUPT", "frames[1]"),
        (decode(wire.DecodeRequest(frames=[good[:-1]])), invalid, "BITSTREAM_CORRUPT", "frames[0]"),
        (decode(wire.DecodeRequest(frames=[b""])), invalid, "BITSTREAM_CORRUPT", "frames[0]"),
        (decode(wire.DecodeRequest(frames=[bytes(10**7)])), invalid, "BITSTREAM_TOO_LARGE", "frames[0]"),
        (decode(wire.DecodeRequest(frames=[good], model_hash=1)), failed, "MODEL_MISMATCH", "model_hash"),
    ]
    for call, code, reason, field in cases:
        assert await refused(call) == (code, reason, [field])
        assert len((await stub.Decode(wire.DecodeRequest(frames=[good]))).faces) == 1


async def test_what_is_no_protobuf_is_refused(channel: grpc.aio.Channel) -> None:
    call = channel.unary_unary("/semface.v1.CodecService/Decode")
    assert (await refused(call(b"\xff\xff\xff")))[1] == "MESSAGE_MALFORMED"


async def test_streams_are_declared_but_not_served_yet(stub: codec_pb2_grpc.CodecServiceStub) -> None:
    for stream, message in (
        (stub.EncodeStream, wire.EncodeStreamRequest()),
        (stub.DecodeStream, wire.DecodeStreamRequest()),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            async for _ in stream(iter([message])):
                pass
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_messages_of_errors_hold_no_face_data(stub: codec_pb2_grpc.CodecServiceStub) -> None:
    broken = pack_descriptors(faces(1))
    broken.shape = np.full(GROUPS["shape"].stop, np.inf, "<f4").tobytes()
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.Encode(wire.EncodeRequest(faces=[broken]))
    assert not any(f"{value:.4f}" in str(caught.value.details()) for value in faces(1)[0])
