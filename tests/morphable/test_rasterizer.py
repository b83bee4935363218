"""Promises of the rasteriser."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from semface.errors import SemfaceError
from semface.morphable.rasterizer import rasterize

TRIANGLE = np.array([[0, 1, 2]], np.int32)


def test_a_triangle_covers_half_of_its_square() -> None:
    points = np.array([[0.0, 0.0], [0.0, 64.0], [64.0, 64.0]])
    seen = rasterize(points, np.ones(3), TRIANGLE, 64, 64)
    assert (seen.triangle >= 0).mean() == pytest.approx(0.5, abs=0.02)


def test_the_nearer_triangle_hides_the_farther_whatever_their_order() -> None:
    points = np.tile([[0.0, 0.0], [0.0, 32.0], [32.0, 32.0]], (2, 1))
    for near in (0, 1):
        depth = np.full(6, 2.0)
        depth[near * 3 : near * 3 + 3] = 1.0
        seen = rasterize(points, depth, np.arange(6, dtype=np.int32).reshape(2, 3), 32, 32)
        assert set(np.unique(seen.triangle)) == {-1, near}


def test_a_triangle_that_shows_its_back_is_not_drawn() -> None:
    points = np.array([[0.0, 0.0], [64.0, 64.0], [0.0, 64.0]])
    assert (rasterize(points, np.ones(3), TRIANGLE, 64, 64).triangle < 0).all()


def test_a_triangle_far_larger_than_the_picture_covers_it() -> None:
    points = np.array([[-9e6, -9e6], [-9e6, 9e6], [9e6, 0.0]])
    assert (rasterize(points, np.ones(3), TRIANGLE, 64, 64).triangle == 0).all()


def test_more_large_triangles_than_a_face_has_are_refused() -> None:
    points = np.array([[-9e6, -9e6], [-9e6, 9e6], [9e6, 0.0]])
    with pytest.raises(SemfaceError, match="too near"):
        rasterize(points, np.ones(3), np.repeat(TRIANGLE, 100, axis=0), 512, 512)


@given(st.lists(st.floats(-40.0, 100.0), min_size=6, max_size=6))
def test_weights_give_back_the_place_of_each_pixel(numbers: list[float]) -> None:
    points = np.array(numbers).reshape(3, 2)
    seen = rasterize(points, np.ones(3), TRIANGLE, 48, 48)
    rows, columns = np.nonzero(seen.triangle >= 0)
    places = seen.weights[rows, columns].astype(float) @ points
    assert places == pytest.approx(np.stack([columns, rows], axis=1) + 0.5, abs=1e-2)
