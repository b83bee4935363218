"""`semface eval rate-accuracy` end to end: tiny networks without baselines, trained ones beside real VVC."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from semface.errors import SemfaceError
from semface.evaluation.identity_teacher import IDENTITY_FILE
from semface.evaluation.landmark_teacher import teacher_folder
from semface.evaluation.rate_accuracy.options import parse_codec, parse_names, parse_numbers, parse_run
from semface.evaluation.rate_accuracy.points import judge_embeddings, judge_scores, pooled_accuracy
from semface.evaluation.verification import Pairs
from tests.evaluation.test_command import figures as command_figures
from tests.evaluation.test_command import semface


@pytest.fixture
def few_pairs(tmp_path: Path) -> Path:
    """Pairs in two folds; Bea is in none of them."""
    path = tmp_path / "pairs.csv"
    path.write_text(
        "fold,same,image_a,image_b\n1,1,Ada_0001,Ada_0002\n1,0,Ada_0001,Cee_0001\n"
        "2,1,Ada_0002,Ada_0001\n2,0,Cee_0001,Ada_0002\n"
    )
    return path


@pytest.fixture(scope="module")
def teachers() -> Path:
    folders = (teacher_folder(), Path(__file__).resolve().parents[4] / "shared" / "teachers")
    folder = next((folder for folder in folders if (folder / IDENTITY_FILE).exists()), None)
    if folder is None:
        pytest.skip("the teachers are not built: make teachers, or SEMFACE_TEACHERS names their folder")
    return folder


def report(output: Path, *arguments: object) -> dict[str, Any]:
    pytest.importorskip("matplotlib", reason="plots are of the extra `plots`")
    done = semface("rate-accuracy", "-o", output, *arguments)
    assert done.returncode == 0, done.stderr
    page = output.read_text()
    assert page.startswith("<!doctype html>")
    assert "http" not in page.replace("http://www.w3.org", "").replace("http://purl.org", "").replace(
        "http://creativecommons.org", ""
    ).replace("https://matplotlib.org", "")
    return json.loads(output.with_suffix(".json").read_text())


def coded(figures: dict[str, Any], task: str, variant: str) -> list[dict[str, Any]]:
    return [p for p in figures["points"] if (p["task"], p["variant"]) == (task, variant) and p["bits"] is not None]


def test_every_quality_is_judged_whole_and_by_portion_as_the_other_commands_judge_it(
    pictures: Path, few_pairs: Path, tiny_repository: Path, tmp_path: Path
) -> None:
    sources = ("--images", pictures, "--pairs", few_pairs, "--models", tiny_repository)
    found = report(tmp_path / "page.html", *sources, "--expressions", pictures, "--baselines", "")
    for task, portion in (("verification", "identity"), ("expression", "expression")):
        whole, alone = coded(found, task, "all 257 numbers"), coded(found, task, f"{portion} only")
        assert [p["parameter"] for p in whole] == ["low", "medium", "high"] == [p["parameter"] for p in alone]
        for one, part in zip(whole, alone, strict=True):
            assert part["bits"] < one["bits"]
            assert one["data_bits"] == one["bits"]
    told = command_figures("verification", *sources, "--quality", "low")
    (low,) = [p for p in coded(found, "verification", "all 257 numbers") if p["parameter"] == "low"]
    assert (low["accuracy"], low["bits"]) == (told["accuracy"], told["bits_mean"])
    told = command_figures("expression", "--images", pictures, "--models", tiny_repository)
    assert found["expression_at_default_quality"] == told
    assert found["protocol"]["verification"]["runs"][0]["folds"] == [1, 2]
    assert len(found["protocol"]["verification"]["pairs"]["sha256"]) == 64
    assert str(tiny_repository.parent) not in json.dumps(found)
    assert found["paper_on_other_data"]["verification"]["figures"][0]["bits"] == 1409.67


def test_what_leaks_stands_beside_chance_and_beside_what_is_meant(
    pictures: Path, few_pairs: Path, tiny_repository: Path, tmp_path: Path
) -> None:
    sources = ("--images", pictures, "--pairs", few_pairs, "--models", tiny_repository)
    learn = ("--expressions", pictures, "--learn", pictures, "--leaks", "--baselines", "")
    found = report(tmp_path / "page.html", *sources, *learn)
    rows = {(leak["asked"], leak["sent"], leak["quality"]): leak for leak in found["leaks"]}
    assert len(rows) == 8
    leak = rows["identity", "expression only", "default"]
    assert (leak["meant"], leak["chance"], leak["learned_from"]) == (False, 0.5, 1)
    assert rows["identity", "identity only", "default"]["meant"]
    leak = rows["expression", "identity only", "uncoded"]
    assert leak["bits"] is None
    assert leak["mean_class_chance"] == pytest.approx(1 / 3)
    assert rows["expression", "identity only", "default"]["bits"] > 0


def test_two_repositories_are_pooled_over_their_folds(
    pictures: Path, few_pairs: Path, tiny_repository: Path, tmp_path: Path
) -> None:
    runs = ("--run", f"1={tiny_repository}", "--run", f"2={tiny_repository}")
    sources = ("--images", pictures, "--pairs", few_pairs, "--models", tiny_repository)
    found = report(tmp_path / "page.html", *sources, *runs, "--baselines", "")
    assert [run["folds"] for run in found["protocol"]["verification"]["runs"]] == [[1], [2]]
    assert len(coded(found, "verification", "identity only")) == 3


def test_codecs_of_other_kinds_have_points_of_their_own(
    pictures: Path, few_pairs: Path, tiny_repository: Path, tmp_path: Path
) -> None:
    sources = ("--images", pictures, "--pairs", few_pairs, "--expressions", pictures, "--models", tiny_repository)
    kinds = ("retrained-expression", "paper", "paper-identity:1-2", "paper-expression")
    codecs = [part for kind in kinds for part in ("--codec", f"{kind}={tiny_repository}")]
    found = report(tmp_path / "page.html", *sources, *codecs, "--baselines", "")
    told = {(p["task"], p["system"], p["variant"]) for p in found["points"]}
    assert ("expression", "semface", "expression only, retrained") in told
    assert ("verification", "semface", "identity only, retrained") not in told
    for task, name in (("verification", "identity"), ("expression", "expression")):
        paper = {variant for one, system, variant in told if (one, system) == (task, "the paper's codec")}
        assert paper == {"all 257 numbers", f"{name} only", f"{name} only, retrained"}

    def bits(system: str, variant: str) -> list[float]:
        points = [p for p in coded(found, "expression", variant) if p["system"] == system]
        return [p["bits"] for p in points]

    # The tiny repository's own codec stands for all of them, so what differs is how it is used.
    assert bits("semface", "expression only, retrained") == bits("semface", "expression only")
    whole, alone = bits("the paper's codec", "all 257 numbers"), bits("the paper's codec", "expression only")
    assert all(part < one for one, part in zip(whole, alone, strict=True))
    assert alone == bits("the paper's codec", "expression only, retrained")


def test_a_codec_for_some_runs_only_is_refused(
    pictures: Path, few_pairs: Path, tiny_repository: Path, tmp_path: Path
) -> None:
    pytest.importorskip("matplotlib", reason="plots are of the extra `plots`")
    runs = ("--run", f"1={tiny_repository}", "--run", f"2={tiny_repository}", "--codec", f"paper:1={tiny_repository}")
    sources = ("--images", pictures, "--pairs", few_pairs, "--baselines", "")
    done = semface("rate-accuracy", "-o", tmp_path / "page.html", *sources, *runs)
    assert done.returncode == 1
    assert "for the folds of each --run" in done.stderr


def test_thresholds_come_from_the_other_folds_of_a_run() -> None:
    folds, same = np.repeat([1, 2, 3], 4), np.tile([True, True, False, False], 3)
    pairs = Pairs(folds, same, tuple("abcdefghijkl"), tuple("mnopqrstuvwx"))
    scores = np.where(same, 0.9, 0.1)
    right = judge_scores(scores, pairs)
    assert right.accuracies == [1.0, 1.0, 1.0]
    wrong = judge_scores(np.where(folds == 3, 1 - scores, scores), pairs)
    assert wrong.accuracies[2] == 0.0
    accuracy, tar = pooled_accuracy([right, wrong])
    assert accuracy.accuracy == pytest.approx(np.mean([*right.accuracies, *wrong.accuracies]))
    assert tar is not None
    missing = judge_scores(np.where(folds == 1, np.nan, scores), pairs)
    assert missing.accuracies[0] == 0.0


def test_embeddings_without_a_picture_make_their_pairs_wrong() -> None:
    random = np.random.default_rng(0)
    people = random.normal(size=(20, 64))
    embeddings = np.concatenate([people, people + 0.01 * random.normal(size=people.shape)])
    stems = [f"p{number}" for number in range(40)]
    place = {stem: row for row, stem in enumerate(stems)}
    first = (*stems[:20], *stems[:20])
    second = (*stems[20:], *stems[21:], stems[20])
    pairs = Pairs(np.arange(40) % 4, np.arange(40) < 20, first, second)
    assert judge_embeddings(embeddings, place, pairs).accuracies == [1.0] * 4
    embeddings[0] = np.nan
    # The picture stands in two of the forty pairs.
    assert np.mean(judge_embeddings(embeddings, place, pairs).accuracies) == pytest.approx(38 / 40)


@pytest.mark.parametrize(
    ("read", "text"),
    [
        (parse_run, "5-8"),
        (parse_run, "=models"),
        (parse_names, "vvc,gif"),
        (parse_numbers, "4,x"),
        (parse_codec, "paper"),
        (parse_codec, "ours=models"),
    ],
)
def test_an_option_that_cannot_be_read_is_refused(read: Any, text: str) -> None:
    with pytest.raises(SemfaceError):
        read(text)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--images", "PICTURES"), "--pairs"),
        (("--expressions", "PICTURES", "--leaks"), "--learn"),
        (("--images", "PICTURES", "--pairs", "PAIRS", "--baselines", "jpeg", "--teachers", "nowhere"), "make teachers"),
        (("--images", "PICTURES", "--pairs", "PAIRS", "--leaks", "--baselines", ""), "nobody outside"),
    ],
)
def test_what_does_not_go_together_is_one_line_before_anything_long(
    pictures: Path, pairs: Path, tiny_repository: Path, tmp_path: Path, options: tuple[str, ...], words: str
) -> None:
    pytest.importorskip("matplotlib", reason="plots are of the extra `plots`")
    named = {"PICTURES": pictures, "PAIRS": pairs}
    given = [named.get(option, option) for option in options]
    done = semface("rate-accuracy", "-o", tmp_path / "page.html", "--models", tiny_repository, *given)
    assert done.returncode == 1
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "page.html").exists()


def test_without_the_recogniser_of_pictures_nothing_long_begins(
    pictures: Path, tiny_repository: Path, tmp_path: Path
) -> None:
    pytest.importorskip("matplotlib", reason="plots are of the extra `plots`")
    models = shutil.copytree(tiny_repository, tmp_path / "models", ignore=shutil.ignore_patterns("dan"))
    sources = ("--expressions", pictures, "--baselines", "jpeg", "--models", models)
    done = semface("rate-accuracy", "-o", tmp_path / "page.html", *sources, "--cache", tmp_path / "cache")
    assert done.returncode == 1
    assert "dan" in done.stderr
    assert not (tmp_path / "cache").exists()


@pytest.mark.slow
def test_real_vvc_is_judged_beside_ours_and_a_second_run_codes_nothing_again(
    datasets: Path, trained_repository: Path, teachers: Path, tmp_path: Path
) -> None:
    pytest.importorskip("imageio_ffmpeg", reason="image codecs are of the extra `baselines`")
    sources = ("--images", datasets / "lfw_train.zip", "--pairs", datasets / "lfw_pairs.csv")
    sources += ("--expressions", datasets / "ferplus_valid.zip", "--models", trained_repository)
    passes = ("--baselines", "vvc,jpeg", "--qps", "43,55", "--expression-qps", "37,51", "--enlarged-qps", "49")
    options = (*sources, *passes, "--limit", 16, "--teachers", teachers, "--cache", tmp_path / "cache")
    first = report(tmp_path / "first.html", *options)
    vvc = [p for p in first["points"] if p["task"] == "verification" and p["system"] == "VVC"]
    assert [p["parameter"] for p in vvc] == ["QP 43", "QP 55"]
    # Bounds of what was measured over 300 pairs at these quantisers, wide for 16.
    assert 1800 < vvc[0]["data_bits"] < 4000 < vvc[0]["bits"] < 6000
    assert 450 < vvc[1]["data_bits"] < 1100
    (ceiling,) = [p for p in first["points"] if p["task"] == "verification" and p["system"] == "pixels"]
    assert ceiling["accuracy"] >= 0.8
    assert {p["system"] for p in first["points"] if p["task"] == "expression"} >= {"VVC", "JPEG", "pixels", "semface"}
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*.npz")}
    assert report(tmp_path / "second.html", *options) == first
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*.npz")} == before
    without = report(tmp_path / "without.html", *options, "--enlarged-qps", "")
    told, left = ({p["system"] for p in figures["points"]} for figures in (first, without))
    assert [name.startswith("VVC, enlarged") for name in told - left] == [True]
    # What was cut off is done again, and nothing else: the figures stay.
    gone = next(path for path in before if "recognised" in path.parts)
    gone.unlink()
    assert report(tmp_path / "third.html", *options) == first
