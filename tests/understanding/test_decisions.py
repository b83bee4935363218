"""Decisions over a real channel: every operating point, absent groups on either side, embeddings of other models."""

import numpy as np
import pytest

from semface.codec.core import Codec
from semface.descriptors import GROUPS, Portion
from semface.messages import pack_vector
from semface.understanding.core import Understanding
from semface.understanding.service import OPERATING_POINTS
from semface.v1 import understanding_pb2 as wire
from tests.understanding.conftest import Stubs
from tests.understanding.test_service import Faces, described, refused


async def embedded(served: Stubs, faces: Faces) -> wire.Embedding:
    return (await served.verification.Embed(wire.EmbedRequest(face=described(faces[0])))).embedding


def compared(probe: wire.ComparedFace, reference: wire.ComparedFace, point: int) -> wire.CompareRequest:
    return wire.CompareRequest(probe=probe, reference=reference, operating_point=point)


async def test_each_operating_point_decides_by_its_own_threshold(
    served: Stubs, understanding: Understanding, faces: Faces
) -> None:
    reference = await embedded(served, faces)
    vector = (await understanding.embeddings(faces[0]))[0].astype(np.float64)
    across = np.zeros(512)
    across[0] = 1.0
    across -= (across @ vector) * vector
    across /= np.linalg.norm(across)
    decided = {}
    for number, point in OPERATING_POINTS.items():
        threshold = understanding.threshold(point)
        for margin in (-0.01, 0.01):
            cosine = threshold + margin
            probe = cosine * vector + np.sqrt(1 - cosine**2) * across
            side = wire.Embedding(vector=pack_vector(probe), model=reference.model)
            request = compared(wire.ComparedFace(embedding=side), wire.ComparedFace(embedding=reference), number)
            answer = await served.verification.Compare(request)
            assert answer.matched is (margin > 0)
            assert answer.score == pytest.approx(cosine, abs=1e-5)
            assert answer.threshold == pytest.approx(threshold)
            assert answer.operating_point == number
            assert answer.model == reference.model
        decided[point.value] = threshold
    assert set(decided) == {"far_1e-2", "far_1e-3", "accuracy"}
    # Fewer strangers are accepted where more likeness is asked for.
    assert decided["far_1e-3"] > decided["far_1e-2"]


@pytest.mark.parametrize("side", ["probe", "reference"])
async def test_a_comparison_is_refused_where_either_side_lacks_identity(
    served: Stubs, codec: Codec, faces: Faces, side: str
) -> None:
    whole = wire.ComparedFace(face=described(faces[0]))
    frame = (await codec.encode(faces[:1], portions=Portion.EXPRESSION))[0]
    shape_only = described(faces[0])
    shape_only.descriptors.ClearField("texture")
    for lacking in (wire.FaceSource(bitstream=frame), described(faces[0], Portion.EXPRESSION), shape_only):
        sides = {"probe": whole, "reference": whole, side: wire.ComparedFace(face=lacking)}
        request = compared(sides["probe"], sides["reference"], wire.OPERATING_POINT_FAR_1E_3)
        assert await refused(served.verification.Compare(request)) == ("GROUP_ABSENT", [f"{side}.face"])


async def test_absent_groups_are_not_taken_for_zeros(served: Stubs, faces: Faces) -> None:
    # A face that truly is all zeros is answered; one without the groups is not.
    zeros = np.zeros_like(faces[0])
    answer = await served.expression.Recognize(wire.RecognizeRequest(face=described(zeros)))
    assert len(answer.expression.confidences) == 8
    for group in ("expression", "rotation", "translation"):
        lacking = described(faces[0])
        lacking.descriptors.ClearField(group)
        assert group in GROUPS
        request = wire.RecognizeRequest(face=lacking)
        assert await refused(served.expression.Recognize(request)) == ("GROUP_ABSENT", ["face"])


@pytest.mark.parametrize("side", ["probe", "reference"])
@pytest.mark.parametrize("part", ["name", "version", "hash"])
async def test_an_embedding_of_another_model_or_version_is_refused_on_either_side(
    served: Stubs, faces: Faces, side: str, part: str
) -> None:
    other = await embedded(served, faces)
    setattr(other.model, part, other.model.hash ^ 1 if part == "hash" else f"{getattr(other.model, part)}0")
    face = wire.ComparedFace(face=described(faces[0]))
    sides = {"probe": face, "reference": face, side: wire.ComparedFace(embedding=other)}
    request = compared(sides["probe"], sides["reference"], wire.OPERATING_POINT_FAR_1E_2)
    assert await refused(served.verification.Compare(request)) == ("MODEL_MISMATCH", [f"{side}.embedding.model"])
    same = compared(face, face, wire.OPERATING_POINT_FAR_1E_2)
    assert (await served.verification.Compare(same)).matched
