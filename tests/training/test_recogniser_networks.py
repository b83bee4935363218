"""What DAN and SLFER are made of: losses as the papers have them, worked out by hand, and the shape of the networks."""

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the extra `training`")

from training.dan_network import AttentionNetwork, ClassCentres, partition_loss  # noqa: E402
from training.pixel_faces import SIDE  # noqa: E402
from training.residual_network import ResidualNetwork  # noqa: E402
from training.slfer_network import SemanticNetwork, classification_loss, segmentation_loss  # noqa: E402

TORCHVISION_RESNET18_WITHOUT_HEAD = 11_176_512
"""As its documentation counts it: 11,689,512 parameters, of which 513,000 are the last layer's."""


def parameters(network: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def pictures(count: int = 3) -> torch.Tensor:
    return torch.randn(count, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(0))


def test_at_its_whole_width_the_backbone_is_a_resnet18_but_for_its_first_kernel() -> None:
    ours = parameters(ResidualNetwork(64, inputs=3))
    assert ours == TORCHVISION_RESNET18_WITHOUT_HEAD - 64 * 3 * (7 * 7 - 3 * 3)


def test_the_stages_halve_the_side_and_double_the_channels() -> None:
    maps = ResidualNetwork(8, squeeze_excitation=True).maps(pictures())
    assert [tuple(stage.shape) for stage in maps] == [(3, 8, 28, 28), (3, 16, 14, 14), (3, 32, 7, 7), (3, 64, 4, 4)]


def test_affinity_is_the_squared_distance_over_the_variance_among_centres() -> None:
    centres = ClassCentres(3, 2)
    with torch.no_grad():
        centres.centres.copy_(torch.tensor([[0.0, 0.0], [2.0, 0.0], [4.0, 3.0]]))
    pooled, labels = torch.tensor([[1.0, 0.0], [2.0, 2.0]]), torch.tensor([0, 1])
    # Distances 1 and 4; variances of {0, 2, 4} and {0, 0, 3} are 4 and 3.
    assert centres.affinity_loss(pooled, labels).item() == pytest.approx(2.5 / 7.0)
    assert centres.centre_loss(pooled, labels).item() == pytest.approx((1.0 + 4.0) / 4.0)


def test_centres_further_apart_lower_the_affinity_loss_alone() -> None:
    near, far = ClassCentres(2, 2), ClassCentres(2, 2)
    with torch.no_grad():
        near.centres.copy_(torch.tensor([[0.0, 0.0], [1.0, 0.0]]))
        far.centres.copy_(torch.tensor([[0.0, 0.0], [5.0, 0.0]]))
    pooled, labels = torch.tensor([[0.5, 0.5]]), torch.tensor([0])
    assert far.affinity_loss(pooled, labels) < near.affinity_loss(pooled, labels)
    assert far.centre_loss(pooled, labels) == near.centre_loss(pooled, labels)


def test_the_partition_loss_is_the_papers() -> None:
    heads = torch.tensor([[[0.0, 1.0], [2.0, 1.5], [4.0, 2.0], [6.0, 2.5]]])
    variances = [20.0 / 3.0, 1.25 / 3.0]
    expected = np.mean([math.log(1.0 + 4.0 / variance) for variance in variances])
    assert partition_loss(heads).item() == pytest.approx(expected, rel=1e-3)


def test_heads_that_differ_lower_the_partition_loss_and_equal_ones_keep_it_finite() -> None:
    equal, apart = torch.ones(2, 4, 8), torch.arange(4.0).view(1, 4, 1).expand(2, 4, 8)
    assert partition_loss(apart) < partition_loss(equal)
    assert torch.isfinite(partition_loss(equal))


@pytest.mark.parametrize("heads", [1, 2, 4])
def test_dan_answers_with_its_heads_and_where_they_look(heads: int) -> None:
    seen = AttentionNetwork(8, classes=8, heads=heads).eval().attend(pictures())
    assert (seen.logits.shape, seen.pooled.shape) == ((3, 8), (3, 64))
    assert (seen.heads.shape, seen.places.shape) == ((3, heads, 64), (3, heads, 4, 4))
    assert (seen.places >= 0).all()
    if heads > 1:
        # A softmax over the heads.
        torch.testing.assert_close(seen.heads.exp().sum(dim=1), torch.ones(3, 64))


def test_the_classification_loss_has_the_sign_that_the_paper_forgot() -> None:
    told = torch.tensor([[2.0, -1.0], [0.0, 0.0]])
    dominant, known = torch.tensor([[1.0, 0.0], [1.0, 1.0]]), torch.tensor([1.0, 0.0])
    share = torch.sigmoid(told[0])
    expected = -(share[0].log() + (1 - share[1]).log())
    assert classification_loss(told, dominant, known).item() == pytest.approx(expected.item())
    assert classification_loss(told, dominant, torch.zeros(2)).item() == 0.0


def test_pixels_that_are_not_known_are_not_judged() -> None:
    pixels = torch.randn(1, 3, 2, 2, generator=torch.Generator().manual_seed(1))
    masks = torch.tensor([[[0, 255], [255, 2]]])
    log = pixels.log_softmax(dim=1)
    expected = -(log[0, 0, 0, 0] + log[0, 2, 1, 1]) / 2
    assert segmentation_loss(pixels, masks, 255).item() == pytest.approx(expected.item(), rel=1e-5)
    assert segmentation_loss(pixels, torch.full((1, 2, 2), 255), 255).item() == 0.0


def test_slfer_segments_the_whole_picture_and_answers_without_its_tasks() -> None:
    network = SemanticNetwork(8, classes=8, components=8).eval()
    told = network.tell(pictures())
    assert (told.pixels.shape, told.components.shape) == ((3, 8, SIDE, SIDE), (3, 8))
    answered = network(pictures())
    torch.testing.assert_close(answered, told.logits)
    del network.segmentation, network.classification
    torch.testing.assert_close(network(pictures()), answered)
