"""The margin over people: who counts, and that it asks for more than being right."""

import pytest

torch = pytest.importorskip("torch", reason="training needs the extra `training`")

from training.descriptor_networks import unit  # noqa: E402
from training.margin_loss import PeopleMargin  # noqa: E402

PEOPLE = ["ann", "ann", "bob", "bob", "once"]


def targets() -> "torch.Tensor":
    return torch.eye(3)[[0, 0, 1, 1, 2]]


def test_whoever_is_shown_once_teaches_nothing() -> None:
    margin = PeopleMargin(PEOPLE, targets())
    assert len(margin.centres) == 2
    embeddings = torch.eye(3).requires_grad_()
    loss = margin(embeddings[2:], torch.tensor([4]))
    loss.backward()
    assert loss.item() == 0.0
    assert embeddings.grad is not None
    assert not embeddings.grad.any()


def test_the_loss_is_small_at_ones_own_centre_and_large_at_anothers() -> None:
    margin = PeopleMargin(PEOPLE, targets())
    rows = torch.tensor([0, 2])
    right, wrong = margin(torch.eye(3)[[0, 1]], rows).item(), margin(torch.eye(3)[[1, 0]], rows).item()
    assert right < 0.01 < 10.0 < wrong


def test_a_face_that_is_only_just_right_still_learns() -> None:
    margin = PeopleMargin(PEOPLE, targets())
    just_right = unit(torch.tensor([[1.0, 0.95, 0.0]]))
    assert margin(just_right, torch.tensor([0])).item() > 1.0
