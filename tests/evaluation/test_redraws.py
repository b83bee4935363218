"""`semface eval redraws`: what of a face is redrawn, in which frame, and how pairs of redraws are judged."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from semface.descriptors import DESCRIPTOR_SIZE, GROUPS
from semface.errors import SemfaceError
from semface.evaluation.identity_teacher import IDENTITY_FILE, IDENTITY_INPUT, IDENTITY_MARGIN
from semface.evaluation.landmark_teacher import teacher_folder
from semface.evaluation.redraws import centred_accuracy, neutral_frontal, redraw, redrawn_groups
from semface.morphable.model import MorphableModel
from tests.evaluation.test_command import figures, semface

KEYS = ["accuracy", "standard_error", "pairs", "fallback", "skipped"]


@pytest.fixture(scope="module")
def teacher() -> Path:
    folders = (teacher_folder(), Path(__file__).resolve().parents[3] / "shared" / "teachers")
    path = next((folder / IDENTITY_FILE for folder in folders if (folder / IDENTITY_FILE).exists()), None)
    if path is None:
        pytest.skip("the identity teacher is not built: make teachers, or SEMFACE_TEACHERS names its folder")
    return path


@pytest.fixture
def face() -> np.ndarray:
    values = np.random.default_rng(3).normal(size=(1, DESCRIPTOR_SIZE)).astype(np.float32)
    values[:, GROUPS["rotation"]] *= 0.3
    values[:, GROUPS["illumination"]] *= 0.1
    return values


def test_expression_pose_and_light_leave_no_trace_in_a_redraw(face: np.ndarray) -> None:
    other = face.copy()
    other[:, GROUPS["expression"].start :] *= -1.0
    np.testing.assert_array_equal(neutral_frontal(face), neutral_frontal(other))
    assert np.abs(neutral_frontal(face)[:, : GROUPS["expression"].start]).min() > 0


def test_a_group_left_out_leaves_no_trace_in_a_redraw(face: np.ndarray) -> None:
    model = MorphableModel.shipped()
    for kept, dropped in (("shape", "texture"), ("texture", "shape")):
        changed, lost = face.copy(), face.copy()
        changed[:, GROUPS[dropped]] += 2.0
        lost[:, GROUPS[kept]] = 0.0
        groups = redrawn_groups(kept)
        picture = redraw(model, neutral_frontal(face, groups))
        np.testing.assert_array_equal(picture, redraw(model, neutral_frontal(changed, groups)))
        assert np.abs(picture.astype(int) - redraw(model, neutral_frontal(lost, groups))).mean() > 1


def test_a_redraw_fills_the_frame_that_the_teacher_wants(face: np.ndarray) -> None:
    # Only the vertices of landmarks are painted: they fill the frame but for its margin.
    model = MorphableModel.shipped()
    marked = np.zeros_like(model.mean_albedo)
    marked[model.landmark_corners.ravel()] = 255.0
    painted = replace(model, mean_albedo=marked, texture_basis=np.zeros_like(model.texture_basis))
    picture = redraw(painted, neutral_frontal(face))
    assert picture.shape == (IDENTITY_INPUT, IDENTITY_INPUT, 3)
    rows, columns = np.nonzero(picture[..., 0] > 200)
    assert max(np.ptp(rows), np.ptp(columns)) == pytest.approx(IDENTITY_INPUT / IDENTITY_MARGIN, rel=0.05)
    assert (rows.min() + rows.max()) / 2 == pytest.approx(IDENTITY_INPUT / 2, abs=6)


def test_what_all_redraws_share_says_nothing_about_a_person() -> None:
    random = np.random.default_rng(0)
    people = random.normal(size=(40, 16))
    embeddings = np.repeat(people, 2, axis=0) + 0.1 * random.normal(size=(80, 16)) + 50.0
    first, second = np.arange(0, 80, 2), np.arange(1, 80, 2)
    rows = np.concatenate([np.stack([first, second], 1), np.stack([first, np.roll(second, 1)], 1)])
    same = np.repeat([True, False], 40)
    folds = np.tile(np.repeat([1, 2, 3, 4], 10), 2)
    judged = centred_accuracy(embeddings, rows, same, folds)
    assert judged.accuracy == 1.0
    embeddings[0] = np.nan
    # The picture without an embedding stands in two of the eighty pairs.
    assert centred_accuracy(embeddings, rows, same, folds).accuracy == pytest.approx(78 / 80)


def test_pairs_of_which_none_can_be_judged_are_refused() -> None:
    rows, same, folds = np.array([[0, 1], [1, 0]]), np.array([True, False]), np.array([1, 2])
    with pytest.raises(SemfaceError, match="too few pairs"):
        centred_accuracy(np.full((2, 4), np.nan), rows, same, folds)


@pytest.mark.parametrize(
    ("arguments", "words"), [(("--groups", "hair"), "texture"), (("--teacher", "nowhere.onnx"), "make teachers")]
)
def test_a_wrong_option_is_one_line(
    pictures: Path, pairs: Path, tiny_repository: Path, arguments: tuple[str, str], words: str
) -> None:
    done = semface("redraws", "--images", pictures, "--pairs", pairs, "--models", tiny_repository, *arguments, "--json")
    assert (done.returncode, done.stdout) == (1, "")
    assert words in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_every_pair_is_judged_by_its_redraws(pictures: Path, pairs: Path, tiny_repository: Path, teacher: Path) -> None:
    common = ("redraws", "--images", pictures, "--pairs", pairs, "--models", tiny_repository, "--teacher", teacher)
    result = figures(*common)
    assert list(result) == KEYS
    assert (result["pairs"], result["fallback"], result["skipped"]) == (6, 1, 1)
    # Two of the six pairs hold the broken picture.
    assert result["accuracy"] <= 4 / 6


@pytest.mark.slow
def test_redraws_of_real_people_tell_them_apart(
    datasets: Path, trained_repository: Path, teacher: Path, tmp_path: Path
) -> None:
    lines = (datasets / "lfw_pairs.csv").read_text().splitlines()
    kinds = [[line for line in lines if line.startswith(f"{fold},{same},")][:10] for fold in (1, 2) for same in (1, 0)]
    table = tmp_path / "pairs.csv"
    table.write_text("\n".join([lines[0], *(line for kind in kinds for line in kind)]) + "\n")
    result = figures(
        "redraws", "--images", datasets / "lfw_train.zip", "--pairs", table, "--models", trained_repository,
        "--teacher", teacher,
    )  # fmt: skip
    assert (result["pairs"], result["skipped"]) == (40, 0)
    assert result["accuracy"] >= 0.6
