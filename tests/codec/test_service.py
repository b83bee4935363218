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


def moments(count: int, **fields: Any) -> list[wire.EncodeStreamRequest]:
    """Return the requests of a face that keeps still; the first one has ``fields``."""
    face = pack_descriptors(faces(1))
    first = wire.EncodeStreamRequest(face=face, **fields)
    return [first] + [wire.EncodeStreamRequest(face=face) for _ in range(count - 1)]


async def test_a_moving_face_goes_round_in_a_stream(stub: codec_pb2_grpc.CodecServiceStub) -> None:
    requests = moments(5, quality_name="high")
    requests[3].refresh = True
    coded = [answer async for answer in stub.EncodeStream(iter(requests))]
    key, predicted = wire.FRAME_TYPE_KEY, wire.FRAME_TYPE_PREDICTED
    assert [answer.frame.type for answer in coded] == [key, predicted, predicted, key, predicted]
    for answer in coded:
        frame = answer.frame
        assert frame.header_bits + sum(payload.bits for payload in frame.payloads) == 8 * len(frame.data)
        assert frame.quality_name == "high"
        assert frame.type == key or frame.header_bits == 12
    frames = [wire.DecodeStreamRequest(frame=answer.frame.data, model_hash=coded[0].model.hash) for answer in coded]
    frames[1].frame = b""
    shown = [answer async for answer in stub.DecodeStream(iter(frames))]
    done, held = wire.FRAME_STATE_DECODED, wire.FRAME_STATE_CONCEALED
    assert [answer.state for answer in shown] == [done, held, held, done, done]
    assert shown[2].face == shown[0].face
    assert list(shown[4].face.portions) == [1, 2, 3]


async def test_a_stream_joined_late_answers_no_face_until_a_key(stub: codec_pb2_grpc.CodecServiceStub) -> None:
    coded = [answer.frame.data async for answer in stub.EncodeStream(iter(moments(2)))]
    frames = [wire.DecodeStreamRequest(frame=coded[1]), wire.DecodeStreamRequest(frame=coded[0])]
    first, second = [answer async for answer in stub.DecodeStream(iter(frames))]
    assert first.state == wire.FRAME_STATE_WAITING
    assert not first.HasField("face")
    assert second.state == wire.FRAME_STATE_DECODED


async def test_every_bad_stream_is_refused_by_name(stub: codec_pb2_grpc.CodecServiceStub, codec: Codec) -> None:
    good = (await codec.encode(faces(1)))[0]
    nan, absent = moments(1), pack_descriptors(faces(1), Portion.IDENTITY)
    nan[0].face.rotation = np.array([np.nan, 0, 0], "<f4").tobytes()
    invalid, failed = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.FAILED_PRECONDITION
    encode, decode, received = stub.EncodeStream, stub.DecodeStream, wire.DecodeStreamRequest
    cases: list[tuple[Any, grpc.StatusCode, str, str]] = [
        (encode(iter(nan)), invalid, "NOT_FINITE", "face.rotation"),
        (encode(iter([wire.EncodeStreamRequest(face=absent)])), failed, "GROUP_ABSENT", "face"),
        (encode(iter(moments(1, quality_name="best"))), invalid, "FIELD_INVALID", "quality_name"),
        (encode(iter(moments(1, portions=[1]))), invalid, "FIELD_INVALID", "portions"),
        (decode(iter([received(frame=good, model_hash=1)])), failed, "MODEL_MISMATCH", "model_hash"),
        (decode(iter([received(frame=bytes(10**6))])), invalid, "BITSTREAM_TOO_LARGE", "frame"),
    ]
    for call, code, reason, field in cases:
        assert await refused(anext(aiter(call))) == (code, reason, [field])


async def test_messages_of_errors_hold_no_face_data(stub: codec_pb2_grpc.CodecServiceStub) -> None:
    broken = pack_descriptors(faces(1))
    broken.shape = np.full(GROUPS["shape"].stop, np.inf, "<f4").tobytes()
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.Encode(wire.EncodeRequest(faces=[broken]))
    assert not any(f"{value:.4f}" in str(caught.value.details()) for value in faces(1)[0])
