"""The paper's codec at a rate of choice."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from semface.codec.prior import Prior

torch = pytest.importorskip("torch", reason="training needs the extra `training`")

from training import paper_codec  # noqa: E402
from training.codec import Faces  # noqa: E402


def correlated_faces(count: int) -> np.ndarray:
    random = np.random.default_rng(3)
    return (random.normal(size=(count, 257)) @ random.normal(size=(257, 257)) / 16).astype(np.float32)


@pytest.mark.parametrize("target", [900.0, 1410.0])
def test_the_search_finds_the_weight_of_a_rate(target: float) -> None:
    def bits(weight: float) -> float:
        return 4000 / (1 + math.exp(0.4 * (math.log(weight) + 9)))

    assert bits(paper_codec.search(bits, target, tolerance=5)) == pytest.approx(target, abs=5)


def test_a_rate_out_of_reach_ends_the_search() -> None:
    with pytest.raises(SystemExit, match="no λ gave 1410"):
        paper_codec.search(lambda weight: 700 - 0.1 * math.log(weight), 1410, tolerance=50)


def test_a_larger_weight_takes_fewer_bits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEMFACE_CACHE", str(tmp_path))
    faces = Faces(correlated_faces(500), correlated_faces(60), ("500 drawn",))
    rates = [paper_codec.rate(paper_codec.train(faces, weight, 12, seed=1), faces.selection) for weight in (1e-6, 0.03)]
    assert rates[0] > rates[1] + 20


@pytest.mark.slow
def test_a_codec_of_a_chosen_rate_is_exported_with_its_weight(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEMFACE_CACHE", str(tmp_path))
    (tmp_path / "descriptors").mkdir()
    names = [f"Person_{index % 200}_{index:04d}" for index in range(300)]
    np.savez(tmp_path / "descriptors" / "lfw.npz", names=np.array(names), descriptors=correlated_faces(300))
    output = tmp_path / "models"
    options = ["--output", str(output), "--bits", "700", "--tolerance", "5000", "--epochs", "1"]
    paper_codec.main(options)
    assert [quality.name for quality in Prior.load(output).qualities] == ["paper"]
    assert "λ = " in (output / "codec_analysis" / "card.md").read_text()
    kept = json.loads((output / paper_codec.WEIGHT_FILE).read_text())
    assert kept["paper_bits"] > kept["payload_bits"] > kept["entropy_bits"] > 0
    again = tmp_path / "identity"
    paper_codec.main(["--output", str(again), "--like", str(output), "--portion", "identity", "--epochs", "1"])
    assert json.loads((again / paper_codec.WEIGHT_FILE).read_text())["lambda"] == kept["lambda"]
    assert "identity's standardised numbers" in (again / "codec_analysis" / "card.md").read_text()
