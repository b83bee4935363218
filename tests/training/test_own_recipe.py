"""One command trains either network on a user's own data: real faces in the layouts of AffectNet and CASIA-WebFace."""

import os
import sys
import zipfile
from collections import Counter
from pathlib import Path, PurePosixPath

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the extra `training`")
pytest.importorskip("tqdm")

import onnxruntime as ort  # noqa: E402

from semface.evaluation.expression import majority_label  # noqa: E402
from semface.evaluation.identity_teacher import IDENTITY_FILE  # noqa: E402
from semface.evaluation.landmark_teacher import teacher_folder  # noqa: E402
from semface.meaning import EXPRESSIONS  # noqa: E402
from training import datasets, expression, verification  # noqa: E402
from training.own_data import AFFECTNET_CLASSES  # noqa: E402
from training.own_descriptors import own_targets  # noqa: E402

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("SEMFACE_CACHE", str(folder))
    return folder


@pytest.fixture
def archives() -> Path:
    if not (datasets.root() / "lfw_train.zip").exists():
        pytest.skip("needs the shared data sets (SEMFACE_DATASETS)")
    return datasets.root()


@pytest.fixture
def teachers(monkeypatch: pytest.MonkeyPatch) -> None:
    shared = datasets.root().parent / "teachers"
    if not (teacher_folder() / IDENTITY_FILE).exists():
        if not (shared / IDENTITY_FILE).exists():
            pytest.skip("the teachers are not built: make teachers, or SEMFACE_TEACHERS names their folder")
        monkeypatch.setenv("SEMFACE_TEACHERS", str(shared))


def as_affectnet(archives: Path, folder: Path, count: int) -> Path:
    """Unpack the first usable faces of FER+'s training part as AffectNet is handed out."""
    votes = datasets.ferplus_votes("train")
    rows = []
    for picture in datasets.ferplus("train"):
        label = majority_label(votes[picture.name])
        if label is not None:
            place = folder / "Manually_Annotated_Images" / "7" / f"{picture.name}.jpg"
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(picture.data)
            number = AFFECTNET_CLASSES.index(EXPRESSIONS[label])
            rows.append(f"7/{place.name},0,0,48,48,0;0,{number},0,0\n")
        if len(rows) == count:
            break
    (folder / "training.csv").write_text("".join(rows))
    return folder


def as_casia(archives: Path, folder: Path, people: int) -> Path:
    """Unpack people of LFW with three pictures each, a folder for each."""
    with zipfile.ZipFile(archives / "lfw_train.zip") as archive:
        members = [member for member in archive.namelist() if member.endswith(".jpg")]
        counts = Counter(PurePosixPath(member).parent.name for member in members)
        rich = [name for name, count in counts.items() if count >= 3]
        held = [name for name in rich if datasets.is_selection_person(f"casia-webface/{name}")][:4]
        names = dict.fromkeys(held + [name for name in rich if name not in held][: people - len(held)], 0)
        for member in members:
            name = PurePosixPath(member).parent.name
            if name in names and names[name] < 3:
                names[name] += 1
                place = folder / name / PurePosixPath(member).name
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(archive.read(member))
    return folder


def run(recipe: object, monkeypatch: pytest.MonkeyPatch, *options: object) -> None:
    monkeypatch.setattr(sys, "argv", ["recipe", *map(str, options)])
    recipe.main()


def test_the_expression_network_is_trained_on_a_folder_of_affectnet(
    archives: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, output = as_affectnet(archives, tmp_path / "affectnet", 120), tmp_path / "models"
    run(expression, monkeypatch, "--data", f"affectnet={data}", "--output", output, "--epochs", 2)
    network = ort.InferenceSession(output / "expression_recognition" / "1" / "model.onnx")
    (told,) = network.run(None, {"descriptors": np.zeros((2, 70), np.float32)})
    np.testing.assert_allclose(told.sum(axis=1), 1, atol=1e-5)
    card = (output / "expression_recognition" / "card.md").read_text()
    assert "affectnet" in card
    assert "FER" not in card


@pytest.mark.usefixtures("teachers")
def test_the_verification_network_is_trained_on_a_folder_for_each_person(
    archives: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, output = as_casia(archives, tmp_path / "casia", 30), tmp_path / "models"
    run(verification, monkeypatch, "--data", f"casia-webface={data}", "--output", output, "--epochs", 2)
    network = ort.InferenceSession(output / "face_verification" / "1" / "model.onnx")
    (told,) = network.run(None, {"descriptors": np.ones((2, 160), np.float32)})
    np.testing.assert_allclose(np.linalg.norm(told, axis=1), 1, atol=1e-5)
    settings = (output / "face_verification" / "config.pbtxt").read_text()
    assert all(name in settings for name in ("threshold_far_1e-2", "threshold_far_1e-3", "threshold_accuracy"))
    card = (output / "face_verification" / "card.md").read_text()
    assert "threshold_far_1e-3" in card
    assert "casia-webface" in card


def test_data_that_is_half_there_ends_in_one_line_before_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "affectnet").mkdir()
    with pytest.raises(SystemExit, match=r"lacks training\.csv"):
        run(expression, monkeypatch, "--data", f"affectnet={tmp_path / 'affectnet'}", "--output", tmp_path / "models")
    with pytest.raises(SystemExit, match="there is no folder"):
        run(verification, monkeypatch, "--data", f"vggface2={tmp_path / 'none'}", "--output", tmp_path / "models")
    assert not (tmp_path / "models").exists()
    assert os.listdir(tmp_path) == ["affectnet"]


def test_targets_are_of_length_one_and_centred_on_the_people_learned_from() -> None:
    answers = np.random.default_rng(0).normal(3.0, 1.0, (40, 1024)).astype(np.float32)
    learned = np.arange(40) < 30
    targets = own_targets(answers, learned)
    assert targets.shape == (40, 512)
    np.testing.assert_allclose(np.linalg.norm(targets, axis=1), 1, atol=1e-5)
    # Thirty centred faces span 29 directions.
    assert (np.abs(targets).max(axis=0) > 0).sum() == 29
    cosines = targets[:30] @ targets[:30].T
    assert np.abs(cosines[~np.eye(30, dtype=bool)]).max() < 0.3
