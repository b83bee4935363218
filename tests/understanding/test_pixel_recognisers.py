"""A recogniser that looks at pixels, over a real channel, on both engines."""

import numpy as np
import pytest
from numpy.typing import NDArray

from semface.client.calls import recognize_view
from semface.codec.core import Codec
from semface.errors import Reason, SemfaceError
from semface.messages import pack_descriptors
from semface.recognisers import RECOGNISERS
from semface.understanding.core import Understanding
from semface.v1 import understanding_pb2 as wire
from tests.understanding.conftest import Stubs
from tests.understanding.test_service import refused

DAN = RECOGNISERS["dan"]


@pytest.fixture
def crop() -> NDArray[np.uint8]:
    return np.random.default_rng(3).integers(0, 256, DAN.shape, dtype=np.uint8)


async def test_a_crop_is_recognised_as_by_the_core(
    served: Stubs, understanding: Understanding, crop: NDArray[np.uint8]
) -> None:
    call = recognize_view(crop, model="dan")
    answer = call.read(await served.expression.Recognize(call.request))
    expected = (await understanding.recognitions(DAN, crop[None]))["confidences"][0]
    assert list(answer.confidences) == list(DAN.classes)
    np.testing.assert_allclose(list(answer.confidences.values()), expected, atol=1e-6)
    assert answer.leading == DAN.classes[int(expected.argmax())]
    assert answer.model.name == "dan"


async def test_another_crop_is_told_otherwise(served: Stubs, crop: NDArray[np.uint8]) -> None:
    calls = [recognize_view(view, model="dan") for view in (crop, 255 - crop)]
    first, second = [call.read(await served.expression.Recognize(call.request)).confidences for call in calls]
    assert first != second


async def test_what_the_model_does_not_look_at_is_refused(
    served: Stubs, codec: Codec, faces: NDArray[np.float32], crop: NDArray[np.uint8]
) -> None:
    described = wire.FaceSource(descriptors=pack_descriptors(faces[0]))
    frame = wire.FaceSource(bitstream=(await codec.encode(faces[:1]))[0])
    for face in (described, frame, wire.FaceSource()):
        request = wire.RecognizeRequest(face=face, model="dan")
        assert await refused(served.expression.Recognize(request)) == ("FIELD_INVALID", ["face"])
    pixels = wire.FaceSource(crop=DAN.pack(crop))
    assert await refused(served.expression.Recognize(wire.RecognizeRequest(face=pixels))) == ("FIELD_INVALID", ["face"])
    assert await refused(served.verification.Embed(wire.EmbedRequest(face=pixels))) == ("FIELD_INVALID", ["face"])


async def test_a_crop_of_another_size_is_refused(served: Stubs, crop: NDArray[np.uint8]) -> None:
    request = wire.RecognizeRequest(face=wire.FaceSource(crop=crop.tobytes()[3:]), model="dan")
    assert await refused(served.expression.Recognize(request)) == ("DESCRIPTOR_SHAPE", ["face.crop"])


async def test_a_model_that_the_repository_lacks_is_unknown(served: Stubs, crop: NDArray[np.uint8]) -> None:
    request = wire.RecognizeRequest(face=wire.FaceSource(crop=crop.tobytes()), model="slfer")
    assert (await refused(served.expression.Recognize(request)))[0] == "MODEL_UNKNOWN"


def test_the_client_sends_no_pixels_to_what_looks_at_numbers(crop: NDArray[np.uint8]) -> None:
    with pytest.raises(SemfaceError) as found:
        recognize_view(crop, model="expression_recognition")
    assert found.value.reason is Reason.FIELD_INVALID
