"""Promises of the light."""

import numpy as np
import pytest

from semface.morphable.illumination import harmonics, shading


def directions(count: int) -> np.ndarray:
    values = np.random.default_rng(0).normal(size=(1, count, 3))
    return values / np.linalg.norm(values, axis=-1, keepdims=True)


def test_no_illumination_numbers_mean_even_white_light() -> None:
    assert shading(directions(50), np.zeros((1, 27))) == pytest.approx(np.ones((1, 50, 3)))


def test_the_first_number_of_a_colour_brightens_that_colour_alone() -> None:
    light = np.zeros((1, 27))
    light[0, 9] = 0.5
    assert shading(directions(5), light)[0] == pytest.approx(np.tile([1.0, 1.5, 1.0], (5, 1)))


def test_light_from_above_falls_on_what_looks_up() -> None:
    light = np.zeros((1, 27))
    light[0, [1, 10, 19]] = 0.3
    up, down = np.array([[[0.0, 1.0, 0.0]]]), np.array([[[0.0, -1.0, 0.0]]])
    assert shading(up, light).min() > 1.0 > shading(down, light).max()


def test_the_harmonics_are_orthonormal_over_the_sphere() -> None:
    basis = harmonics(directions(200_000))[0]
    assert basis.T @ basis / len(basis) == pytest.approx(np.eye(9), abs=0.02)
