import numpy as np
import pytest
from PIL import Image

from semface.extraction.pyramid import LEVEL_MARGIN, SURROUNDINGS, Halved, Level, Size, draw, lay_out

WINDOW = 12


@pytest.fixture(params=[(640, 480), (480, 640), (48, 48), (4000, 100), (161, 97)], ids=str)
def size(request: pytest.FixtureRequest) -> Size:
    width, height = request.param
    return width, height


@pytest.fixture
def levels(size: Size) -> tuple[Level, ...]:
    return lay_out(size, WINDOW, 20.0, 1.5 * min(size))


def test_no_two_levels_share_a_pixel_of_the_canvas(levels: tuple[Level, ...]) -> None:
    width = max(level.left + level.frame[0] for level in levels)
    height = max(level.top + level.frame[1] for level in levels)
    used = np.zeros((height, width), int)
    for level in levels:
        used[level.top : level.top + level.frame[1], level.left : level.left + level.frame[0]] += 1
    assert used.max() == 1


def test_every_level_begins_where_a_pooling_window_begins(levels: tuple[Level, ...]) -> None:
    assert all(level.left % 2 == level.top % 2 == 0 for level in levels)


def test_the_levels_go_from_the_smallest_face_to_the_largest_and_the_area_halves(levels: tuple[Level, ...]) -> None:
    faces = np.array([level.face for level in levels])
    assert faces[0] == 20
    np.testing.assert_allclose((faces[1:] / faces[:-1]) ** 2, 2, rtol=0.01)


def test_each_level_shows_the_picture_inside_its_margin(size: Size, levels: tuple[Level, ...]) -> None:
    canvas = np.asarray(draw(Halved(Image.new("RGB", size, (200, 10, 10))), levels))
    for level in levels:
        top, left = level.top + LEVEL_MARGIN, level.left + LEVEL_MARGIN
        assert (canvas[top : top + level.size[1], left : left + level.size[0]] == (200, 10, 10)).all()
        assert (canvas[level.top : top, left] == SURROUNDINGS).all()


def test_a_picture_smaller_than_every_face_sought_has_no_level() -> None:
    assert lay_out((30, 30), WINDOW, 64.0, 48.0) == ()


def test_what_the_picture_shows_is_at_the_same_place_of_every_level(size: Size, levels: tuple[Level, ...]) -> None:
    width, height = size
    brightness = np.linspace(0, 255, width)[None] * np.ones((height, 1))
    picture = np.repeat(brightness.astype(np.uint8)[..., None], 3, axis=2)
    canvas = np.asarray(draw(Halved(Image.fromarray(picture)), levels)).astype(float)
    for level in levels:
        left, top = level.left + LEVEL_MARGIN, level.top + LEVEL_MARGIN
        # The last column may show less than a whole pixel.
        shown = canvas[top, left : left + level.size[0] - 1, 0]
        across = (np.arange(len(shown)) + 0.5) / level.scale[0]
        slope = 255 / (width - 1)
        # Within a pixel of the picture, and what rounding adds from level to level.
        assert np.abs(shown - (across - 0.5) * slope).max(initial=0) < max(slope, 3)


def test_a_picture_is_halved_from_the_half_and_odd_sides_keep_their_last_pixel() -> None:
    halved = Halved(Image.fromarray(np.arange(5, dtype=np.uint8)[None].repeat(3, axis=0)))
    assert np.asarray(halved.times(1)).tolist() == [[1, 3, 4], [1, 3, 4]]
    assert halved.times(2).size == (2, 1)


@pytest.mark.parametrize(("shrinking", "halvings"), [(0.3, 0), (1.0, 0), (1.99, 0), (2.0, 1), (3.9, 1), (8.0, 3)])
def test_no_picture_is_halved_below_what_is_wanted_of_it(shrinking: float, halvings: int) -> None:
    assert Halved(Image.new("L", (64, 64))).within(shrinking) == halvings
