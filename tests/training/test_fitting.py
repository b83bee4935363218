"""Promises of the fits of the morphable model to landmarks."""

import numpy as np
import pytest

from semface.morphable import MorphableModel
from semface.morphable.camera import project
from training.fitting import fit


@pytest.fixture(scope="module")
def landmark_model() -> tuple[np.ndarray, np.ndarray]:
    model = MorphableModel.shipped()
    basis = np.concatenate([model.landmarks(model.shape_basis), model.landmarks(model.expression_basis)])
    return model.landmarks(model.mean_shape[None])[0], basis


def seen(points: np.ndarray, rotation: np.ndarray, translation: np.ndarray) -> np.ndarray:
    """Return landmarks as the teacher gives them: fractions of the square, depth at the same scale."""
    flat, depth = project(points, rotation, translation)
    return np.concatenate([flat, (4.5 * (depth / depth.mean(axis=1, keepdims=True) - 1.0))[..., None]], axis=2)


def test_pose_and_landmarks_of_known_heads_come_back(landmark_model: tuple[np.ndarray, np.ndarray]) -> None:
    mean, basis = landmark_model
    random = np.random.default_rng(0)
    coefficients = random.normal(size=(20, len(basis))) * 0.7
    rotation = random.uniform(-0.4, 0.4, (20, 3))
    translation = random.uniform(-20.0, 20.0, (20, 3)) + np.array([0.0, 0.0, 60.0])
    points = mean + np.einsum("nk,klc->nlc", coefficients, basis)
    fits = fit(seen(points, rotation, translation), mean, basis)
    assert np.abs(fits.rotation - rotation).mean() < 0.02
    assert np.abs(fits.translation - translation)[:, :2].mean() < 3.0
    assert fits.error.max() < 0.004


def test_the_mean_head_needs_no_coefficients(landmark_model: tuple[np.ndarray, np.ndarray]) -> None:
    mean, basis = landmark_model
    fits = fit(seen(mean[None], np.zeros((1, 3)), np.zeros((1, 3))), mean, basis)
    assert np.abs(fits.coefficients).max() < 0.05
    assert np.abs(fits.rotation).max() < 0.01
