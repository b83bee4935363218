"""Face verification over the wire: accuracy on pairs by the protocol of LFW's View 2, after coding."""

import csv
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from semface.errors import Reason, SemfaceError
from semface.evaluation.coding import ReceivedFaces
from semface.evaluation.protocol import (
    FoldAccuracy,
    accuracy_at_fixed_threshold,
    accuracy_over_folds,
    tar_at_far,
)
from semface.meaning import OperatingPoint
from semface.understanding.core import Understanding

FAR = 1e-2


@dataclass(frozen=True, slots=True)
class Pairs:
    """Pairs of pictures: the fold of each, whether both show one person, and the stems of the two."""

    folds: NDArray[np.int64]
    same: NDArray[np.bool_]
    first: tuple[str, ...]
    second: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.first)

    @property
    def stems(self) -> list[str]:
        """The distinct pictures, in the order in which the pairs name them."""
        return list(dict.fromkeys(stem for pair in zip(self.first, self.second, strict=True) for stem in pair))


@dataclass(frozen=True, slots=True)
class VerificationResult:
    """Figures of one run. Shares are 0..1; ``own_threshold`` says that the model's stored threshold decided."""

    accuracy: float
    standard_error: float
    tar_at_far: float | None
    bits_mean: float | None
    pairs: int
    fallback: int
    skipped: int
    own_threshold: bool

    def as_json(self) -> dict[str, float | int | None]:
        """Return the figures under the keys that the command promises."""
        return {
            "accuracy": self.accuracy,
            "standard_error": self.standard_error,
            "tar_at_far_1e-2": self.tar_at_far,
            "bits_mean": self.bits_mean,
            "pairs": self.pairs,
            "fallback": self.fallback,
            "skipped": self.skipped,
        }


def parse_folds(text: str) -> frozenset[int]:
    """Return the folds that ``text`` names, such as ``1-4`` or ``1,3``; raises FIELD_INVALID for anything else."""
    folds: set[int] = set()
    try:
        for part in text.split(","):
            first, dash, last = part.partition("-")
            folds.update(range(int(first), int(last if dash else first) + 1))
    except ValueError:
        folds.clear()
    if not folds:
        raise SemfaceError(Reason.FIELD_INVALID, f"cannot read the folds {text!r}; write 1-4 or 1,3")
    return frozenset(folds)


def read_pairs(path: Path, folds: Collection[int] | None = None, limit: int | None = None) -> Pairs:
    """Read pairs from a CSV with the columns ``fold,same,image_a,image_b`` (``same`` is 1 or 0).

    Keeps the pairs of ``folds`` (all when None) and of these the first ``limit``. Raises FIELD_INVALID for a file that
    is absent or of another form, or when no pair is left.
    """
    try:
        with path.open(newline="") as file:
            rows = [
                (int(row["fold"]), _truth(row["same"]), row["image_a"], row["image_b"]) for row in csv.DictReader(file)
            ]
    except FileNotFoundError:
        raise SemfaceError(Reason.FIELD_INVALID, f"there is no file {path}; name a CSV of pairs") from None
    except (OSError, UnicodeDecodeError, csv.Error, KeyError, TypeError, ValueError):
        raise SemfaceError(
            Reason.FIELD_INVALID, f"{path} is no table of pairs; its columns are to be fold,same,image_a,image_b"
        ) from None
    kept = [row for row in rows if folds is None or row[0] in folds][:limit]
    if not kept:
        raise SemfaceError(Reason.FIELD_INVALID, f"{path} holds no pair of the folds asked for")
    fold, same, first, second = zip(*kept, strict=True)
    return Pairs(np.array(fold), np.array(same), first, second)


def _truth(text: str) -> bool:
    return {"1": True, "0": False, "true": True, "false": False}[text.strip().lower()]


def even_pairs(pairs: Pairs, limit: int | None) -> Pairs:
    """Return about ``limit`` of ``pairs`` (all when None), as many of each fold, the kinds mixed as in the fold."""
    if limit is None:
        return pairs
    order = np.argsort(pairs.folds, kind="stable")
    rows = np.sort(order[np.linspace(0, len(order) - 1, min(limit, len(order))).astype(int)])
    return Pairs(
        pairs.folds[rows],
        pairs.same[rows],
        tuple(pairs.first[row] for row in rows),
        tuple(pairs.second[row] for row in rows),
    )


async def verification_scores(
    understanding: Understanding, received: ReceivedFaces, stems: list[str], pairs: Pairs
) -> NDArray[np.float64]:
    """Return the cosine of each pair; NaN where a picture is not among ``stems``, the pictures that were received."""
    embeddings = (await understanding.embeddings(received.descriptors, received.portions)).astype(np.float64)
    place = {stem: row for row, stem in enumerate(stems)}
    scores = np.full(len(pairs), np.nan)
    for row, (first, second) in enumerate(zip(pairs.first, pairs.second, strict=True)):
        if first in place and second in place:
            scores[row] = embeddings[place[first]] @ embeddings[place[second]]
    return scores


def pair_accuracy(scores: NDArray[np.float64], pairs: Pairs, own_threshold: float) -> tuple[FoldAccuracy, bool]:
    """Return the accuracy over the folds present, and whether ``own_threshold`` had to decide.

    With one fold, or no score in the other folds, there is nothing to choose a threshold on: the model's own decides.
    """
    judged_folds = np.unique(pairs.folds[~np.isnan(scores)])
    if len(np.unique(pairs.folds)) < 2 or len(judged_folds) < 2:
        return accuracy_at_fixed_threshold(scores, pairs.same, own_threshold), True
    return accuracy_over_folds(scores, pairs.same, pairs.folds), False


async def evaluate_verification(
    understanding: Understanding,
    received: ReceivedFaces,
    stems: list[str],
    pairs: Pairs,
    *,
    fallback: int,
    skipped: int,
) -> VerificationResult:
    """Judge ``pairs`` by the faces ``received`` of the pictures ``stems``; a pair with another picture is wrong."""
    scores = await verification_scores(understanding, received, stems, pairs)
    accuracy, own = pair_accuracy(scores, pairs, understanding.threshold(OperatingPoint.ACCURACY))
    both_kinds = bool(pairs.same.any() and (~pairs.same).any())
    return VerificationResult(
        accuracy=accuracy.accuracy,
        standard_error=accuracy.standard_error,
        tar_at_far=tar_at_far(scores, pairs.same, FAR) if both_kinds else None,
        bits_mean=received.bits_mean,
        pairs=len(pairs),
        fallback=fallback,
        skipped=skipped,
        own_threshold=own,
    )
