"""A face's square over many frames."""

import pytest

from semface.extraction.steadiness import GROWTH, REACH, SteadySquare


def test_a_trembling_box_leaves_the_square_still_and_a_face_that_leaves_takes_it_along() -> None:
    steady = SteadySquare()
    assert steady.follow(None) is None
    assert steady.follow((10.0, 10.0, 100.0)) == (10.0, 10.0, 100.0)
    assert steady.follow((13.0, 8.0, 104.0)) == (10.0, 10.0, 100.0)
    assert steady.follow(None) == (10.0, 10.0, 100.0)
    assert steady.follow((30.0, 10.0, 100.0)) == (30.0, 10.0, 100.0)
    assert steady.follow((30.0, 10.0, 130.0)) == (30.0, 10.0, 130.0)


@pytest.mark.parametrize("sign", [-1, 1])
def test_the_square_moves_where_its_middle_or_its_side_leaves_the_reach(sign: int) -> None:
    for share, follows in ((0.9, False), (1.1, True)):
        away = sign * share * REACH * 100
        for moved in ((away, 0.0, 100.0), (0.0, away, 100.0)):
            steady = SteadySquare()
            steady.follow((0.0, 0.0, 100.0))
            assert (steady.follow(moved) == moved) is follows
        side = 100 * (1 + share * (GROWTH - 1)) ** sign
        grown = ((100 - side) / 2, (100 - side) / 2, side)
        steady = SteadySquare()
        steady.follow((0.0, 0.0, 100.0))
        assert (steady.follow(grown) == grown) is follows
