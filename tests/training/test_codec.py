"""The codec's recipe from end to end on a small synthetic set: trained, exported, served, resumed."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from semface.codec.core import Codec
from semface.codec.prior import Prior, codec_model_hash
from semface.descriptors import DESCRIPTOR_SIZE, GROUPS, PORTION_SLICES, Portion
from semface.inference.blocking import run_blocking
from semface.inference.embedded import EmbeddedEngine
from semface.morphable.model import MorphableModel

torch = pytest.importorskip("torch", reason="training needs the extra `training`")

from training import codec as recipe  # noqa: E402
from training import codec_network, datasets, paper_codec  # noqa: E402
from training.extractor_losses import MorphableLosses, Weights  # noqa: E402


def synthetic_faces(count: int) -> NDArray[np.float32]:
    """Return correlated Gaussian descriptors (N, 257) of very unequal deviations."""
    random = np.random.default_rng(3)
    mixing = random.normal(size=(DESCRIPTOR_SIZE, DESCRIPTOR_SIZE)) / 16
    for portion in Portion.ALL:
        outside = np.ones(DESCRIPTOR_SIZE, bool)
        outside[PORTION_SLICES[portion]] = False
        mixing[PORTION_SLICES[portion]][:, outside] = 0
    scales = np.repeat([1, 0.2, 30, 0.1], [224, 3, 3, 27])
    return (random.normal(size=(count, DESCRIPTOR_SIZE)) @ mixing * scales + scales).astype(np.float32)


def keep_heads(checkpoint: Path) -> None:
    """Write what the training of extraction leaves: the heads that stand for the two tasks, here untrained."""
    torch.manual_seed(5)
    model = MorphableModel.load()
    checkpoint.parent.mkdir(parents=True)
    torch.save(
        {"losses": MorphableLosses(model, np.flatnonzero(model.face_region), Weights()).state_dict()}, checkpoint
    )


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with a codec trained for two epochs."""
    cache, output = tmp_path_factory.mktemp("cache"), tmp_path_factory.mktemp("models")
    (cache / "descriptors").mkdir()
    names = [f"Person_{index % 400}_{index:04d}" for index in range(2000)]
    np.savez(cache / "descriptors" / "lfw.npz", names=np.array(names), descriptors=synthetic_faces(2000))
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("SEMFACE_CACHE", str(cache))
        keep_heads(datasets.extractor_checkpoint(frozenset()))
        recipe.main(["--output", str(output), "--epochs", "2", "--default-quality", "high"])
        first = codec_model_hash(output)
        # All epochs are kept, so a second run only exports again, and gives the same files.
        recipe.main(["--output", str(output), "--epochs", "2", "--default-quality", "high"])
    assert codec_model_hash(output) == first
    return output


def test_the_exported_codec_codes_more_finely_at_higher_qualities(trained: Path) -> None:
    codec, faces = Codec(EmbeddedEngine(trained), trained), synthetic_faces(60)
    assert [quality.name for quality in codec.prior.qualities][::6] == ["lowest", "highest"]
    assert codec.default_quality.name == "high"
    errors, bits = [], []
    for quality in codec.prior.qualities:
        frames = run_blocking(codec.encode(faces, quality.index))
        decoded = np.array([face.descriptors for face in run_blocking(codec.decode(frames))])
        errors.append(float((np.abs(decoded - faces) / faces.std(axis=0)).mean()))
        bits.append(8 * float(np.mean([len(frame) for frame in frames])))
    assert errors == sorted(errors, reverse=True)
    assert bits == sorted(bits)
    assert bits[0] < 300
    assert errors[-1] < 0.3


def test_faces_a_hundred_deviations_away_decode_to_finite_clamped_numbers(trained: Path) -> None:
    codec, faces = Codec(EmbeddedEngine(trained), trained), synthetic_faces(60)
    learned = np.concatenate([faces, recipe.turned(faces, 0)])
    mean, deviation = learned.mean(axis=0), learned.std(axis=0)
    far = mean + 100 * deviation * np.sign(faces[:8] - mean)
    for quality in codec.prior.qualities:
        for face in run_blocking(codec.decode(run_blocking(codec.encode(far, quality.index)))):
            assert np.isfinite(face.descriptors).all()
            assert (np.abs(face.descriptors - mean) < 10 * deviation).all()


def test_the_tables_hold_together_and_the_cards_tell_the_figures(trained: Path) -> None:
    prior = Prior.load(trained)
    names = ["lowest", "low", "medium", "medium-high", "high", "higher", "highest"]
    assert [quality.name for quality in prior.qualities] == names
    for name in ("codec_analysis", "codec_synthesis"):
        card = (trained / name / "card.md").read_text(encoding="utf-8")
        assert "| highest |" in card
        assert "of LFW" in card


def test_some_faces_are_learned_from_again_in_other_poses() -> None:
    faces = synthetic_faces(200)
    turned = recipe.turned(faces, 0)
    rotation = GROUPS["rotation"]
    assert len(turned) == 20
    assert (np.abs(turned[:, rotation]) <= recipe.TURNS).all()
    assert np.abs(turned[:, rotation]).max() > 0.5
    same = [row for row in turned if (np.delete(faces, rotation, axis=1) == np.delete(row, rotation)).all(axis=1).any()]
    assert len(same) == 20


def test_gdn_and_its_inverse_cancel_where_nothing_is_shared() -> None:
    forward, inverse = codec_network.GDN(5), codec_network.GDN(5, inverse=True)
    for layer in (forward, inverse):
        torch.nn.init.zeros_(layer.gamma_root)
        torch.nn.init.constant_(layer.beta_root, 2.0)
    values = torch.randn(7, 5)
    torch.testing.assert_close(inverse(forward(values)), values, rtol=1e-5, atol=1e-5)


def test_gdn_is_the_published_formula() -> None:
    layer = codec_network.GDN(3)
    values = torch.tensor([[1.0, -2.0, 3.0]])
    beta, gamma = layer.beta_root.square() + 1e-6, layer.gamma_root.square()
    expected = [
        float(values[0, i] / torch.sqrt(beta[i] + sum(gamma[j, i] * values[0, j] ** 2 for j in range(3))))
        for i in range(3)
    ]
    np.testing.assert_allclose(layer(values)[0].detach().numpy(), expected, rtol=1e-5)


def test_each_portion_has_networks_of_its_own() -> None:
    network = codec_network.CodecNetwork(synthetic_faces(300), codec_network.Widths(16, 12, 8), 2)
    values = torch.randn(1, DESCRIPTOR_SIZE, requires_grad=True)
    where = PORTION_SLICES[Portion.EXPRESSION]
    network.synthesise(network.analyse(values))[:, where].sum().backward()
    reached = np.flatnonzero(values.grad.numpy()[0])
    assert reached.min() >= where.start
    assert reached.max() < where.stop


def test_the_papers_codec_is_one_network_for_the_whole_face() -> None:
    network = codec_network.CodecNetwork(synthetic_faces(300), codec_network.WholeFace(16), 1)
    values = torch.randn(1, DESCRIPTOR_SIZE, requires_grad=True)
    latents = network.analyse(values)
    assert latents.shape == (1, 256)
    latents[0, 0].backward(retain_graph=True)
    assert (values.grad != 0).all()
    values.grad = None
    network.synthesise(latents)[0, 0].backward()
    assert (values.grad != 0).all()


def test_the_papers_numbers_are_the_papers() -> None:
    paper = paper_codec.RECIPE
    assert (paper.epochs, paper.batch, paper.rate) == (40, 64, 1e-4)
    trainer = recipe.Trainer(synthetic_faces(300), paper, seed=1)
    trainer.step(torch.arange(64), hard=False)
    np.testing.assert_allclose(trainer.network.log_gains.exp().detach(), paper.gain, rtol=1e-6)
    assert not trainer.log_lambdas.any()
    assert trainer.optimiser.param_groups[0]["betas"] == (0.5, 0.999)
