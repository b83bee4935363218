"""`semface expression` on 3-D scans, with the networks that are served."""

import json
import os
from pathlib import Path

import pytest
from PIL import Image

from semface.evaluation.scan_recognition import ply
from semface.meaning import SCAN_EXPRESSIONS
from semface.rpc.settings import ServerSettings
from tests.cli.conftest import Done, Run
from tests.extraction.scans.heads import ball, head

DATASETS = Path(os.environ.get("SEMFACE_DATASETS", Path(__file__).parents[3] / "shared" / "datasets"))
ICT = DATASETS / "ict_face.npz"


def served(run: Run, *arguments: object) -> Done:
    return run(*arguments, SEMFACE_MODEL_REPOSITORY=str(ServerSettings().model_repository))


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    path = tmp_path / "head.ply"
    path.write_bytes(ply(head()))
    return path


def test_a_scan_gets_its_expression_and_a_picture_of_what_was_seen(run: Run, scan: Path, tmp_path: Path) -> None:
    picture = tmp_path / "seen.png"
    done = served(run, "expression", scan, "--model", "amdfn", "--attributes", picture, "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert tuple(told["expression"]["confidences"]) == SCAN_EXPRESSIONS
    assert sum(told["expression"]["confidences"].values()) == pytest.approx(1, abs=1e-4)
    assert told["textured"] is True
    assert told["covered"] > 0.9
    with Image.open(picture) as image:
        assert image.width > 6 * 224
        assert len(image.getcolors(1 << 24) or ()) > 500


def test_a_scan_without_a_face_fails_in_one_line(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "ball.ply"
    path.write_bytes(ply(ball()))
    done = served(run, "expression", path, "--model", "amdfn")
    assert done.returncode != 0
    assert "NO_FACE" in done.stderr
    assert str(path) in done.stderr.replace("\n", "")
    assert "Traceback" not in done.stderr
    assert "photograph" not in done.stderr


def test_attribute_images_are_drawn_of_scans_only(run: Run, photo: Path, tmp_path: Path) -> None:
    done = served(run, "expression", photo, "--attributes", tmp_path / "seen.png")
    assert "FIELD_INVALID" in done.stderr
    refused = served(run, "expression", photo, "--model", "amdfn")
    assert "SCAN_UNDECODABLE" in refused.stderr


@pytest.mark.slow
@pytest.mark.skipif(not ICT.is_file(), reason="needs ict_face.npz of the data sets; set SEMFACE_DATASETS")
def test_expressions_of_people_whom_training_did_not_see_are_recognised(run: Run, tmp_path: Path) -> None:
    done = served(run, "eval", "scans", "--model", ICT, "--limit", 3, "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["scans"] == 48
    assert told["accuracy"] > 0.75
    written = tmp_path / "smile.ply"
    assert served(run, "eval", "scan", "--model", ICT, "-o", written, "--expression", "smile").returncode == 0
    assert served(run, "expression", written, "--model", "amdfn").returncode == 0


@pytest.mark.slow
@pytest.mark.skipif(not ICT.is_file(), reason="needs ict_face.npz of the data sets; set SEMFACE_DATASETS")
def test_all_recognisers_are_compared_on_the_same_faces(run: Run) -> None:
    done = served(run, "eval", "recognisers", "--model", ICT, "--limit", 4, "--json")
    assert done.returncode == 0, done.stderr
    accuracies = {row["model"]: row["accuracy"] for row in json.loads(done.stdout)}
    assert list(accuracies) == ["expression_recognition", "dan", "slfer", "amdfn"]
    assert accuracies["amdfn"] > 0.75
