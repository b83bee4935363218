"""Rate savings of curves whose saving is known."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from semface.evaluation.rate_accuracy.bjontegaard import monotone_cubic, rate_saving

THEIRS = [(400.0, 0.7), (800.0, 0.8), (1600.0, 0.88), (3200.0, 0.92)]


def test_half_the_bits_everywhere_is_a_saving_of_half() -> None:
    found = rate_saving([(bits / 2, accuracy) for bits, accuracy in THEIRS], THEIRS)
    assert found is not None
    assert found.saving == pytest.approx(0.5)
    assert (found.lowest, found.highest) == (0.7, 0.92)
    turned = rate_saving(THEIRS, [(bits / 2, accuracy) for bits, accuracy in THEIRS])
    assert turned is not None
    assert turned.saving == pytest.approx(-1.0)


def test_only_accuracies_that_both_reach_count() -> None:
    ours = [(100.0, 0.8), (200.0, 0.88), (400.0, 0.92), (800.0, 0.97)]
    found = rate_saving(ours, THEIRS)
    assert found is not None
    assert (found.lowest, found.highest) == (0.8, 0.92)
    assert found.saving == pytest.approx(1 - 1 / 8, abs=0.005)


def test_curves_that_reach_no_common_accuracy_have_no_saving() -> None:
    assert rate_saving([(100.0, 0.95), (200.0, 0.96)], THEIRS) is None
    assert rate_saving([(100.0, 0.9)], THEIRS) is None
    assert rate_saving([], THEIRS) is None


def test_a_point_that_costs_more_for_less_changes_nothing() -> None:
    ours = [(bits / 4, accuracy) for bits, accuracy in THEIRS]
    worse = [*ours, (500.0, 0.85), (900.0, 0.91)]
    assert rate_saving(worse, THEIRS) == rate_saving(ours, THEIRS)


@given(
    st.lists(st.tuples(st.floats(0.01, 1.0), st.floats(0.0, 3.0)), min_size=2, max_size=7),
    st.integers(0, 2**31),
)
def test_the_interpolation_goes_through_its_points_and_never_back(steps: list[tuple[float, float]], seed: int) -> None:
    x, y = np.cumsum(np.array(steps), axis=0).T
    np.testing.assert_allclose(monotone_cubic(x, y, x), y, atol=1e-9)
    at = np.sort(np.random.default_rng(seed).uniform(x[0], x[-1], 200))
    assert np.diff(monotone_cubic(x, y, at)).min() > -1e-9
