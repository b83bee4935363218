import numpy as np
import pytest
from PIL import Image

from semface.extraction.pyramid import LEVEL_MARGIN, SURROUNDINGS, Level, draw, lay_out

WINDOW = 12


@pytest.fixture(params=[(640, 480), (480, 640), (48, 48), (4000, 100), (161, 97)], ids=str)
def levels(request: pytest.FixtureRequest) -> list[Level]:
    width, height = request.param
    return lay_out((width, height), WINDOW, 20.0, 1.5 * min(width, height))


def test_no_two_levels_share_a_pixel_of_the_canvas(levels: list[Level]) -> None:
    width = max(level.left + level.frame[0] for level in levels)
    height = max(level.top + level.frame[1] for level in levels)
    used = np.zeros((height, width), int)
    for level in levels:
        used[level.top : level.top + level.frame[1], level.left : level.left + level.frame[0]] += 1
    assert used.max() == 1


def test_every_level_begins_where_a_pooling_window_begins(levels: list[Level]) -> None:
    assert all(level.left % 2 == level.top % 2 == 0 for level in levels)


def test_the_levels_go_from_the_smallest_face_to_the_largest_and_the_area_halves(levels: list[Level]) -> None:
    faces = np.array([level.face for level in levels])
    assert faces[0] == 20
    np.testing.assert_allclose((faces[1:] / faces[:-1]) ** 2, 2, rtol=0.01)


def test_each_level_shows_the_picture_inside_its_margin(levels: list[Level]) -> None:
    canvas = np.asarray(draw(Image.new("RGB", levels[0].size, (200, 10, 10)), levels))
    for level in levels:
        top, left = level.top + LEVEL_MARGIN, level.left + LEVEL_MARGIN
        assert (canvas[top : top + level.size[1], left : left + level.size[0]] == (200, 10, 10)).all()
        assert (canvas[level.top : top, left] == SURROUNDINGS).all()


def test_a_picture_smaller_than_every_face_sought_has_no_level() -> None:
    assert lay_out((30, 30), WINDOW, 64.0, 48.0) == []
