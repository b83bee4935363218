"""Answers outlast the run that made them, and a run that was cut off loses only its last part."""

from pathlib import Path

import numpy as np

from semface.evaluation.rate_accuracy.kept_answers import KeptAnswers


def test_answers_come_back_in_the_order_asked_for(tmp_path: Path) -> None:
    kept = KeptAnswers(tmp_path / "kept")
    kept.add(["a", "b"], {"bits": np.array([1, 2])})
    kept.add(["c"], {"bits": np.array([3])})
    again = KeptAnswers(tmp_path / "kept")
    assert again.missing(["a", "d", "c"]) == ["d"]
    np.testing.assert_array_equal(again.gather(["c", "a", "b"])["bits"], [3, 1, 2])
    again.add(["d"], {"bits": np.array([4])})
    np.testing.assert_array_equal(KeptAnswers(tmp_path / "kept").gather(["d", "c"])["bits"], [4, 3])


def test_a_part_that_was_not_finished_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "00000.part").write_bytes(b"half an archive")
    kept = KeptAnswers(tmp_path)
    assert kept.missing(["a"]) == ["a"]
    kept.add(["a"], {"bits": np.array([5])})
    assert KeptAnswers(tmp_path).missing(["a"]) == []


def test_without_a_folder_answers_last_as_long_as_the_run() -> None:
    kept = KeptAnswers(None)
    assert kept.gather([]) == {}
    kept.add(["a"], {"bits": np.array([5])})
    assert kept.missing(["a", "b"]) == ["b"]
