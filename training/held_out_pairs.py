"""Pairs of the people whom no training sees: ``python -m training.held_out_pairs pairs.csv``.

The file has the form of the data sets' ``lfw_pairs.csv``. No person is in two of its eight folds; each fold has as many
pairs of two people as of one, drawn with seed 0.
"""

import argparse
import csv
import hashlib
from itertools import combinations
from pathlib import Path
from typing import Final

import numpy as np

from training.datasets import Pair, is_selection_person, lfw_images, person

FOLDS: Final = 8
MOST_OF_ONE: Final = 10
"""Most pairs of one person: some have dozens of pictures."""


def held_out_pairs(names: list[str]) -> list[Pair]:
    """Return the pairs among ``names`` of LFW pictures whose people are held out of every training."""
    random = np.random.default_rng(0)
    folds: dict[int, dict[str, list[str]]] = {}
    for name in sorted(names):
        if is_selection_person(person(name)):
            folds.setdefault(_fold(person(name)), {}).setdefault(person(name), []).append(name)
    pairs = []
    for fold, people in sorted(folds.items()):
        same = [pair for pictures in people.values() for pair in _some(list(combinations(pictures, 2)), random)]
        pairs += [Pair(fold, True, first, second) for first, second in same]
        known = list(people)
        for _ in same if len(known) > 1 else []:
            first, second = (str(random.choice(people[who])) for who in random.choice(known, 2, replace=False))
            pairs.append(Pair(fold, False, first, second))
    return pairs


def _fold(who: str) -> int:
    return hashlib.sha256(who.encode()).digest()[1] % FOLDS + 1


def _some(pairs: list[tuple[str, str]], random: np.random.Generator) -> list[tuple[str, str]]:
    if len(pairs) <= MOST_OF_ONE:
        return pairs
    return [pairs[place] for place in sorted(random.choice(len(pairs), MOST_OF_ONE, replace=False))]


def main() -> None:
    """Write the pairs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    arguments = parser.parse_args()
    pairs = held_out_pairs([picture.name for picture in lfw_images()])
    with arguments.output.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["fold", "same", "image_a", "image_b"])
        writer.writerows((pair.fold, int(pair.same), pair.image_a, pair.image_b) for pair in pairs)
    people = {person(name) for pair in pairs for name in (pair.image_a, pair.image_b)}
    print(f"{len(pairs)} pairs of {len(people)} people")


if __name__ == "__main__":
    main()
