"""What the two networks answer, and when they refuse to."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from semface.descriptors import PORTION_SLICES, Portion
from semface.errors import Reason, SemfaceError
from semface.inference.embedded import EmbeddedEngine
from semface.inference.engine import Engine
from semface.meaning import EMBEDDING_SIZE, EXPRESSIONS, OperatingPoint
from semface.understanding.core import Understanding

Faces = NDArray[np.float32]


async def test_confidences_of_a_face_sum_to_one(understanding: Understanding, faces: Faces) -> None:
    confidences = await understanding.expressions(faces)
    assert confidences.shape == (4, len(EXPRESSIONS))
    np.testing.assert_allclose(confidences.sum(axis=1), 1, atol=1e-6)
    assert confidences.min() >= 0


async def test_embeddings_have_length_one(understanding: Understanding, faces: Faces) -> None:
    embeddings = await understanding.embeddings(faces)
    assert embeddings.shape == (4, EMBEDDING_SIZE)
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1, atol=1e-6)


@pytest.mark.parametrize(("ours", "other"), [("expressions", Portion.IDENTITY), ("embeddings", Portion.EXPRESSION)])
async def test_an_answer_hangs_on_its_own_portion_alone(
    understanding: Understanding, faces: Faces, ours: str, other: Portion
) -> None:
    ask = getattr(understanding, ours)
    changed = faces.copy()
    changed[:, PORTION_SLICES[other]] += 1
    changed[:, PORTION_SLICES[Portion.ILLUMINATION]] += 1
    np.testing.assert_array_equal(await ask(changed), await ask(faces))
    assert not np.array_equal(await ask(faces + 1), await ask(faces))


@pytest.mark.parametrize(("ask", "given"), [("expressions", Portion.IDENTITY), ("embeddings", Portion.EXPRESSION)])
async def test_an_absent_portion_is_never_taken_for_zeros(
    understanding: Understanding, faces: Faces, ask: str, given: Portion
) -> None:
    with pytest.raises(SemfaceError) as refused:
        await getattr(understanding, ask)(faces, [Portion.ALL, Portion.ALL, given, Portion.ALL])
    assert refused.value.reason is Reason.GROUP_ABSENT


async def test_vectors_of_another_size_and_nan_are_refused(understanding: Understanding, faces: Faces) -> None:
    with pytest.raises(SemfaceError) as refused:
        await understanding.expressions(faces[:, :256])
    assert refused.value.reason is Reason.DESCRIPTOR_SHAPE
    faces[2, 3] = np.nan
    with pytest.raises(SemfaceError) as refused:
        await understanding.embeddings(faces)
    assert refused.value.reason is Reason.NOT_FINITE


async def test_a_face_equals_itself_and_its_opposite_is_farthest(understanding: Understanding, faces: Faces) -> None:
    embedding = (await understanding.embeddings(faces))[0]
    assert understanding.compare(embedding, embedding) == pytest.approx(1, abs=1e-6)
    assert understanding.compare(embedding, -embedding) == pytest.approx(-1, abs=1e-6)
    assert understanding.compare(3 * embedding, embedding) == pytest.approx(1, abs=1e-6)


def test_an_embedding_without_length_is_refused(understanding: Understanding) -> None:
    with pytest.raises(SemfaceError) as refused:
        understanding.compare(np.zeros(EMBEDDING_SIZE), np.ones(EMBEDDING_SIZE))
    assert refused.value.reason is Reason.FIELD_INVALID


def test_a_score_at_the_threshold_matches_and_one_below_does_not(understanding: Understanding) -> None:
    for point in OperatingPoint:
        threshold = understanding.threshold(point)
        at, below = understanding.decision(threshold, point), understanding.decision(threshold - 1e-6, point)
        assert (at.matched, below.matched) == (True, False)
        assert (at.threshold, at.operating_point, at.model.name) == (threshold, point, "face_verification")


def test_a_stricter_operating_point_asks_for_more(understanding: Understanding) -> None:
    assert understanding.threshold(OperatingPoint.FAR_1E_3) > understanding.threshold(OperatingPoint.FAR_1E_2)


def test_an_embedding_of_another_model_version_or_file_is_refused(understanding: Understanding) -> None:
    ours = understanding.verification_model
    understanding.check_embedding_model(ours.name, ours.version, ours.hash[:16])
    others = [
        ("another", ours.version, ours.hash[:16]),
        (ours.name, "0", ours.hash[:16]),
        (ours.name, ours.version, "0" * 16),
        (ours.name, ours.version, ""),
    ]
    for name, version, digest in others:
        with pytest.raises(SemfaceError) as refused:
            understanding.check_embedding_model(name, version, digest)
        assert refused.value.reason is Reason.MODEL_MISMATCH


async def test_a_repository_without_the_networks_says_so(tmp_path: Path, faces: Faces) -> None:
    engine: Engine = EmbeddedEngine(tmp_path)
    with pytest.raises(SemfaceError) as refused:
        await Understanding(engine).expressions(faces)
    assert refused.value.reason is Reason.MODEL_UNKNOWN
    await engine.close()
