"""The pose that is reported, on faces drawn at known poses: right in sign and axis; a mirrored picture mirrors it."""

import numpy as np
import pytest

from semface.descriptors import GROUPS, Descriptors, split
from semface.extraction.core import Extractor
from semface.inference.embedded import EmbeddedEngine
from semface.morphable.camera import project
from semface.morphable.model import MorphableModel
from tests.extraction.conftest import Pixels
from tests.extraction.renders import drawn_face

AXES = ("pitch", "yaw", "roll")
ANGLES = (-25, -15, 15, 25)
MEDIAN_ERRORS = {"pitch": 16.0, "yaw": 8.0, "roll": 8.0}
"""Degrees. How far a face looks up or down is told too small: some half of what was drawn."""
MIRROR_ERROR = 0.03
"""Mean distance of the dense landmarks of a mirrored face from the mirrored ones, in sides of the square."""


async def extracted(engine: EmbeddedEngine, picture: Pixels) -> tuple[np.ndarray, Descriptors]:
    """Return square (3,) and numbers (257,) of the one face of ``picture``."""
    (face,) = await Extractor(engine).extract(picture)
    return np.array(face.square), face.descriptors


def degrees(descriptors: Descriptors) -> np.ndarray:
    """Return pitch, yaw and roll of ``descriptors`` (257,) in degrees."""
    return np.degrees(descriptors[GROUPS["rotation"]])


def landmarks(square: np.ndarray, descriptors: Descriptors) -> np.ndarray:
    """Return the dense landmarks (468, 2) of a face in pixels of its picture."""
    model, groups = MorphableModel.shipped(), split(descriptors[None])
    points = model.landmarks(model.vertices(groups["shape"], groups["expression"]))
    return project(points, groups["rotation"], groups["translation"])[0][0] * square[2] + square[:2]


@pytest.mark.parametrize("axis", AXES)
async def test_a_turn_is_told_on_its_axis_with_its_sign_and_in_its_size(
    trained_engine: EmbeddedEngine, axis: str
) -> None:
    errors, place = [], AXES.index(axis)
    for person in (0, 1):
        poses = [
            degrees((await extracted(trained_engine, drawn_face(**{axis: angle}, person=person)))[1])
            for angle in ANGLES
        ]
        for angle, found in zip(ANGLES, poses, strict=True):
            assert np.sign(found[place]) == np.sign(angle)
            assert np.abs(np.delete(found, place)).max() < abs(found[place])
            errors.append(abs(found[place] - angle))
        told = [found[place] for found in poses]
        assert told == sorted(told)
    assert np.median(errors) < MEDIAN_ERRORS[axis]


async def test_turns_about_all_axes_at_once_are_told_apart(trained_engine: EmbeddedEngine) -> None:
    random, errors = np.random.default_rng(1), []
    for person in range(6):
        pose = random.choice([-1, 1], 3) * random.uniform(15, 25, 3)
        found = degrees((await extracted(trained_engine, drawn_face(*pose, person=person)))[1])
        assert (np.sign(found) == np.sign(pose)).all(), (pose, found)
        errors.append(np.abs(found - pose))
    assert (np.median(errors, axis=0) < list(MEDIAN_ERRORS.values())).all()


@pytest.mark.parametrize("pose", [(0, 0, 0), (12, 25, -15), (-15, -20, 20)])
async def test_a_mirrored_picture_gives_the_mirrored_pose_and_the_mirrored_face(
    trained_engine: EmbeddedEngine, pose: tuple[float, float, float]
) -> None:
    for person in range(2):
        picture = drawn_face(*pose, person=person)
        await assert_mirrored(trained_engine, picture)


async def test_the_mirrored_photograph_gives_the_mirrored_face(
    trained_engine: EmbeddedEngine, photograph: Pixels
) -> None:
    await assert_mirrored(trained_engine, photograph)


async def assert_mirrored(engine: EmbeddedEngine, picture: Pixels) -> None:
    square, seen = await extracted(engine, picture)
    mirrored_square, mirrored = await extracted(engine, np.ascontiguousarray(picture[:, ::-1]))
    assert degrees(mirrored) == pytest.approx(degrees(seen) * [1, -1, -1], abs=8)
    expected = landmarks(square, seen)[MorphableModel.shipped().landmark_mirror]
    expected[:, 0] = picture.shape[1] - expected[:, 0]
    distances = np.linalg.norm(landmarks(mirrored_square, mirrored) - expected, axis=1)
    assert distances.mean() < MIRROR_ERROR * square[2]
