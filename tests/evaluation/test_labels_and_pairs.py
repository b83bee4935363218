"""What is read beside the pictures: votes and pairs."""

from pathlib import Path

import numpy as np
import pytest

from semface.errors import Reason, SemfaceError
from semface.evaluation.expression import majority_label, read_labels
from semface.evaluation.pictures import PictureArchive
from semface.evaluation.verification import Pairs, pair_accuracy, parse_folds, read_pairs


@pytest.mark.parametrize(
    ("votes", "label"),
    [
        ([0, 6, 4, 0, 0, 0, 0, 0, 0, 0], 1),
        ([3, 2, 0, 0, 0, 0, 0, 0, 2, 2], 0),
        ([5, 5, 0, 0, 0, 0, 0, 0, 0, 0], None),
        ([4, 0, 0, 0, 0, 0, 0, 0, 4, 0], None),
        ([1, 0, 0, 0, 0, 0, 0, 0, 6, 0], None),
        ([0, 0, 0, 0, 0, 0, 0, 0, 0, 9], None),
        ([0, 0, 0, 0, 0, 0, 0, 1, 0, 0], 7),
    ],
)
def test_a_picture_counts_when_one_expression_leads_alone(votes: list[int], label: int | None) -> None:
    assert majority_label(np.array(votes, float)) == label


def test_the_first_usable_pictures_are_taken(pictures: Path) -> None:
    archive = PictureArchive(pictures)
    assert read_labels(archive) == {"Ada_0001": 1, "Ada_0002": 1, "Cee_0001": 0, "Dee_0001": 3}
    assert read_labels(archive, 3) == {"Ada_0001": 1, "Ada_0002": 1, "Cee_0001": 0}


def test_pairs_are_kept_by_fold_and_then_counted(pairs: Path) -> None:
    assert len(read_pairs(pairs)) == 6
    second = read_pairs(pairs, {2}, 2)
    assert (second.first, second.second) == (("Ada_0002", "Bea_0001"), ("Ada_0001", "Cee_0001"))
    assert second.same.tolist() == [True, False]
    assert read_pairs(pairs).stems == ["Ada_0001", "Ada_0002", "Cee_0001", "Dee_0001", "Bea_0001"]


@pytest.mark.parametrize("content", ["", "a,b\n1,2\n", "fold,same,image_a,image_b\n1,perhaps,a,b\n"])
def test_a_table_of_another_form_is_told_in_one_line(tmp_path: Path, content: str) -> None:
    path = tmp_path / "pairs.csv"
    path.write_text(content)
    with pytest.raises(SemfaceError) as refused:
        read_pairs(path)
    assert refused.value.reason is Reason.FIELD_INVALID
    assert "pairs.csv" in refused.value.message


def test_folds_are_read_as_ranges_and_lists() -> None:
    assert parse_folds("1-4") == {1, 2, 3, 4}
    assert parse_folds("1,3,6-7") == {1, 3, 6, 7}
    for text in ("", "a", "4-1", "1-"):
        with pytest.raises(SemfaceError):
            parse_folds(text)


def test_with_one_fold_the_models_own_threshold_decides() -> None:
    pairs = Pairs(np.array([1, 1]), np.array([True, False]), ("a", "a"), ("b", "c"))
    accuracy, own = pair_accuracy(np.array([0.9, 0.6]), pairs, 0.7)
    assert (accuracy.accuracy, own) == (1.0, True)
    two = Pairs(np.array([1, 1, 2, 2]), np.array([True, False] * 2), ("a",) * 4, ("b",) * 4)
    accuracy, own = pair_accuracy(np.array([0.9, 0.6, 0.9, 0.6]), two, 0.99)
    assert (accuracy.accuracy, own) == (1.0, False)
