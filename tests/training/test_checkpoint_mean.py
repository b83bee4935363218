"""Two trainings are averaged weight by weight, and only if they are of one network."""

import pytest

torch = pytest.importorskip("torch", reason="training needs the extra `training`")

from training.checkpoint_mean import mean_state  # noqa: E402


def test_each_weight_is_the_mean_of_both() -> None:
    mean = mean_state({"w": torch.tensor([1.0, 3.0])}, {"w": torch.tensor([3.0, 5.0])})
    assert mean["w"].tolist() == [2.0, 4.0]


def test_states_of_different_networks_are_refused() -> None:
    with pytest.raises(ValueError, match="not of one network"):
        mean_state({"w": torch.zeros(2)}, {"w": torch.zeros(3)})
