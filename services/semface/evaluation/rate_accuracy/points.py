"""One point of accuracy against rate, and how pairs and pictures are judged to make one."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from semface.evaluation.protocol import (
    FoldAccuracy,
    best_threshold,
    fold_accuracies,
    mean_over_folds,
    tar_at_far,
)
from semface.evaluation.protocol import accuracy_at as accuracy_at_threshold
from semface.evaluation.redraws import centred_scores
from semface.evaluation.verification import FAR, Pairs

Array = NDArray[np.floating]

VERIFICATION = "verification"
EXPRESSION = "expression"


@dataclass(frozen=True, slots=True)
class RateAccuracyPoint:
    """One system at one parameter. Shares are 0 to 1, bits are means over the distinct pictures."""

    task: str
    """``verification`` or ``expression``."""
    system: str
    """``semface``, or the image codec."""
    variant: str
    """What travels, or what recognises the decoded picture."""
    parameter: str
    """Quality or QP; ``uncoded`` for a ceiling."""
    accuracy: float
    standard_error: float
    bits: float | None
    """Everything that is sent; None where nothing was coded."""
    data_bits: float | None = None
    """Of these the picture data alone (slices, scans); of ours all, since nothing is sent beside the frame."""
    tar_at_far: float | None = None
    """At FAR 1e-2, over all pairs."""
    mean_class_accuracy: float | None = None
    calibration_error: float | None = None

    def as_dict(self) -> dict[str, str | float | None]:
        """Return the figures by name."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class JudgedPairs:
    """The pairs of one run: accuracy of each fold, score of each pair (NaN without one), whether it is one person."""

    accuracies: list[float]
    scores: NDArray[np.float64]
    same: NDArray[np.bool_]


def judged_folds(pairs: Pairs) -> NDArray[np.int64]:
    """Return the fold of each pair; with one fold only, odd and even pairs stand for two."""
    if len(np.unique(pairs.folds)) > 1:
        return pairs.folds
    return np.arange(len(pairs), dtype=np.int64) % 2


def judge_scores(scores: NDArray[np.float64], pairs: Pairs) -> JudgedPairs:
    """Judge ``pairs`` by their ``scores``, each fold at the threshold chosen on the others."""
    return JudgedPairs(fold_accuracies(scores, pairs.same, judged_folds(pairs)), scores, pairs.same)


def judge_embeddings(embeddings: Array, place: dict[str, int], pairs: Pairs) -> JudgedPairs:
    """Judge ``pairs`` by embeddings (pictures, D), NaN where there is none; ``place``: the row of each stem.

    Of each fold mean and threshold come from the others.
    """
    rows = np.array([[place[stem] for stem in pair] for pair in zip(pairs.first, pairs.second, strict=True)])
    judged = ~np.isnan(embeddings[rows]).any(axis=(1, 2))
    folds, accuracies, scores = judged_folds(pairs), [], np.full(len(pairs), np.nan)
    for fold in np.unique(folds):
        held_out = folds == fold
        here = centred_scores(embeddings, rows, judged & ~held_out)
        threshold = best_threshold(here[~held_out], pairs.same[~held_out])
        accuracies.append(accuracy_at_threshold(here[held_out], pairs.same[held_out], threshold))
        scores[held_out] = here[held_out]
    return JudgedPairs(accuracies, scores, pairs.same)


def pooled_accuracy(runs: Sequence[JudgedPairs]) -> tuple[FoldAccuracy, float | None]:
    """Return the accuracy over the folds of all ``runs``, and the mean of their TAR at FAR 1e-2.

    The rate is None where a run lacks pairs of one kind.
    """
    accuracy = mean_over_folds([share for run in runs for share in run.accuracies])
    if not all(run.same.any() and not run.same.all() for run in runs):
        return accuracy, None
    return accuracy, float(np.mean([tar_at_far(run.scores, run.same, FAR) for run in runs]))
