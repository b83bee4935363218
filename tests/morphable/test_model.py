"""Promises of the model that ships."""

import numpy as np
import pytest

from semface.descriptors import GROUP_SIZES
from semface.morphable import MorphableModel

INNER_LIPS = {13: 14, 82: 87, 312: 317, 81: 178, 311: 402}
"""Dense landmarks of the upper inner lip, and the one of the lower lip under each."""


@pytest.fixture(scope="module")
def model() -> MorphableModel:
    return MorphableModel.shipped()


def test_no_numbers_give_the_mean_head(model: MorphableModel) -> None:
    assert (model.vertices(np.zeros((1, 80)), np.zeros((1, 64)))[0] == model.mean_shape).all()


def test_the_mean_head_is_its_own_mirror_image(model: MorphableModel) -> None:
    mirrored = model.mean_shape[model.mirror] * [-1.0, 1.0, 1.0]
    assert np.abs(mirrored - model.mean_shape).max() < 0.5


@pytest.mark.parametrize("name", ["shape_basis", "texture_basis"])
def test_each_mode_is_symmetric_or_antisymmetric(model: MorphableModel, name: str) -> None:
    basis = getattr(model, name)
    mirrored = basis[:, model.mirror] * ([-1.0, 1.0, 1.0] if name == "shape_basis" else 1.0)
    size = np.linalg.norm(basis, axis=(1, 2))
    same = np.linalg.norm(basis - mirrored, axis=(1, 2)) / size
    opposite = np.linalg.norm(basis + mirrored, axis=(1, 2)) / size
    assert np.minimum(same, opposite).max() < 0.1


def test_the_bases_have_the_sizes_of_their_groups(model: MorphableModel) -> None:
    bases = {"shape": model.shape_basis, "texture": model.texture_basis, "expression": model.expression_basis}
    assert {group: len(basis) for group, basis in bases.items()} == {group: GROUP_SIZES[group] for group in bases}


def test_a_head_is_as_large_as_a_head(model: MorphableModel) -> None:
    width, height, _ = np.ptp(model.mean_shape, axis=0)
    assert 130 < width < 200
    assert 200 < height < 320


def test_landmarks_lie_where_their_names_say(model: MorphableModel) -> None:
    points = model.landmarks(model.mean_shape[None])[0]
    right_eye, left_eye, nose, chin = points[33], points[263], points[1], points[152]
    assert right_eye[0] < nose[0] < left_eye[0]
    assert right_eye[1] > nose[1] > chin[1]
    assert nose[2] == pytest.approx(points[:, 2].max(), abs=3.0)
    assert points[13, 1] >= points[14, 1]


def test_normals_point_outwards(model: MorphableModel) -> None:
    normals = model.normals(model.mean_shape[None])[0]
    assert np.linalg.norm(normals, axis=1) == pytest.approx(np.ones(len(normals)), abs=1e-3)
    assert normals[model.landmark_corners[1], 2].mean() > 0.5


def test_colours_stay_between_black_and_white(model: MorphableModel) -> None:
    albedo = model.albedo(np.random.default_rng(0).normal(size=(4, 80)) * 5)
    assert 0.0 <= albedo.min() <= albedo.max() <= 255.0


@pytest.mark.parametrize(("name", "least"), [("shape_basis", 0.1), ("expression_basis", 0.1), ("texture_basis", 0.5)])
def test_each_direction_can_be_seen_at_one_standard_deviation(model: MorphableModel, name: str, least: float) -> None:
    """Shape and expression move a vertex of the face by 0.1 mm, texture changes a colour of it by half a grey level."""
    seen = getattr(model, name)[:, model.face_region]
    strength = np.abs(seen).max(axis=(1, 2)) if name == "texture_basis" else np.linalg.norm(seen, axis=2).max(axis=1)
    assert strength.min() >= least


def test_the_mirror_image_of_an_expression_is_an_expression(model: MorphableModel) -> None:
    # Units that move one side only have their partner on the other.
    own = model.expression_basis.reshape(64, -1)
    mirrored = (model.expression_basis[:, model.mirror] * [-1.0, 1.0, 1.0]).reshape(64, -1)
    shares = np.linalg.lstsq(own.T, mirrored.T, rcond=None)[0]
    left_over = np.linalg.norm(mirrored - shares.T @ own, axis=1) / np.linalg.norm(mirrored, axis=1)
    assert left_over.max() < 0.1


@pytest.mark.parametrize(("upper", "lower"), [(159, 145), (386, 374)])
def test_an_expression_within_three_deviations_closes_an_eye(model: MorphableModel, upper: int, lower: int) -> None:
    mean, moved = model.landmarks(model.mean_shape[None])[0], model.landmarks(model.expression_basis)
    gap, closing = mean[upper, 1] - mean[lower, 1], moved[:, upper, 1] - moved[:, lower, 1]
    assert gap > 0
    assert gap / np.linalg.norm(closing) < 3.0


def test_an_expression_within_three_deviations_closes_the_lips(model: MorphableModel) -> None:
    """The mean of photographs that people call neutral parts its lips a little; the units bring them together."""
    mean, moved = model.landmarks(model.mean_shape[None])[0], model.landmarks(model.expression_basis)
    upper, lower = list(INNER_LIPS), list(INNER_LIPS.values())
    gap, closing = mean[upper, 1] - mean[lower, 1], moved[:, upper, 1] - moved[:, lower, 1]
    strengths = np.linalg.solve(closing @ closing.T + 0.1 * np.eye(len(closing)), -closing @ gap)
    assert gap.min() > 0
    assert np.abs(strengths).max() < 3.0
    assert np.abs(gap + strengths @ closing).max() < 0.3
