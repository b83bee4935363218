import numpy as np
import pytest

from semface.descriptors import DESCRIPTOR_SIZE
from semface.extraction.tracking import LONGEST_ABSENCE, Tracker

ANNA, BERT = np.random.default_rng(3).standard_normal((2, DESCRIPTOR_SIZE)).astype(np.float32)
"""Two people; their numbers have nothing in common."""


def box(x: float, y: float = 10.0, side: float = 40.0) -> np.ndarray:
    return np.array([x, y, x + side, y + side], np.float32)


def wavering(person: np.ndarray, step: int) -> np.ndarray:
    """Return a person's numbers as another frame gives them."""
    return person + np.random.default_rng(step).normal(0, 0.5, person.shape).astype(np.float32)


class Scene:
    """A moving picture of Anna and Bert, each where it is told, or missing."""

    def __init__(self) -> None:
        self._tracker = Tracker()
        self._step = 0

    def frame(self, anna: float | None = None, bert: float | None = None, *, swapped: bool = False) -> list[int | None]:
        """Show the two at these places, in the answer Bert first where ``swapped``; return their numbers."""
        self._step += 1
        people = {0: (anna, ANNA), 1: (bert, BERT)}
        order = [who for who in ((1, 0) if swapped else (0, 1)) if people[who][0] is not None]
        boxes = [box(place) for place in (people[who][0] for who in order) if place is not None]
        numbers = self._tracker.assign(boxes, [wavering(people[who][1], 2 * self._step + who) for who in order])
        found = dict(zip(order, numbers, strict=True))
        return [found.get(0), found.get(1)]


def test_a_moving_face_keeps_its_number() -> None:
    scene = Scene()
    assert [scene.frame(anna=8 * step) for step in range(6)] == [[1, None]] * 6


@pytest.mark.parametrize("side", [40.0, 90.0])
def test_a_face_that_comes_to_move_by_more_than_its_size_from_frame_to_frame_keeps_its_number(side: float) -> None:
    tracker = Tracker()
    places = side * np.cumsum([0, 0.4, 0.7, 0.9, 1.1, 1.2, 1.2])
    assert [tracker.assign([box(place, side=side)], [ANNA]) for place in places] == [[1]] * len(places)


def test_faces_keep_their_numbers_whatever_their_order() -> None:
    scene = Scene()
    for step in range(6):
        assert scene.frame(anna=4 * step, bert=100 + 4 * step, swapped=step % 2 == 1) == [1, 2]


def test_a_number_goes_to_the_box_that_fits_best_and_to_no_other() -> None:
    tracker = Tracker()
    tracker.assign([box(0)], [ANNA])
    assert tracker.assign([box(12), box(3)], [ANNA, ANNA]) == [2, 1]


def test_faces_that_pass_through_each_other_keep_their_numbers() -> None:
    scene = Scene()
    for step in range(24):
        assert scene.frame(anna=8 * step, bert=184 - 8 * step, swapped=8 * step > 92) == [1, 2]


def test_a_face_hidden_behind_another_comes_out_on_the_other_side_as_itself() -> None:
    scene = Scene()
    for step in range(24):
        hidden = abs(184 - 16 * step) < 30
        assert scene.frame(anna=8 * step, bert=None if hidden else 184 - 8 * step) == [1, None if hidden else 2]


def test_faces_that_meet_and_turn_back_keep_their_numbers() -> None:
    scene = Scene()
    for step in range(24):
        way = min(step, 23 - step)
        hidden = way > 9
        assert scene.frame(anna=8 * way, bert=None if hidden else 184 - 8 * way) == [1, None if hidden else 2]


def test_a_face_that_comes_back_soon_is_itself_and_one_that_comes_late_is_new() -> None:
    scene = Scene()
    scene.frame(anna=0)
    for _ in range(LONGEST_ABSENCE):
        assert scene.frame() == [None, None]
    assert scene.frame(anna=2) == [1, None]
    for _ in range(LONGEST_ABSENCE + 1):
        scene.frame()
    assert scene.frame(anna=2) == [2, None]


def test_who_stands_where_another_was_a_moment_ago_is_another() -> None:
    scene = Scene()
    scene.frame(anna=0)
    scene.frame()
    assert scene.frame(bert=0) == [None, 2]


def test_a_face_elsewhere_is_another() -> None:
    scene = Scene()
    scene.frame(anna=0)
    assert scene.frame(anna=200) == [2, None]
