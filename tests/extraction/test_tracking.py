import numpy as np

from semface.extraction.tracking import LONGEST_ABSENCE, Tracker


def box(x: float, side: float = 40.0) -> np.ndarray:
    return np.array([x, 10, x + side, 10 + side], np.float32)


def test_a_moving_face_keeps_its_number() -> None:
    tracker = Tracker()
    assert [tracker.assign([box(8 * step)]) for step in range(6)] == [[1]] * 6


def test_two_faces_keep_their_numbers_whatever_their_order() -> None:
    tracker = Tracker()
    assert tracker.assign([box(0), box(100)]) == [1, 2]
    assert tracker.assign([box(104), box(4)]) == [2, 1]


def test_a_number_goes_to_the_box_that_overlaps_most_and_to_no_other() -> None:
    tracker = Tracker()
    tracker.assign([box(0)])
    assert tracker.assign([box(12), box(3)]) == [2, 1]


def test_a_face_that_comes_back_soon_is_itself_and_one_that_comes_late_is_new() -> None:
    tracker = Tracker()
    tracker.assign([box(0)])
    for _ in range(LONGEST_ABSENCE):
        assert tracker.assign([]) == []
    assert tracker.assign([box(2)]) == [1]
    for _ in range(LONGEST_ABSENCE + 1):
        tracker.assign([])
    assert tracker.assign([box(2)]) == [2]


def test_a_face_elsewhere_is_another() -> None:
    tracker = Tracker()
    tracker.assign([box(0)])
    assert tracker.assign([box(200)]) == [2]
