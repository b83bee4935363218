"""`semface eval` end to end: a small zip over tiny networks, and the data sets over the trained ones."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

VERIFICATION_KEYS = [
    "accuracy", "standard_error", "tar_at_far_1e-2", "bits_mean", "pairs", "fallback", "skipped",
]  # fmt: skip
EXPRESSION_KEYS = [
    "accuracy", "mean_class_accuracy", "calibration_error", "bits_mean", "images", "fallback", "skipped",
    "classes", "class_accuracy", "confusion",
]  # fmt: skip


def semface(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "semface.cli", "eval", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)


def figures(*arguments: object) -> dict[str, Any]:
    done = semface(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_verification_judges_every_pair_and_counts_what_it_could_not_see(
    pictures: Path, pairs: Path, tiny_repository: Path
) -> None:
    result = figures("verification", "--images", pictures, "--pairs", pairs, "--models", tiny_repository)
    assert list(result) == VERIFICATION_KEYS
    assert (result["pairs"], result["fallback"], result["skipped"]) == (6, 1, 1)
    # Two of the six pairs hold the broken picture, so at most four are right.
    assert result["accuracy"] <= 4 / 6
    assert result["bits_mean"] > 0


def test_expression_judges_usable_pictures_only(pictures: Path, tiny_repository: Path) -> None:
    result = figures("expression", "--images", pictures, "--models", tiny_repository)
    assert list(result) == EXPRESSION_KEYS
    assert (result["images"], result["fallback"], result["skipped"]) == (4, 1, 1)
    assert result["accuracy"] <= 3 / 4


def test_a_recogniser_of_pixels_is_judged_on_the_same_pictures(pictures: Path, tiny_repository: Path) -> None:
    result = figures("expression", "--images", pictures, "--models", tiny_repository, "--model", "dan")
    assert list(result) == EXPRESSION_KEYS
    assert (result["images"], result["fallback"], result["skipped"]) == (4, 1, 1)
    assert result["bits_mean"] is None
    assert sum(map(sum, result["confusion"])) == 3
    done = semface("expression", "--images", pictures, "--model", "dan", "--quality", "low")
    assert done.returncode != 0
    assert "FIELD_INVALID" in done.stderr


def test_the_confusion_matrix_says_the_same_as_the_accuracies(pictures: Path, tiny_repository: Path) -> None:
    result = figures("expression", "--images", pictures, "--models", tiny_repository)
    classes, confusion = result["classes"], result["confusion"]
    assert [len(row) for row in confusion] == [len(classes)] * 8
    # One of the four pictures is broken: it stands in no cell, and counts as wrong.
    assert sum(map(sum, confusion)) == 3
    assert sum(confusion[place][place] for place in range(8)) == round(4 * result["accuracy"])
    told = dict(zip(classes, result["class_accuracy"], strict=True))
    # As the votes of the fixture say: two of happiness, one neutral, one of sadness, which is broken.
    present = {name: share for name, share in told.items() if share is not None}
    assert set(present) == {"happiness", "neutral", "sadness"}
    assert present["sadness"] == 0
    assert sum(present.values()) / 3 == pytest.approx(result["mean_class_accuracy"])


def test_only_the_groups_asked_for_are_counted_and_none_codes_nothing(
    pictures: Path, pairs: Path, tiny_repository: Path
) -> None:
    common = ("verification", "--images", pictures, "--pairs", pairs, "--models", tiny_repository)
    whole, identity = figures(*common), figures(*common, "--groups", "identity")
    assert identity["bits_mean"] < whole["bits_mean"]
    assert figures(*common, "--quality", "low")["bits_mean"] < figures(*common, "--quality", 2)["bits_mean"]
    assert figures(*common, "--quality", "none")["bits_mean"] is None
    one_fold = figures(*common, "--folds", "1", "--limit", "2")
    assert one_fold["pairs"] == 2


def test_a_kept_description_gives_the_same_figures(
    pictures: Path, pairs: Path, tiny_repository: Path, tmp_path: Path
) -> None:
    common = ("verification", "--images", pictures, "--pairs", pairs, "--models", tiny_repository)
    kept = ("--cache", tmp_path / "kept" / "faces.npz")
    assert figures(*common) == figures(*common, *kept) == figures(*common, *kept)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--groups", "expression"), "GROUP_ABSENT"),
        (("--groups", "hair"), "identity"),
        (("--quality", "finest"), "no such quality"),
        (("--folds", "9"), "no pair"),
    ],
)
def test_a_wrong_option_is_one_line_on_stderr(
    pictures: Path, pairs: Path, tiny_repository: Path, arguments: tuple[str, str], words: str
) -> None:
    common = ("verification", "--images", pictures, "--pairs", pairs, "--models", tiny_repository)
    done = semface(*common, *arguments)
    assert done.returncode == 1
    assert done.stdout == ""
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("semface:")]
    assert words in line
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_twenty_real_pairs_have_sane_figures(datasets: Path, trained_repository: Path) -> None:
    result = figures(
        "verification", "--images", datasets / "lfw_train.zip", "--pairs", datasets / "lfw_pairs.csv",
        "--models", trained_repository, "--limit", 20,
    )  # fmt: skip
    assert list(result) == VERIFICATION_KEYS
    assert (result["pairs"], result["skipped"]) == (20, 0)
    assert result["fallback"] <= 2
    # The first twenty pairs all show one person; the model's own threshold decides.
    assert result["accuracy"] >= 0.6
    assert 100 < result["bits_mean"] <= 1400


@pytest.mark.slow
def test_twenty_real_pictures_have_sane_figures(datasets: Path, trained_repository: Path) -> None:
    result = figures(
        "expression", "--images", datasets / "ferplus_valid.zip", "--models", trained_repository, "--limit", 20
    )
    assert list(result) == EXPRESSION_KEYS
    assert (result["images"], result["skipped"]) == (20, 0)
    assert result["accuracy"] >= 0.3
    assert 0 <= result["calibration_error"] <= 0.5
    assert 100 < result["bits_mean"] <= 1400
