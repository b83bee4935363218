"""Where DAN and SLFER start: weights of the network that imitates the identity teacher, in whole or not at all."""

from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="training needs the extra `training`")
pytest.importorskip("tqdm")

from training.identity_start import IdentityImitator, load_start, start_path  # noqa: E402
from training.residual_network import ResidualNetwork  # noqa: E402


@pytest.fixture
def imitator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> IdentityImitator:
    monkeypatch.setenv("SEMFACE_CACHE", str(tmp_path))
    network = IdentityImitator(4)
    start_path(4).parent.mkdir()
    torch.save(network.backbone.state_dict(), start_path(4))
    return network


def test_a_backbone_takes_over_the_start(imitator: IdentityImitator) -> None:
    backbone = ResidualNetwork(4)
    load_start(backbone, 4)
    for name, value in imitator.backbone.state_dict().items():
        torch.testing.assert_close(backbone.state_dict()[name], value)


def test_squeeze_and_excitation_begins_near_what_the_start_was(imitator: IdentityImitator) -> None:
    attentive = ResidualNetwork(4, squeeze_excitation=True).eval()
    load_start(attentive, 4)
    pictures = torch.randn(2, 1, 56, 56, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        ours, start = attentive(pictures).flatten(), imitator.backbone.eval()(pictures).flatten()
    assert torch.corrcoef(torch.stack([ours, start]))[0, 1] > 0.9


def test_a_start_of_another_network_or_none_is_refused(imitator: IdentityImitator) -> None:
    with pytest.raises(FileNotFoundError, match="identity_start --width 8"):
        load_start(ResidualNetwork(8), 8)
    state = imitator.backbone.state_dict()
    torch.save({f"backbone.{name}": value for name, value in state.items()}, start_path(4))
    with pytest.raises(ValueError, match="another network"):
        load_start(ResidualNetwork(4), 4)


def test_what_is_imitated_has_length_one() -> None:
    vectors = IdentityImitator(4).eval()(torch.randn(3, 1, 56, 56))
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(3))
