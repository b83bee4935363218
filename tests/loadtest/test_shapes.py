"""The shapes of load change the number of users as their names say."""

from loadtest.shapes import SHAPES


def test_every_shape_stays_between_no_users_and_all() -> None:
    for shape in SHAPES.values():
        assert all(0 <= shape(step / 100) <= 1 for step in range(100))


def test_a_ramp_grows_evenly_and_a_soak_stays() -> None:
    assert [SHAPES["ramp"](passed) for passed in (0.0, 0.5, 0.9)] == [0.0, 0.5, 0.9]
    assert {SHAPES["soak"](step / 10) for step in range(10)} == {1.0}


def test_steps_hold_each_level_for_as_long_and_end_at_all() -> None:
    levels = [SHAPES["steps"](step / 800) for step in range(800)]
    assert sorted(set(levels)) == [step / 8 for step in range(1, 9)]
    assert all(levels.count(level) == 100 for level in set(levels))


def test_a_spike_is_short_and_goes_back() -> None:
    assert [SHAPES["spike"](passed) for passed in (0.1, 0.5, 0.9)] == [0.1, 1.0, 0.1]
