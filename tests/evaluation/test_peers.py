"""`semface bench peers`: the same pictures for all; the peers themselves where `make peers` has installed them."""

import csv
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from semface.errors import Reason, SemfaceError
from semface.evaluation.peers import PeerProcess
from semface.evaluation.verification import Pairs, even_pairs
from tests.evaluation.conftest import FACE, ROOT, jpeg

ENVIRONMENT = ROOT / "build" / "peers-venv"


@pytest.fixture(scope="session")
def environment() -> Path:
    if not (ENVIRONMENT / ".installed").exists():
        pytest.skip("the peers are not installed; `make peers` does it")
    return ENVIRONMENT


def test_without_their_environment_the_peers_are_refused_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(SemfaceError) as refused, PeerProcess.started(tmp_path):
        pass
    assert refused.value.reason is Reason.MODEL_UNKNOWN
    assert "make peers" in refused.value.message


def test_pairs_are_taken_evenly_from_all_folds_and_both_kinds() -> None:
    folds = np.repeat(np.arange(1, 9), 600)
    same = np.tile(np.repeat([True, False], 300), 8)
    names = tuple(f"{number}" for number in range(4800))
    some = even_pairs(Pairs(folds, same, names, names), 160)
    assert len(some) == 160
    counts = np.array([[(some.folds == fold).sum(), some.same[some.folds == fold].sum()] for fold in range(1, 9)])
    assert (np.abs(counts - [20, 10]) <= 1).all()
    assert list(some.first) == [names[int(name)] for name in some.first]


def test_accuracies_ask_for_pictures_and_pairs(pictures: Path) -> None:
    command = [sys.executable, "-m", "semface.cli", "bench", "peers", "--images", str(pictures)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "--pairs" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_peers_that_stop_are_told_of(environment: Path) -> None:
    with PeerProcess.started(environment) as peers, pytest.raises(SemfaceError) as refused:
        peers.look(b"no picture at all")
    assert refused.value.reason is Reason.BACKEND_AWAY


@pytest.mark.slow
def test_the_peers_find_the_face_and_know_it_again(environment: Path, astronaut: Image.Image) -> None:
    face = astronaut.crop(FACE)
    with PeerProcess.started(environment) as peers:
        first, lighter = (peers.look(jpeg(image)) for image in (face, face.point(lambda value: min(255, value + 12))))
    assert first["dlib"]["faces"] == first["mediapipe"]["faces"] == 1
    assert np.linalg.norm(np.subtract(first["dlib"]["embedding"], lighter["dlib"]["embedding"])) < 0.6
    landmarks = np.array(first["mediapipe"]["landmarks"])
    assert landmarks.shape == (468, 2)
    # The outer corners of the eyes, read off the photograph by eye.
    corners = np.array([[193, 104], [256, 103]]) - FACE[:2]
    assert np.abs(landmarks[[33, 263]] - corners).max() < 8


@pytest.mark.slow
def test_the_command_compares_the_three_in_one_run(
    environment: Path, trained_repository: Path, astronaut: Image.Image, tmp_path: Path
) -> None:
    archive, table = tmp_path / "pictures.zip", tmp_path / "pairs.csv"
    face = astronaut.crop(FACE)
    with zipfile.ZipFile(archive, "w") as pictures:
        for name, image in {"a": face, "b": face.resize((120, 120)), "c": face.rotate(90)}.items():
            pictures.writestr(f"{name}.jpg", jpeg(image))
    with table.open("w", newline="") as file:
        rows = [(fold, same, "a", other) for fold in (1, 2) for same, other in ((1, "b"), (0, "c"))]
        csv.writer(file).writerows([("fold", "same", "image_a", "image_b"), *rows])
    command = [sys.executable, "-m", "semface.cli", "bench", "peers", "--rounds", "2", "--json"]
    paths = ["--images", str(archive), "--pairs", str(table), "--environment", str(environment)]
    done = subprocess.run(
        [*command, *paths, "--models", str(trained_repository)], capture_output=True, text=True, check=True
    )
    figures = json.loads(done.stdout)
    assert figures.keys() == {"semface", "dlib", "mediapipe"}
    assert all(system["photograph_ms"] > 0 for system in figures.values())
    assert figures["dlib"]["accuracy"] == figures["semface"]["accuracy"] == 1
    assert 0 < figures["mediapipe"]["landmark_distance"] < 0.2
