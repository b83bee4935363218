"""Accuracy against rate on a few pictures, through the command."""

import json
from pathlib import Path

import pytest

from tests.evaluation.test_command import semface


@pytest.fixture
def plotted(pictures: Path, pairs: Path, tiny_repository: Path, tmp_path: Path) -> Path:
    pytest.importorskip("matplotlib", reason="plots are of the extra `plots`")
    output = tmp_path / "rate.svg"
    options = ("--images", pictures, "--pairs", pairs, "--expressions", pictures, "--models", tiny_repository)
    done = semface("rate", "-o", output, *options, "--codec", tiny_repository)
    assert done.returncode == 0, done.stderr
    return output


def test_every_quality_is_told_and_drawn_for_both_tasks(plotted: Path) -> None:
    points = json.loads(plotted.with_suffix(".json").read_text())
    assert {point["task"] for point in points} == {"verification", "expression"}
    for task in ("verification", "expression"):
        for codec in {point["codec"] for point in points} - {"none"}:
            coded = [point for point in points if point["task"] == task and point["codec"] == codec]
            assert len(coded) > 1
            sizes = [point["frame_bits"] for point in coded]
            assert sizes == sorted(sizes)
            for point in coded:
                assert point["portion_bits"] < point["frame_bits"]
                assert point["entropy_bits"] - 8 < point["payload_bits"] < point["frame_bits"]
                assert point["paper_bits"] > 0
    assert plotted.read_text().lstrip().startswith("<?xml")


def test_pictures_without_pairs_are_refused_in_one_line(pictures: Path, tmp_path: Path) -> None:
    refused = semface("rate", "-o", tmp_path / "rate.svg", "--images", pictures)
    assert refused.returncode == 1
    assert "--pairs" in refused.stderr
