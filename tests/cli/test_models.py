import json
import shutil
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from semface.cli.models import app, build_detector
from semface.errors import Reason, SemfaceError
from semface.inference.cpu_server import CpuServer
from tests.inference.networks import add_model

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


def test_list_tells_what_the_cards_say_of_purpose_and_provenance(tmp_path: Path) -> None:
    build_detector(tmp_path)
    listed = json.loads(CliRunner().invoke(app, ["list", "--repository", str(tmp_path), "--json"]).stdout)
    assert "finds faces" in listed[0]["purpose"] or "find faces" in listed[0]["purpose"]
    assert all("mtcnn" in model["provenance"] for model in listed)
    assert "mtcnn" in CliRunner().invoke(app, ["list", "--repository", str(tmp_path)]).stdout


@pytest.mark.parametrize("target", ["python", "onnxruntime", "tensorrt"])
def test_build_derives_a_repository_and_needs_a_place_for_it(tmp_path: Path, target: str) -> None:
    runner, source, output = CliRunner(), tmp_path / "source", tmp_path / "out"
    build_detector(source)
    derive = ["build", "--repository", str(source), "--target", target]
    assert isinstance(runner.invoke(app, derive).exception, SemfaceError)
    assert runner.invoke(app, [*derive, "--output", str(output)]).exit_code == 0
    assert sorted(path.parent.name for path in output.glob("*/config.pbtxt")) == NAMES


def test_engines_says_what_is_lacking_where_there_is_no_gpu(tmp_path: Path) -> None:
    build_detector(tmp_path / "source")
    arguments = [
        "engines",
        "--repository",
        str(tmp_path / "source"),
        "--images",
        "faces.zip",
        "--output",
        str(tmp_path),
    ]
    error = CliRunner().invoke(app, arguments).exception
    assert isinstance(error, SemfaceError)
    assert error.reason is Reason.BACKEND_AWAY


@pytest.mark.slow
def test_check_compares_the_answers_of_both_engines(
    triton_server: CpuServer, engine_repository: Path, tmp_path: Path
) -> None:
    for name in ("double", "codec_analysis"):
        shutil.copytree(engine_repository / name, tmp_path / name)
        (tmp_path / name / "card.md").write_text("# A card\n\nSays what for.\n")
    arguments = ["check", "--repository", str(tmp_path), "--inference", triton_server.url, "--json"]
    checked = CliRunner().invoke(app, arguments)
    assert json.loads(checked.stdout) == {"ok": True, "problems": {"codec_analysis": [], "double": []}}
    add_model(tmp_path, "double", factor=3.0)
    checked = CliRunner().invoke(app, arguments)
    assert checked.exit_code == 1
    assert "serves another model double" in json.loads(checked.stdout)["problems"]["double"][0]


def test_an_empty_repository_is_told_as_such(tmp_path: Path) -> None:
    with pytest.raises(SemfaceError) as caught:
        typer.main.get_command(app)(["list", "--repository", str(tmp_path)], standalone_mode=False)
    assert caught.value.reason is Reason.MODEL_UNKNOWN
