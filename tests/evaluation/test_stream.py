"""Figures of a session: what goes in, what is counted, what is compared."""

from pathlib import Path

import numpy as np
import pytest

from semface.codec.core import Codec
from semface.descriptors import GROUPS, Portion
from semface.errors import Reason, SemfaceError
from semface.evaluation.moving_faces import PICTURE_SIZE, moving_descriptors, moving_pictures
from semface.evaluation.stream import DescribedFrames, describe_motion, evaluate_stream, landmark_shift
from semface.inference.embedded import EmbeddedEngine
from tests.codec.faces import faces


async def test_a_still_face_costs_a_key_and_next_to_nothing_after(tiny_repository: Path) -> None:
    engine = EmbeddedEngine(tiny_repository)
    still = np.repeat(faces(1), 25, axis=0)
    described = DescribedFrames(still, fallback=0, median_ms=5.0)
    figures = await evaluate_stream(Codec(engine, tiny_repository), described, "high", Portion.EXPRESSION)
    await engine.close()
    assert figures.frames == 25
    assert figures.predicted_bits_mean is not None
    assert figures.predicted_bits_mean < 60 < figures.key_bits_mean
    total = 24 * figures.predicted_bits_mean + figures.key_bits_mean
    assert figures.bits_per_frame_mean == pytest.approx(total / 25)
    assert figures.expression_agreement == 1.0
    assert 0 < figures.landmark_shift < 0.05
    assert figures.describe_ms_p50 == 5.0
    assert 0 < figures.decode_ms_p50 < figures.encode_ms_p50


async def test_an_empty_video_is_refused_by_name(tiny_repository: Path) -> None:
    engine = EmbeddedEngine(tiny_repository)
    with pytest.raises(SemfaceError) as refused:
        await describe_motion(engine, [], lambda _: None)
    await engine.close()
    assert refused.value.reason is Reason.FIELD_INVALID


def test_the_landmark_shift_is_a_share_of_the_eyes_distance() -> None:
    face = np.zeros((1, 257), np.float32)
    moved = face.copy()
    moved[0, GROUPS["translation"].start] = 1.0
    # A millimetre of the some 90 between the outer corners of the eyes.
    assert 0.008 < landmark_shift(moved, face)[0] < 0.015
    assert landmark_shift(face, face)[0] == 0


def test_a_made_up_face_moves_smoothly_and_is_the_same_every_time() -> None:
    face = moving_descriptors(60, 3)
    assert np.array_equal(face, moving_descriptors(60, 3))
    where = GROUPS["rotation"]
    assert np.abs(np.diff(face[:, where], axis=0)).max() < 0.3 * np.ptp(face[:, where], axis=0).max()
    assert not np.diff(face[:, GROUPS["shape"]], axis=0).any()
    (picture,) = moving_pictures(face[:1], 3)
    assert picture.shape == (*PICTURE_SIZE, 3)
