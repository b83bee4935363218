import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from semface.cli.models import app, build_detector
from semface.errors import Reason, SemfaceError

NAMES = ["face_detection_output", "face_detection_proposal", "face_detection_refinement"]


def test_build_makes_networks_that_pass_their_check(tmp_path: Path) -> None:
    runner = CliRunner()
    assert runner.invoke(app, ["build", "--repository", str(tmp_path)]).exit_code == 0
    checked = runner.invoke(app, ["check", "--repository", str(tmp_path), "--json"])
    assert checked.exit_code == 0
    assert json.loads(checked.stdout) == {"ok": True, "problems": {name: [] for name in NAMES}}


def test_building_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    first, second = (
        [path.read_bytes() for path in build_detector(tmp_path / folder)] for folder in ("first", "second")
    )
    assert first == second


def test_check_fails_when_a_network_is_damaged(tmp_path: Path) -> None:
    build_detector(tmp_path)
    (tmp_path / NAMES[0] / "1" / "model.onnx").write_bytes(b"no network")
    checked = CliRunner().invoke(app, ["check", "--repository", str(tmp_path), "--json"])
    assert checked.exit_code == 1
    found = json.loads(checked.stdout)
    assert not found["ok"]
    assert [name for name in NAMES if found["problems"][name]] == [NAMES[0]]


def test_list_names_every_network_with_its_version_and_hash(tmp_path: Path) -> None:
    build_detector(tmp_path)
    (tmp_path / NAMES[2] / "1" / "model.onnx").unlink()
    listed = json.loads(CliRunner().invoke(app, ["list", "--repository", str(tmp_path), "--json"]).stdout)
    assert [model["name"] for model in listed] == NAMES
    assert listed[0]["version"] == "1"
    assert len(listed[0]["hash"]) == 64
    assert "semface models build" in listed[2]["problem"]


def test_an_empty_repository_is_told_as_such(tmp_path: Path) -> None:
    with pytest.raises(SemfaceError) as caught:
        typer.main.get_command(app)(["list", "--repository", str(tmp_path)], standalone_mode=False)
    assert caught.value.reason is Reason.MODEL_UNKNOWN
