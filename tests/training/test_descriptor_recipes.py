"""What the recipes of the descriptor networks promise: resumable, blind to people held out, exported as trained."""

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the extra `training`")
pytest.importorskip("tqdm")

import onnxruntime as ort  # noqa: E402

from training import verification  # noqa: E402
from training.descriptor_networks import (  # noqa: E402
    DescriptorNetwork,
    ExpressionRecognizer,
    FaceEmbedder,
    Schedule,
    Shape,
    fit,
)
from training.network_export import Port, export_network  # noqa: E402

SHAPE = Shape(inputs=6, outputs=3, width=16, blocks=2, dropout=0.2)


def samples() -> np.ndarray:
    return np.random.default_rng(0).normal(2, 3, (64, 6)).astype(np.float32)


def fitted(checkpoint: Path, epochs: int, stop_after: int | None = None) -> dict[str, "torch.Tensor"]:
    """Fit a small network to a known function; ``stop_after`` breaks off after so many epochs, as a power cut would."""
    torch.manual_seed(3)
    values = torch.from_numpy(samples())
    network = DescriptorNetwork(SHAPE, samples())
    judged = 0

    def loss_of(rows: "torch.Tensor") -> "torch.Tensor":
        return (network(network.standardise(values[rows])) - values[rows, :3]).square().mean()

    def judge() -> float:
        nonlocal judged
        judged += 1
        if stop_after is not None and judged > stop_after:
            raise KeyboardInterrupt
        return -float((network(network.standardise(values)) - values[:, :3]).square().mean())

    fit(network, loss_of, len(values), judge, Schedule(epochs, 16, 1e-2, 0.01, checkpoint))
    return network.state_dict()


def test_an_interrupted_fit_ends_as_if_it_had_not_been(tmp_path: Path) -> None:
    whole = fitted(tmp_path / "whole.pt", 6)
    with pytest.raises(KeyboardInterrupt):
        fitted(tmp_path / "cut.pt", 6, stop_after=3)
    resumed = fitted(tmp_path / "cut.pt", 6)
    for name, value in whole.items():
        assert torch.equal(value, resumed[name]), name


@pytest.mark.parametrize("kind", ["confidences", "embedding"])
def test_the_exported_network_answers_as_the_trained_one(tmp_path: Path, kind: str) -> None:
    torch.manual_seed(1)
    network = DescriptorNetwork(SHAPE, samples())
    model = ExpressionRecognizer(network, 1.7) if kind == "confidences" else FaceEmbedder(network)
    ports = Port("descriptors", (SHAPE.inputs,)), Port(kind, (SHAPE.outputs,))
    export_network(model, tmp_path / "tiny", *ports, parameters={"threshold_accuracy": 0.25})
    path = tmp_path / "tiny" / "1" / "model.onnx"
    (served,) = ort.InferenceSession(path).run(None, {"descriptors": samples()})
    with torch.inference_mode():
        trained = model.eval()(torch.from_numpy(samples())).numpy()
    # Matrices are kept with 11 bits of mantissa.
    np.testing.assert_allclose(served, trained, atol=5e-3)
    sums = served.sum(axis=1) if kind == "confidences" else np.linalg.norm(served, axis=1)
    np.testing.assert_allclose(sums, 1, atol=1e-5)
    (alone,) = ort.InferenceSession(path).run(None, {"descriptors": samples()[:1]})
    np.testing.assert_allclose(alone, served[:1], atol=1e-6)
    assert (
        'key: "threshold_accuracy" value { string_value: "0.250000" }' in (path.parents[1] / "config.pbtxt").read_text()
    )


def test_the_verification_network_begins_as_the_embedding_of_extraction() -> None:
    torch.manual_seed(5)
    inner = torch.nn.Sequential(torch.nn.Linear(6, 16), torch.nn.ReLU(), torch.nn.Linear(16, 3))
    shortcut = torch.nn.Linear(6, 3)
    heads = {f"identity.{name}": value for name, value in inner.state_dict().items()}
    heads |= {f"identity_shortcut.{name}": value for name, value in shortcut.state_dict().items()}
    network = DescriptorNetwork(Shape(inputs=6, outputs=3, width=16, blocks=2, dropout=0.1), samples()).eval()
    verification.start_from_extraction(network, heads)
    values = torch.from_numpy(samples())
    with torch.inference_mode():
        torch.testing.assert_close(network(network.standardise(values)), inner(values) + shortcut(values))


def test_selection_pairs_are_of_the_people_they_say() -> None:
    names = [f"Person_{number // 3}_{number % 3:04d}" for number in range(30)] + [f"Single_{n}_0001" for n in range(5)]
    pairs = verification.selection_pairs(names, seed=4)
    same = [
        names[a].rsplit("_", 1)[0] == names[b].rsplit("_", 1)[0] for a, b in zip(pairs.first, pairs.second, strict=True)
    ]
    assert same == pairs.same.tolist()
    assert pairs.same.sum() == 10 * 3
    assert not np.any(pairs.first == pairs.second)


def test_the_balanced_threshold_weighs_both_kinds_alike() -> None:
    scores = np.array([0.9, 0.8, 0.3, *np.linspace(0.0, 0.5, 100)])
    same = np.arange(103) < 3
    threshold, accuracy = verification.balanced_threshold(scores, same)
    assert threshold == pytest.approx(0.8)
    assert accuracy == pytest.approx((2 / 3 + 1) / 2)
