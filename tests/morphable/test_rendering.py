"""Promises of the pictures drawn from descriptors."""

import numpy as np
import pytest

from semface.descriptors import GROUPS
from semface.errors import Reason, SemfaceError
from semface.morphable import overlay, render

BACKGROUND = (0, 0, 255)


def face(**groups: list[float]) -> np.ndarray:
    descriptors = np.zeros(257, np.float32)
    for group, values in groups.items():
        descriptors[GROUPS[group].start : GROUPS[group].start + len(values)] = values
    return descriptors


def covered(picture: np.ndarray) -> np.ndarray:
    return (picture != BACKGROUND).any(axis=2)


def test_a_render_shows_one_face_in_the_middle() -> None:
    mask = covered(render(face(), 96, BACKGROUND))
    assert mask[48, 48]
    assert 0.2 < mask.mean() < 0.9


def test_a_head_moved_right_is_seen_further_right() -> None:
    middle, moved = (covered(render(face(translation=[x]), 96, BACKGROUND)) for x in (0.0, 30.0))
    assert np.nonzero(moved)[1].mean() > np.nonzero(middle)[1].mean() + 5


def test_darker_light_gives_a_darker_face() -> None:
    dark = [0.0] * 27
    dark[0] = dark[9] = dark[18] = -0.5
    assert render(face(illumination=dark), 64).mean() < 0.7 * render(face(), 64).mean()


def test_another_texture_gives_another_picture() -> None:
    change = np.abs(render(face(texture=[3.0]), 64).astype(int) - render(face(), 64)).mean()
    assert change > 2.0


def test_the_mesh_is_drawn_over_the_square_only() -> None:
    photograph = np.full((120, 160, 3), 90, np.uint8)
    drawn = overlay(photograph, (60.0, 20.0, 80.0), face())
    changed = (drawn != photograph).any(axis=2)
    assert drawn.shape == photograph.shape
    assert changed[20:100, 60:140].mean() > 0.1
    assert not changed[:, :40].any()


def test_numbers_that_are_no_descriptors_are_refused() -> None:
    with pytest.raises(SemfaceError) as short:
        render(np.zeros(256, np.float32))
    with pytest.raises(SemfaceError) as infinite:
        render(face(shape=[np.inf]))
    assert (short.value.reason, infinite.value.reason) == (Reason.DESCRIPTOR_SHAPE, Reason.NOT_FINITE)
