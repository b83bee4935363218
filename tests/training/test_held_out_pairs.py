"""Pairs of people who are held out: nobody whom a training sees, nobody in two folds, as many of one as of two."""

from collections import Counter

from training.datasets import is_selection_person, person
from training.held_out_pairs import MOST_OF_ONE, held_out_pairs

NAMES = [f"Person_{number}_{picture:04d}" for number in range(600) for picture in range(1, 1 + number % 9)]
PAIRS = held_out_pairs(NAMES)


def test_nobody_of_a_training_is_in_a_pair() -> None:
    assert PAIRS
    assert all(is_selection_person(person(name)) for pair in PAIRS for name in (pair.image_a, pair.image_b))


def test_pairs_are_what_they_say() -> None:
    assert all((person(pair.image_a) == person(pair.image_b)) == pair.same for pair in PAIRS)
    assert all(pair.image_a != pair.image_b for pair in PAIRS)


def test_nobody_is_in_two_folds() -> None:
    folds: dict[str, set[int]] = {}
    for pair in PAIRS:
        for name in (pair.image_a, pair.image_b):
            folds.setdefault(person(name), set()).add(pair.fold)
    assert {len(found) for found in folds.values()} == {1}


def test_a_fold_has_as_many_pairs_of_one_person_as_of_two() -> None:
    counts = Counter((pair.fold, pair.same) for pair in PAIRS)
    assert all(counts[fold, True] == counts[fold, False] for fold, _ in counts)


def test_nobody_fills_a_fold_alone() -> None:
    of_one = Counter(person(pair.image_a) for pair in PAIRS if pair.same)
    assert max(of_one.values()) <= MOST_OF_ONE


def test_the_same_pictures_give_the_same_pairs() -> None:
    assert held_out_pairs(list(reversed(NAMES))) == PAIRS
