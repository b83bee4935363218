"""Arrays in, arrays out, with the services behind; the blocking and the asynchronous client answer alike."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from PIL import ImageOps

from semface.client import AsyncClient, Client, Face
from semface.descriptors import PORTION_SLICES, Portion
from semface.errors import Reason, SemfaceError
from tests.running import jpeg, two_faces
from tests.services.stack import photograph


class Awaited:
    """An ``AsyncClient`` whose methods are awaited in a loop of their own."""

    def __init__(self, address: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._client = self._loop.run_until_complete(self._connect(address))

    async def _connect(self, address: str) -> AsyncClient:
        return AsyncClient(address)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._client, name)
        return lambda *args, **options: self._loop.run_until_complete(method(*args, **options))

    def end(self) -> None:
        """Close the client and its loop."""
        self._loop.run_until_complete(self._client.close())
        self._loop.close()


@pytest.fixture(params=["blocking", "asynchronous"])
def client(request: pytest.FixtureRequest, address: str) -> Iterator[Any]:
    """Each of the two clients."""
    if request.param == "blocking":
        with Client(address) as connected:
            yield connected
    else:
        awaited = Awaited(address)
        yield awaited
        awaited.end()


@pytest.fixture(scope="session")
def face(address: str) -> Face:
    """The face of a real photograph."""
    with Client(address) as client:
        return client.extract(photograph("astronaut.png")).faces[0]


def test_a_photograph_gives_its_face_with_shapes_as_documented(client: Any) -> None:
    answer = client.extract(photograph("astronaut.png"))
    (found,) = answer.faces
    assert (answer.width, answer.height) == (512, 512)
    assert found.box.shape == (4,)
    assert found.landmarks.shape == (5, 2)
    assert found.descriptors.shape == (257,)
    assert np.isfinite(found.descriptors).all()
    left, upper, right, lower = found.box
    assert ((found.landmarks > [left, upper]) & (found.landmarks < [right, lower])).all()
    assert found.square[2] > right - left
    assert 0.9 < found.confidence <= 1
    assert "descriptor_extraction/1" in map(str, answer.models)
    assert answer.timings.total_ms >= answer.timings.inference_ms > 0


def test_several_faces_come_in_reading_order_with_the_largest_and_those_good_enough(client: Any) -> None:
    answer = client.extract(jpeg(ImageOps.mirror(two_faces())))
    small, large = answer.faces
    assert [face.id for face in answer.faces] == [0, 1]
    assert small.box[0] < large.box[0]
    assert answer.largest is large
    assert large.size > small.size
    assert answer.good_faces == [face for face in answer.faces if face.quality >= answer.minimum_quality > 0]


def test_faces_come_back_from_their_frames_in_their_order(client: Any, face: Face) -> None:
    faces = np.stack([face.descriptors, np.zeros(257, np.float32)])
    coded = client.encode(faces, quality=0)
    decoded = client.decode([frame.data for frame in coded.frames], model_hash=coded.model.hash)
    assert [found.quality_number for found in decoded.faces] == [0, 0]
    assert all(found.portions is Portion.ALL for found in decoded.faces)
    error = np.abs(np.stack([found.descriptors for found in decoded.faces]) - faces)
    swapped = np.abs(np.stack([found.descriptors for found in decoded.faces[::-1]]) - faces)
    assert error.mean() < 0.5 * swapped.mean()
    for frame in coded.frames:
        assert frame.header_bits + sum(frame.payload_bits.values()) == frame.bits == 8 * len(frame.data)


def test_a_quality_is_named_or_numbered_and_only_the_portions_asked_for_travel(client: Any, face: Face) -> None:
    default = client.encode(face.descriptors).frames[0]
    assert client.encode(face.descriptors, quality=default.quality_name).frames[0].data == default.data
    assert client.encode(face.descriptors, quality=default.quality_number).frames[0].data == default.data
    part = client.encode(face.descriptors, portions=Portion.EXPRESSION).frames[0]
    assert list(part.payload_bits) == [Portion.EXPRESSION]
    (decoded,) = client.decode([part.data]).faces
    assert decoded.portions is Portion.EXPRESSION
    assert not decoded.descriptors[PORTION_SLICES[Portion.IDENTITY]].any()


def test_a_frame_and_its_decoded_numbers_say_the_same(client: Any, face: Face) -> None:
    coded = client.encode(face.descriptors)
    frame = coded.frames[0].data
    (decoded,) = client.decode([frame]).faces
    from_frame, from_numbers = (
        client.recognize(frame, codec_hash=coded.model.hash),
        client.recognize(decoded.descriptors),
    )
    assert from_frame.confidences == pytest.approx(from_numbers.confidences, abs=1e-6)
    assert sum(from_frame.confidences.values()) == pytest.approx(1, abs=1e-5)
    assert len(from_frame.confidences) == 8
    assert from_frame.leading == max(from_frame.confidences, key=from_frame.confidences.__getitem__)
    assert np.allclose(client.embed(frame).vector, client.embed(decoded.descriptors).vector, atol=1e-6)


def test_a_face_matches_its_template_and_another_does_not(client: Any, face: Face) -> None:
    template = client.embed(face.descriptors)
    assert template.vector.shape == (512,)
    assert np.linalg.norm(template.vector) == pytest.approx(1, abs=1e-5)
    same = client.compare(face.descriptors, template, operating_point="far_1e-3")
    assert same.matched
    assert same.score == pytest.approx(1, abs=1e-5)
    assert same.operating_point == "far_1e-3"
    other = client.compare(-face.descriptors, template, operating_point="far_1e-3")
    assert not other.matched
    assert other.score < other.threshold == same.threshold
    assert str(same.model) == "face_verification/1"


def test_a_batch_answers_as_single_calls_do(client: Any, face: Face) -> None:
    frame = client.encode(face.descriptors).frames[0].data
    answer = client.understand([face.descriptors, frame])
    assert answer.faces[0].confidences == pytest.approx(client.recognize(face.descriptors).confidences, abs=1e-6)
    assert np.allclose(answer.faces[1].embedding.vector, client.embed(frame).vector, atol=1e-6)
    assert {model.name for model in answer.models} == {"codec", "expression_recognition", "face_verification"}
    (only,) = client.understand([face.descriptors], tasks=["expression"], portions=Portion.EXPRESSION).faces
    assert only.embedding is None
    assert only.leading == answer.faces[0].leading


def test_what_a_service_refuses_is_raised_by_its_reason(client: Any, face: Face) -> None:
    with pytest.raises(SemfaceError) as caught:
        client.recognize(face.descriptors, portions=Portion.IDENTITY)
    assert caught.value.reason is Reason.GROUP_ABSENT
    with pytest.raises(SemfaceError) as caught:
        client.extract(photograph("coffee.png"))
    assert caught.value.reason is Reason.NO_FACE


def test_every_service_is_healthy(client: Any) -> None:
    assert client.serving()
    for name in ("Extraction", "Codec", "Expression", "Verification", "Understanding"):
        assert client.serving(f"semface.v1.{name}Service")


def test_a_target_in_bits_is_met_or_the_coarsest_quality_taken(client: Any, face: Face) -> None:
    (frame,) = client.encode(face.descriptors, bits=1).frames
    assert frame.quality_number == 0
    (fitting,) = client.encode(face.descriptors, bits=frame.bits).frames
    assert fitting.bits == frame.bits
    (finest,) = client.encode(face.descriptors, bits=8192).frames
    assert finest.quality_number > 0
