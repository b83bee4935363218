"""Promises of the split that keeps train and test people apart."""

import numpy as np
import pytest

from training import datasets


def test_folds_are_read_from_ranges_and_lists() -> None:
    assert datasets.parse_folds("") == frozenset()
    assert datasets.parse_folds("5-8") == {5, 6, 7, 8}
    assert datasets.parse_folds("1,3-4") == {1, 3, 4}


def test_a_person_is_the_name_without_its_number() -> None:
    assert datasets.person("Anna_Maria_Perez_0012") == "Anna_Maria_Perez"


def test_about_a_tenth_is_kept_for_selection() -> None:
    share = np.mean([datasets.is_selection(str(number).encode()) for number in range(5000)])
    assert share == pytest.approx(0.1, abs=0.02)


@pytest.mark.skipif(not datasets.root().is_dir(), reason="needs the shared data sets (SEMFACE_DATASETS)")
def test_no_person_is_in_both_halves_of_the_folds() -> None:
    first, second = (datasets.people_in_folds(datasets.parse_folds(folds)) for folds in ("1-4", "5-8"))
    assert first
    assert second
    assert not first & second
