"""Every variant of the ablations trains, each run is kept, differences are paired; on made-up faces and scans."""

import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs the extra `training`")

import torch

from semface.extraction.scans.attribute_images import CHANNELS
from semface.meaning import EXPRESSIONS, SCAN_EXPRESSIONS
from training import amdfn, dan, recogniser_ablations, scan_data, slfer
from training.pixel_faces import PixelFaces
from training.scan_data import ScanImages
from training.semantic_masks import COMPONENTS

SHORT = ("--width", "4", "--epochs", "1")
PIXELS = (*SHORT, "--scratch", "--first", "16")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    folder.mkdir()
    monkeypatch.setenv("SEMFACE_CACHE", str(folder))
    return folder


@pytest.fixture(autouse=True)
def faces(monkeypatch: pytest.MonkeyPatch) -> None:
    """32 faces, every second held out, with parts of the face at random."""
    random, count, side = np.random.default_rng(0), 32, 72
    labels = torch.arange(count) % len(EXPRESSIONS)
    made_up = PixelFaces(
        tuple(f"{number}.png" for number in range(count)),
        torch.from_numpy(random.integers(0, 256, (count, side, side), np.uint8)),
        torch.eye(len(EXPRESSIONS))[labels],
        labels,
        np.arange(count) % 2 == 1,
    )
    masks = torch.from_numpy(random.integers(0, len(COMPONENTS), (count, side, side), np.uint8))
    monkeypatch.setattr(recogniser_ablations, "load_ferplus", lambda: made_up)
    monkeypatch.setattr(slfer, "load_masks", lambda names: masks)


@pytest.fixture(autouse=True)
def scans(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of whatever people are asked for, two with a scan of each expression."""
    count = 2 * len(SCAN_EXPRESSIONS)
    images = np.random.default_rng(0).random((count, len(CHANNELS), 112, 112)).astype(np.float16)
    labels = np.tile(np.arange(len(SCAN_EXPRESSIONS)), 2)
    made_up = ScanImages(images, labels, np.repeat([0, 1], len(SCAN_EXPRESSIONS)), np.ones(count, bool))
    monkeypatch.setattr(scan_data, "load", lambda people, takes=1: made_up)


@pytest.mark.parametrize(("name", "short"), [("dan", PIXELS), ("slfer", PIXELS), ("amdfn", SHORT)])
def test_every_variant_can_be_trained(name: str, short: tuple[str, ...]) -> None:
    for options in recogniser_ablations.VARIANTS[name].values():
        assert 0.0 <= recogniser_ablations.RUNS[name]([*short, *options]) <= 1.0


def test_a_run_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = recogniser_ablations.accuracy_of("dan", PIXELS, tmp_path)
    monkeypatch.setattr(dan, "train", None)
    assert recogniser_ablations.accuracy_of("dan", PIXELS, tmp_path) == first
    with pytest.raises(TypeError):
        recogniser_ablations.accuracy_of("dan", [*PIXELS, "--heads", "1"], tmp_path)


def test_differences_are_paired_by_seed() -> None:
    lines = recogniser_ablations.table({"one": [0.80, 0.82], "two": [0.81, 0.83]})
    assert lines[2:] == ["| one | 81.00 ± 1.41 |  |", "| two | 82.00 ± 1.41 | +1.00 ± 0.00 |"]


def test_the_first_that_is_named_is_what_others_are_compared_with(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    short = ["--epochs", "1", "--seeds", "1", "--rest", "--width", "4"]
    monkeypatch.setattr(sys, "argv", ["ablations", "amdfn", "--only", "depth, no attention", "depth", *short])
    recogniser_ablations.main()
    first, second = (line.split("|") for line in capsys.readouterr().out.splitlines()[-2:])
    assert [first[1].strip(), first[3].strip()] == ["depth, no attention", ""]
    assert second[1].strip() == "depth"
    assert float(second[3]) == pytest.approx(float(second[2]) - float(first[2]), abs=0.02)


def test_a_variant_that_is_not_there_is_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["ablations", "amdfn", "--only", "smell"])
    monkeypatch.setattr(amdfn, "train", None)
    with pytest.raises(SystemExit):
        recogniser_ablations.main()
    assert "amdfn has no variant 'smell'" in capsys.readouterr().err
