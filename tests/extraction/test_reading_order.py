import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from semface.extraction.reading_order import reading_order

coordinates = st.integers(-100, 1000)
boxes = st.lists(
    st.tuples(coordinates, coordinates, st.integers(10, 200), st.integers(10, 200)), unique=True, max_size=8
).map(lambda found: [np.array([x, y, x + w, y + h], np.float32) for x, y, w, h in found])


def box(x: float, y: float, side: float = 40.0) -> np.ndarray:
    return np.array([x, y, x + side, y + side], np.float32)


def test_rows_are_read_from_top_to_bottom_and_each_from_left_to_right() -> None:
    assert reading_order([box(100, 200), box(0, 0), box(0, 200), box(100, 0)]) == [1, 3, 2, 0]


def test_faces_at_nearly_the_same_height_stand_from_left_to_right_whichever_is_higher() -> None:
    for shake in np.random.default_rng(0).uniform(-9, 9, (20, 3)):
        row = [box(120 * place, 50 + shift) for place, shift in enumerate(shake)]
        assert reading_order(row) == [0, 1, 2]


def test_a_child_before_a_parent_is_in_a_row_of_its_own() -> None:
    parent, child = box(0, 0, side=100), box(10, 70, side=60)
    assert reading_order([child, parent]) == [1, 0]


def test_nothing_has_no_order() -> None:
    assert reading_order([]) == []


@given(boxes, st.randoms())
def test_the_order_is_that_of_the_picture_and_not_of_the_detector(found: list[np.ndarray], random: object) -> None:
    shuffled = sorted(found, key=lambda _: random.random())  # type: ignore[attr-defined]
    ordered, again = ([each[i] for i in reading_order(each)] for each in (found, shuffled))
    assert len(ordered) == len(found)
    assert all((a == b).all() for a, b in zip(ordered, again, strict=True))


@given(boxes)
def test_a_face_that_lies_whole_above_another_is_told_first(found: list[np.ndarray]) -> None:
    order = reading_order(found)
    for place, index in enumerate(order):
        assert all(found[later][3] > found[index][1] for later in order[place + 1 :])
