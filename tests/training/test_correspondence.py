"""Where dense landmarks lie: their mirror images and their places on the head."""

import numpy as np
import pytest

pytest.importorskip("scipy", reason="training needs the extra `training`")

from semface.morphable.model import MorphableModel
from training.correspondence import mirror_landmarks, symmetric_places

MODEL = MorphableModel.shipped()
INNER_LIPS = {88: 318, 89: 319, 95: 324, 78: 308, 87: 317}
"""Landmarks of the lower inner lip that lie near each other, and the opposite of each."""


def test_the_mirror_of_a_face_is_found_in_turned_and_noisy_faces() -> None:
    points = MODEL.landmarks(MODEL.mean_shape[None])
    faces = points + np.random.default_rng(1).normal(0.0, 1.0, (200, 1, 3))
    faces += np.random.default_rng(2).normal(0.0, 0.5, faces.shape)
    np.testing.assert_array_equal(mirror_landmarks(faces), MODEL.landmark_mirror)


def test_landmarks_at_the_corners_of_the_mouth_have_their_own_opposites() -> None:
    assert {number: int(MODEL.landmark_mirror[number]) for number in INNER_LIPS} == INNER_LIPS


def test_the_mirror_of_the_mirror_is_the_landmark() -> None:
    np.testing.assert_array_equal(MODEL.landmark_mirror[MODEL.landmark_mirror], np.arange(468))


def test_places_come_out_symmetric_and_on_the_surface() -> None:
    surface = MODEL.triangles[MODEL.face_region[MODEL.triangles].all(axis=1)]
    places = MODEL.landmarks(MODEL.mean_shape[None])[0]
    lopsided = places + np.random.default_rng(3).normal(0.0, 0.4, places.shape)
    corners, weights = symmetric_places(lopsided, MODEL.landmark_mirror, MODEL.mean_shape, surface)
    found = (MODEL.mean_shape[corners] * weights[..., None]).sum(axis=1)
    np.testing.assert_allclose(weights.sum(axis=1), 1.0)
    np.testing.assert_allclose(found[MODEL.landmark_mirror] * [-1.0, 1.0, 1.0], found, atol=0.5)
    assert np.linalg.norm(found - places, axis=1).mean() < 0.6
