"""What the heads promise: they learn what descriptors tell of identity and expression."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the extra `training`")

from semface.descriptors import DESCRIPTOR_SIZE  # noqa: E402
from semface.morphable.model import MorphableModel  # noqa: E402
from training.extractor_losses import MorphableLosses, Weights  # noqa: E402
from training.task_heads import judge, train  # noqa: E402


def test_heads_learn_identity_and_expression_from_descriptors() -> None:
    torch.manual_seed(0)
    descriptors, labels = torch.randn(600, DESCRIPTOR_SIZE), torch.arange(600) % 8
    # A direction of the numbers for each expression, and another map of them for identity.
    descriptors[:, 160:168] += 3.0 * torch.eye(8)[labels]
    embedding = torch.nn.functional.normalize(descriptors[:, :160] @ torch.randn(160, 512), dim=1)
    heads = MorphableLosses(MorphableModel.shipped(), np.arange(10), Weights())
    before = judge(heads, descriptors, embedding, labels)
    train(heads, descriptors, embedding, torch.eye(8)[labels], steps=200)
    after = judge(heads, descriptors, embedding, labels)
    assert after["identity_cosine"] > before["identity_cosine"] + 0.3
    assert after["expression_accuracy"] > 0.9


def test_a_face_without_a_label_is_no_part_of_the_accuracy() -> None:
    heads = MorphableLosses(MorphableModel.shipped(), np.arange(10), Weights())
    descriptors = torch.randn(4, DESCRIPTOR_SIZE)
    told = heads.classify(descriptors).argmax(dim=1)
    told[2:] = -1
    assert judge(heads, descriptors, torch.zeros(4, 512), told)["expression_accuracy"] == 1.0
