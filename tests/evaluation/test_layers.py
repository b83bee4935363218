"""A portion alone, three ways, on a few pictures through the command."""

import json
from pathlib import Path

import pytest

from tests.evaluation.test_command import semface


@pytest.mark.parametrize("task", ["verification", "expression"])
def test_each_way_is_told_with_its_bits(task: str, pictures: Path, pairs: Path, tiny_repository: Path) -> None:
    sets = ("--images", pictures, "--pairs", pairs) if task == "verification" else ("--expressions", pictures)
    codecs = ("--zero-padded", tiny_repository, "--retrained", tiny_repository)
    done = semface("layers", *sets, "--models", tiny_repository, *codecs, "--json")
    assert done.returncode == 0, done.stderr
    points = json.loads(done.stdout)
    ways = {way: [point for point in points if point["way"] == way] for way in {point["way"] for point in points}}
    assert set(ways) == {"not coded", "ours", "zero-padded", "retrained"}
    assert {point["task"] for point in points} == {task}
    sizes = [point["bits"] for point in ways["ours"]]
    assert sizes == sorted(sizes)
    assert sizes[0] >= 24
    # One codec stands for both of the paper's ways here, so both say the same.
    for padded, retrained in zip(ways["zero-padded"], ways["retrained"], strict=True):
        assert {**padded, "way": ""} == {**retrained, "way": ""}
        assert padded["bits"] > 0


def test_two_tasks_at_once_are_refused_in_one_line(pictures: Path, pairs: Path) -> None:
    refused = semface("layers", "--images", pictures, "--pairs", pairs, "--expressions", pictures)
    assert refused.returncode == 1
    assert "either" in refused.stderr
