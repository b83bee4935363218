import numpy as np
import pytest

from semface.extraction.alignment import CROP_SCALE, crop_face, face_square


def test_the_square_has_the_centre_of_the_box_and_its_longer_side_scaled() -> None:
    left, top, side = face_square((10, 20, 50, 80))
    assert side == pytest.approx(60 * CROP_SCALE)
    assert (left + side / 2, top + side / 2) == pytest.approx((30, 50))


def test_a_square_of_the_crops_own_size_is_copied_pixel_by_pixel() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (200, 220, 3), dtype=np.uint8)
    np.testing.assert_array_equal(crop_face(picture, (30.0, 40.0, 112.0)), picture[40:152, 30:142])


def test_outside_the_picture_is_black() -> None:
    crop = crop_face(np.full((112, 112, 3), 255, np.uint8), (-56.0, 0.0, 112.0))
    assert not crop[:, :56].any()
    assert (crop[:, 56:] == 255).all()


def test_a_square_beside_the_picture_is_all_black() -> None:
    picture = np.full((50, 50, 3), 255, np.uint8)
    for left, top in ((500.0, 0.0), (-500.0, 0.0), (0.0, 500.0), (0.0, -500.0)):
        assert not crop_face(picture, (left, top, 60.0)).any()


def test_shrinking_does_not_alias() -> None:
    stripes = np.zeros((448, 448, 3), np.uint8)
    stripes[:, ::2] = 255
    crop = crop_face(stripes, (0.0, 0.0, 448.0))
    assert crop[:, 2:-2].astype(float).std() < 3
    assert crop.mean() == pytest.approx(127.5, abs=2)


@pytest.mark.parametrize("side", [20.0, 112.0, 300.0])
def test_a_gradient_keeps_its_place_at_every_scale(side: float) -> None:
    columns = np.arange(400, dtype=float)
    picture = np.repeat(np.repeat((columns / 2).astype(np.uint8)[None, :, None], 400, 0), 3, 2)
    crop = crop_face(picture, (50.0, 50.0, side)).astype(float)
    # The centre of pixel i of the crop lies at 50 + (i + ½) · side / 112 in the picture.
    expected = (50 + (np.arange(112) + 0.5) * side / 112 - 0.5) / 2
    assert np.abs(crop[56, 3:-3, 0] - expected[3:-3]).max() < 1.1
