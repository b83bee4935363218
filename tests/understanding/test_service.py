"""The three services over a real channel."""

import asyncio
from collections.abc import Awaitable
from typing import Any

import grpc
import numpy as np
import pytest
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo
from google.rpc.status_pb2 import Status
from numpy.typing import NDArray

from semface.codec.core import Codec
from semface.descriptors import Portion
from semface.meaning import OperatingPoint
from semface.messages import pack_descriptors, pack_vector, unpack_vector
from semface.understanding.core import Understanding
from semface.v1 import descriptors_pb2
from semface.v1 import understanding_pb2 as wire
from tests.understanding.conftest import Stubs

Faces = NDArray[np.float32]
POINT = wire.OPERATING_POINT_FAR_1E_2


def described(face: Faces, portions: Portion = Portion.ALL) -> wire.FaceSource:
    return wire.FaceSource(descriptors=pack_descriptors(face, portions))


async def refused(call: Awaitable[Any]) -> tuple[str, list[str]]:
    """Return the reason for which ``call`` is refused, and the fields at fault."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    status = Status.FromString(dict(caught.value.trailing_metadata() or ())["grpc-status-details-bin"])
    info, bad = ErrorInfo(), BadRequest()
    fields = [v.field for detail in status.details if detail.Unpack(bad) for v in bad.field_violations]
    assert sum(detail.Unpack(info) for detail in status.details) == 1
    return info.reason, fields


async def test_recognition_answers_as_the_core(served: Stubs, understanding: Understanding, faces: Faces) -> None:
    answer = await served.expression.Recognize(wire.RecognizeRequest(face=described(faces[0])))
    expected = (await understanding.expressions(faces[:1]))[0]
    np.testing.assert_allclose([c.confidence for c in answer.expression.confidences], expected, atol=1e-6)
    assert [c.expression for c in answer.expression.confidences] == list(range(1, 9))
    assert answer.expression.leading == 1 + int(expected.argmax())
    assert answer.model.name == "expression_recognition"
    assert answer.timings.total_ms >= answer.timings.inference_ms > 0


async def test_a_bitstream_is_decoded_on_the_way(
    served: Stubs, understanding: Understanding, codec: Codec, faces: Faces
) -> None:
    frame = (await codec.encode(faces[:1]))[0]
    decoded = (await codec.decode([frame]))[0].descriptors
    answer = await served.verification.Embed(wire.EmbedRequest(face=wire.FaceSource(bitstream=frame)))
    np.testing.assert_array_equal(
        unpack_vector(answer.embedding.vector, 512, "vector"), (await understanding.embeddings(decoded))[0]
    )


async def test_comparison_tells_score_threshold_and_decision(
    served: Stubs, understanding: Understanding, faces: Faces
) -> None:
    embedded = (await served.verification.Embed(wire.EmbedRequest(face=described(faces[0])))).embedding
    for probe, matched in ((faces[0], True), (faces[1], False)):
        answer = await served.verification.Compare(
            wire.CompareRequest(
                probe=wire.ComparedFace(face=described(probe)),
                reference=wire.ComparedFace(embedding=embedded),
                operating_point=POINT,
            )
        )
        assert answer.matched is matched
        assert answer.matched is (answer.score >= answer.threshold)
        assert answer.threshold == pytest.approx(understanding.threshold(OperatingPoint.FAR_1E_2))
        assert (answer.operating_point, answer.model) == (POINT, embedded.model)


async def test_a_batch_of_descriptors_and_bitstreams_is_answered_in_order(
    served: Stubs, understanding: Understanding, codec: Codec, faces: Faces
) -> None:
    frames = await codec.encode(faces)
    decoded = np.array([face.descriptors for face in await codec.decode(frames)])
    sources = [described(faces[0]), wire.FaceSource(bitstream=frames[1]), described(faces[2])]
    answer = await served.understanding.Understand(wire.UnderstandRequest(faces=sources))
    expected = np.stack([faces[0], decoded[1], faces[2]])
    got = [[c.confidence for c in face.expression.confidences] for face in answer.faces]
    np.testing.assert_allclose(got, await understanding.expressions(expected), atol=1e-6)
    vectors = [unpack_vector(face.embedding.vector, 512, "vector") for face in answer.faces]
    np.testing.assert_allclose(vectors, await understanding.embeddings(expected), atol=1e-6)
    assert [model.name for model in answer.models] == ["codec", "expression_recognition", "face_verification"]


async def test_only_the_task_asked_for_is_answered_and_needs_its_portion_only(
    served: Stubs, codec: Codec, faces: Faces
) -> None:
    frame = (await codec.encode(faces[:1], portions=Portion.EXPRESSION))[0]
    request = wire.UnderstandRequest(faces=[wire.FaceSource(bitstream=frame)], tasks=[wire.TASK_EXPRESSION])
    (face,) = (await served.understanding.Understand(request)).faces
    assert face.HasField("expression")
    assert not face.HasField("embedding")


async def test_an_absent_group_is_refused_by_name(served: Stubs, codec: Codec, faces: Faces) -> None:
    identity = described(faces[0], Portion.IDENTITY)
    assert await refused(served.expression.Recognize(wire.RecognizeRequest(face=identity))) == (
        "GROUP_ABSENT",
        ["face"],
    )
    frame = (await codec.encode(faces[:1], portions=Portion.EXPRESSION))[0]
    coded = wire.FaceSource(bitstream=frame)
    assert await refused(served.verification.Embed(wire.EmbedRequest(face=coded))) == ("GROUP_ABSENT", ["face"])
    batch = wire.UnderstandRequest(faces=[described(faces[0]), identity])
    assert await refused(served.understanding.Understand(batch)) == ("GROUP_ABSENT", ["faces[1]"])
    half = wire.FaceSource(descriptors=descriptors_pb2.Descriptors(shape=pack_vector(faces[0, :80])))
    assert await refused(served.verification.Embed(wire.EmbedRequest(face=half))) == ("GROUP_ABSENT", ["face"])


async def test_an_embedding_of_another_model_is_refused(served: Stubs, faces: Faces) -> None:
    embedded = (await served.verification.Embed(wire.EmbedRequest(face=described(faces[0])))).embedding
    embedded.model.hash += 1
    request = wire.CompareRequest(
        probe=wire.ComparedFace(face=described(faces[0])),
        reference=wire.ComparedFace(embedding=embedded),
        operating_point=POINT,
    )
    reason, fields = await refused(served.verification.Compare(request))
    assert (reason, fields) == ("MODEL_MISMATCH", ["reference.embedding.model"])


async def test_an_unknown_model_and_an_unset_operating_point_are_refused(served: Stubs, faces: Faces) -> None:
    face = described(faces[0])
    unknown = wire.RecognizeRequest(face=face, model="face_verification")
    assert await refused(served.expression.Recognize(unknown)) == ("MODEL_UNKNOWN", ["model"])
    side = wire.ComparedFace(face=face)
    for point, reason in ((0, "ENUM_UNSPECIFIED"), (9, "FIELD_INVALID")):
        request = wire.CompareRequest(probe=side, reference=side, operating_point=point)
        assert await refused(served.verification.Compare(request)) == (reason, ["operating_point"])
    task = wire.UnderstandRequest(faces=[face], tasks=[wire.TASK_UNSPECIFIED])
    assert await refused(served.understanding.Understand(task)) == ("ENUM_UNSPECIFIED", ["tasks[0]"])


async def test_damage_is_refused_by_its_place_and_the_next_request_succeeds(
    served: Stubs, codec: Codec, faces: Faces
) -> None:
    frame = (await codec.encode(faces[:1]))[0]
    flipped = frame[:-1] + bytes([frame[-1] ^ 1])
    sources = [described(faces[0]), wire.FaceSource(bitstream=frame), wire.FaceSource(bitstream=flipped)]
    reason, fields = await refused(served.understanding.Understand(wire.UnderstandRequest(faces=sources)))
    assert (reason, fields) == ("BITSTREAM_CORRUPT", ["faces[2].bitstream"])
    foreign = wire.FaceSource(bitstream=frame, codec_hash=1)
    reason, fields = await refused(served.expression.Recognize(wire.RecognizeRequest(face=foreign)))
    assert (reason, fields) == ("MODEL_MISMATCH", ["face.codec_hash"])
    assert await served.expression.Recognize(wire.RecognizeRequest(face=wire.FaceSource(bitstream=frame)))


async def test_nan_a_short_vector_no_source_and_no_faces_are_refused(served: Stubs, faces: Faces) -> None:
    broken = described(faces[0])
    broken.descriptors.expression = pack_vector(np.full(64, np.nan))
    reason, fields = await refused(served.expression.Recognize(wire.RecognizeRequest(face=broken)))
    assert (reason, fields) == ("NOT_FINITE", ["face.descriptors.expression"])
    broken.descriptors.expression = pack_vector(np.zeros(63))
    reason, fields = await refused(served.expression.Recognize(wire.RecognizeRequest(face=broken)))
    assert (reason, fields) == ("DESCRIPTOR_SHAPE", ["face.descriptors.expression"])
    empty = wire.UnderstandRequest(faces=[described(faces[0]), wire.FaceSource()])
    assert await refused(served.understanding.Understand(empty)) == ("FIELD_INVALID", ["faces[1]"])
    assert await refused(served.understanding.Understand(wire.UnderstandRequest())) == ("FIELD_INVALID", ["faces"])
    crowd = wire.UnderstandRequest(faces=[described(faces[0])] * 9)
    assert await refused(served.understanding.Understand(crowd)) == ("FIELD_INVALID", ["faces"])


async def test_coded_faces_are_understood_alike_in_one_call_and_in_several(
    served: Stubs, codec: Codec, faces: NDArray[np.float32]
) -> None:
    frames = await codec.encode(faces)
    coded = [wire.FaceSource(bitstream=frame) for frame in frames]
    together = await served.understanding.Understand(wire.UnderstandRequest(faces=coded), timeout=10)
    assert len(together.faces) == len(faces)
    for task, field in (
        (wire.TASK_EXPRESSION, "expression"),
        (wire.TASK_EMBEDDING, "embedding"),
    ):
        alone = await served.understanding.Understand(wire.UnderstandRequest(faces=coded, tasks=[task]), timeout=10)
        assert [getattr(face, field) for face in alone.faces] == [getattr(face, field) for face in together.faces]
    # These decode first, and ask one network of the numbers.
    for face, source in zip(together.faces, coded, strict=True):
        assert (await served.expression.Recognize(wire.RecognizeRequest(face=source))).expression == face.expression
        assert (await served.verification.Embed(wire.EmbedRequest(face=source))).embedding == face.embedding


async def test_a_coded_face_at_fault_fails_its_own_call_only(served: Stubs, codec: Codec, faces: Faces) -> None:
    frame = (await codec.encode(faces[:1]))[0]
    flipped = frame[:-1] + bytes([frame[-1] ^ 1])
    silent = (await codec.encode(faces[:1], portions=Portion.EXPRESSION))[0]

    def understood(*frames: bytes) -> Awaitable[wire.UnderstandResponse]:
        sources = [wire.FaceSource(bitstream=frame) for frame in frames]
        return served.understanding.Understand(wire.UnderstandRequest(faces=sources))

    *answers, damaged, absent = await asyncio.gather(
        understood(frame),
        understood(frame, frame),
        refused(understood(frame, flipped)),
        refused(understood(frame, silent)),
    )
    assert [len(answer.faces) for answer in answers] == [1, 2]
    assert damaged == ("BITSTREAM_CORRUPT", ["faces[1].bitstream"])
    assert absent == ("GROUP_ABSENT", ["faces[1]"])
