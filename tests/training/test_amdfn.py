"""AMDFN's network, augmentation and recipe on made-up attribute images."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs the extra `training`")

import torch

from semface.meaning import SCAN_EXPRESSIONS
from training.amdfn import judge, parse
from training.amdfn_augmentation import augment, mirrored_labels
from training.amdfn_network import (
    ATTRIBUTES,
    AttentionFusionNetwork,
    FeatureFusion,
    LayerAttention,
    ScoreFusion,
    parameter_count,
)
from training.own_data import IncompleteDataError
from training.scan_data import TAKES, ScanImages, load


def made_up(count: int = 4) -> torch.Tensor:
    images = torch.from_numpy(np.random.default_rng(0).uniform(0.1, 0.9, (count, 8, 112, 112)).astype(np.float32))
    images[:, :, :20] = 0
    return images


@pytest.mark.parametrize("attention", [True, False])
def test_every_weight_learns(attention: bool) -> None:
    network = AttentionFusionNetwork(width=8, attention=attention)
    logits = network(made_up())
    assert logits.shape == (4, 16)
    torch.nn.functional.cross_entropy(logits, torch.arange(4)).backward()
    still = [name for name, weight in network.named_parameters() if weight.grad is None or not weight.grad.any()]
    # The gate's ReLU may be closed for all four.
    assert [name for name in still if not name.startswith("attention.gate")] == []


def test_attention_weighs_whole_layers() -> None:
    attention = LayerAttention()
    with torch.no_grad():
        attention.gate.weight.zero_()
        attention.gate.bias.copy_(torch.tensor([0.0, 1.0, 2.0, -5.0]))
    layers = [torch.full((2, 3, 4, 4), value) for value in (1.0, 1.0, 1.0, 1.0)]
    weighed = attention(layers).reshape(2, 4, 3, 4, 4)
    wanted = torch.sigmoid(torch.tensor([0.0, 1.0, 2.0, 0.0]))
    torch.testing.assert_close(weighed, wanted[None, :, None, None, None].expand(2, 4, 3, 4, 4))


def test_one_channel_alone_sees_nothing_else() -> None:
    network = AttentionFusionNetwork(ATTRIBUTES["depth"], width=8).eval()
    images = made_up()
    changed = images.clone()
    changed[:, :3] = 0
    changed[:, 4:] = 0
    torch.testing.assert_close(network(images), network(changed))


def test_fusion_of_the_data_needs_fewest_parameters() -> None:
    data, features, scores = (parameter_count(kind()) for kind in (AttentionFusionNetwork, FeatureFusion, ScoreFusion))
    assert data < 0.43 * min(features, scores)
    with torch.inference_mode():
        told = ScoreFusion(width=8).eval()(made_up(2))
    torch.testing.assert_close(told.exp().sum(dim=1), torch.ones(2))


def test_a_mirror_changes_the_names_of_left_and_right_only() -> None:
    names = [SCAN_EXPRESSIONS[number] for number in mirrored_labels().tolist()]
    changed = {before: after for before, after in zip(SCAN_EXPRESSIONS, names, strict=True) if before != after}
    assert changed == {
        "jaw_left": "jaw_right",
        "jaw_right": "jaw_left",
        "mouth_left": "mouth_right",
        "mouth_right": "mouth_left",
    }


def test_augmentation_keeps_what_is_empty_empty_and_is_the_same_again() -> None:
    images, labels, mirrored = made_up(16), torch.arange(16), mirrored_labels()
    first, told = augment(images.clone(), labels, mirrored, np.random.default_rng(1))
    again, _ = augment(images.clone(), labels, mirrored, np.random.default_rng(1))
    torch.testing.assert_close(first, again)
    assert not first[:, :, :16].any()
    assert ((told == labels) | (told == mirrored[labels])).all()
    assert (first[:, 5:].amax(dim=(1, 2, 3)) == 0).any()


def test_where_the_texture_is_all_there_is_no_scan_loses_it() -> None:
    images, _ = augment(made_up(64), torch.arange(64) % 16, mirrored_labels(), np.random.default_rng(1), no_texture=0.0)
    assert images[:, 5:].amax(dim=(1, 2, 3)).gt(0).all()


def test_a_person_is_seen_as_often_where_there_is_one_scan_of_each_expression(tmp_path: Path) -> None:
    ours, own = parse([]), parse(["--data", f"facescape={tmp_path}"])
    assert own.epochs == ours.epochs * TAKES
    assert parse(["--data", f"facescape={tmp_path}", "--epochs", "3"]).epochs == 3


def test_scans_that_were_not_drawn_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEMFACE_CACHE", str(tmp_path))
    (tmp_path / "scans").mkdir()
    for person in (0, 1):
        np.save(tmp_path / f"scans/person-{person:03d}-take-0.npy", np.ones((16, 8, 4, 4), np.float16))
    assert load(range(2), takes=1).people.tolist() == [0] * 16 + [1] * 16
    with pytest.raises(IncompleteDataError, match="2 of 4"):
        load(range(2), takes=2)


def test_a_face_that_was_not_found_counts_as_wrong() -> None:
    class Right(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return 9 * torch.eye(16)[images[:, 0, 0, 0].round().long()]

    labels = np.tile(np.arange(16), 2)
    images = np.zeros((32, 8, 4, 4), np.float16)
    images[:, 0] = labels[:, None, None]
    found = np.ones(32, bool)
    found[[3, 20]] = False
    figures, confusion = judge(Right(), ScanImages(images, labels, np.repeat([7, 9], 16), found))
    assert figures["accuracy"] == pytest.approx(30 / 32)
    assert figures["not_found"] == 2
    assert confusion.sum() == np.trace(confusion) == 30
