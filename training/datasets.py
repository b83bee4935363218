"""Readers of the data sets that the recipes learn from, and the split that keeps train and test people apart.

The files and the protocol are described in the data sets' own README; ``SEMFACE_DATASETS`` names the folder that holds
them, ``SEMFACE_CACHE`` the folder for arrays that are computed once (default ``build/cache``).
"""

import argparse
import csv
import hashlib
import io
import os
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from semface.evaluation.expression import VOTE_COLUMNS

REPOSITORY = Path(__file__).resolve().parents[1]


def root() -> Path:
    """Return the folder of the data sets."""
    return Path(os.environ.get("SEMFACE_DATASETS", REPOSITORY.parent / "shared" / "datasets"))


def cache() -> Path:
    """Return the folder for computed arrays, making it if need be."""
    folder = Path(os.environ.get("SEMFACE_CACHE", REPOSITORY / "build" / "cache"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@dataclass(frozen=True, slots=True)
class Picture:
    """One encoded picture of a data set; ``name`` is the file's stem."""

    name: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Pair:
    """Two LFW pictures and whether they show the same person."""

    fold: int
    same: bool
    image_a: str
    image_b: str


def person(name: str) -> str:
    """Return the person of an LFW picture's name: ``AJ_Cook`` of ``AJ_Cook_0001``."""
    return name.rsplit("_", 1)[0]


def _pictures(archive: Path) -> Iterator[Picture]:
    with zipfile.ZipFile(archive) as pictures:
        for member in pictures.namelist():
            if member.endswith(".jpg"):
                yield Picture(PurePosixPath(member).stem, pictures.read(member))


def lfw_images() -> Iterator[Picture]:
    """Yield the 10,562 pictures of ``lfw_train.zip``."""
    return _pictures(root() / "lfw_train.zip")


def ferplus(split: str) -> Iterator[Picture]:
    """Yield the pictures of ``ferplus_train.zip`` or ``ferplus_valid.zip``; ``split`` is ``train`` or ``valid``."""
    return _pictures(root() / f"ferplus_{split}.zip")


def ferplus_votes(split: str) -> dict[str, NDArray[np.float32]]:
    """Return the ten votes, in the order of ``VOTE_COLUMNS``, of each picture by name."""
    with zipfile.ZipFile(root() / f"ferplus_{split}.zip") as archive:
        rows = csv.DictReader(io.StringIO(archive.read("votes.csv").decode()))
        return {
            PurePosixPath(row["image"]).stem: np.array([float(row[vote]) for vote in VOTE_COLUMNS], np.float32)
            for row in rows
        }


def is_selection(data: bytes) -> bool:
    """Tell whether a FER+ training picture belongs to the selection part: SHA-256 of its bytes is 0 modulo 10."""
    return int.from_bytes(hashlib.sha256(data).digest()) % 10 == 0


def is_selection_person(name: str) -> bool:
    """Tell whether an LFW person is held out of training for selection: SHA-256 of the name is 0 modulo 10."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()) % 10 == 0


def pairs() -> list[Pair]:
    """Return the verification pairs of ``lfw_pairs.csv``, folds 1 to 8."""
    with (root() / "lfw_pairs.csv").open(newline="") as rows:
        return [
            Pair(int(row["fold"]), row["same"] in ("1", "True", "true"), row["image_a"], row["image_b"])
            for row in csv.DictReader(rows)
        ]


def parse_folds(text: str) -> frozenset[int]:
    """Return the folds named by ``text``: ``5-8``, ``1,3`` or nothing."""
    folds: set[int] = set()
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        folds.update(range(int(first), int(last or first) + 1))
    return frozenset(folds)


def add_excluded_folds(
    parser: argparse.ArgumentParser, meaning: str = "leave out the people of these folds, such as 5-8"
) -> None:
    """Add the option ``--exclude-folds`` to a recipe's command."""
    parser.add_argument("--exclude-folds", type=parse_folds, default=frozenset(), help=meaning)


def extractor_checkpoint(excluded: frozenset[int]) -> Path:
    """Return where the training of extraction without the people of folds ``excluded`` keeps its state."""
    folds = f"{min(excluded)}-{max(excluded)}" if excluded else "none"
    return cache() / "checkpoints" / f"extractor-without-{folds}.pt"


def people_in_folds(folds: frozenset[int]) -> frozenset[str]:
    """Return the people who appear in any pair of ``folds``."""
    return frozenset(person(name) for pair in pairs() if pair.fold in folds for name in (pair.image_a, pair.image_b))
