"""The arithmetic of the evaluation protocols: thresholds, folds, operating points, calibration.

A pair or a picture that could not be judged counts as wrong everywhere. Its score is NaN.
"""

from dataclasses import dataclass
from math import floor, sqrt

import numpy as np
from numpy.typing import NDArray

CALIBRATION_BINS = 15

Scores = NDArray[np.floating]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class FoldAccuracy:
    """Accuracy over folds: mean of the folds' accuracies (0..1) and the standard error of that mean."""

    accuracy: float
    standard_error: float


def accuracy_at(scores: Scores, same: Flags, threshold: float) -> float:
    """Share of pairs (0..1) decided rightly when a score of ``threshold`` or more means the same person."""
    exact = np.asarray(scores, dtype=np.float64)
    return float(np.mean(~np.isnan(exact) & ((exact >= threshold) == same)))


def best_threshold(scores: Scores, same: Flags) -> float:
    """Return the threshold that decides most pairs rightly; of several, the lowest.

    Candidates lie half-way between neighbouring scores, so that the choice does not hang on one pair's last digit.
    Raises ValueError when no pair has a score.
    """
    exact = np.asarray(scores, dtype=np.float64)
    judged = ~np.isnan(exact)
    if not judged.any():
        raise ValueError("no pair has a score, so no threshold can be chosen")
    levels = np.unique(exact[judged])
    candidates = np.concatenate(([levels[0]], (levels[:-1] + levels[1:]) / 2, [np.nextafter(levels[-1], np.inf)]))
    positives = np.sort(exact[judged & same])
    negatives = np.sort(exact[judged & ~same])
    accepted_positives = len(positives) - np.searchsorted(positives, candidates, side="left")
    rejected_negatives = np.searchsorted(negatives, candidates, side="left")
    return float(candidates[np.argmax(accepted_positives + rejected_negatives)])


def accuracy_over_folds(scores: Scores, same: Flags, folds: NDArray[np.integer]) -> FoldAccuracy:
    """Accuracy by k-fold: each fold is judged at the threshold chosen on all others.

    ``scores``, ``same`` and ``folds`` have shape (pairs,). Raises ValueError when fewer than two folds are present.
    """
    return mean_over_folds(fold_accuracies(scores, same, folds))


def fold_accuracies(scores: Scores, same: Flags, folds: NDArray[np.integer]) -> list[float]:
    """Return the accuracy of each fold at the threshold chosen on all others; raises as ``accuracy_over_folds``."""
    present = np.unique(folds)
    if len(present) < 2:
        raise ValueError("accuracy over folds needs at least two folds")
    accuracies = []
    for fold in present:
        held_out = folds == fold
        threshold = best_threshold(scores[~held_out], same[~held_out])
        accuracies.append(accuracy_at(scores[held_out], same[held_out], threshold))
    return accuracies


def mean_over_folds(accuracies: list[float]) -> FoldAccuracy:
    """Return the mean of two or more folds' ``accuracies`` (0..1) with its standard error."""
    return FoldAccuracy(float(np.mean(accuracies)), float(np.std(accuracies, ddof=1) / sqrt(len(accuracies))))


def accuracy_at_fixed_threshold(scores: Scores, same: Flags, threshold: float) -> FoldAccuracy:
    """Accuracy of one fold at a threshold chosen elsewhere; the standard error is the binomial one."""
    accuracy = accuracy_at(scores, same, threshold)
    return FoldAccuracy(accuracy, sqrt(accuracy * (1 - accuracy) / len(scores)))


def threshold_at_far(scores: Scores, same: Flags, far: float) -> float:
    """Return the lowest threshold that accepts at most the share ``far`` (0..1) of the different pairs.

    A different pair without a score counts as accepted. Raises ValueError when there is no different pair.
    """
    negatives = np.sort(np.where(np.isnan(scores[~same]), np.inf, scores[~same]).astype(np.float64))[::-1]
    if len(negatives) == 0:
        raise ValueError("a false acceptance rate needs different pairs")
    # The small term keeps 0.01 x 300 from becoming 2.
    allowed = floor(far * len(negatives) + 1e-9)
    if allowed >= len(negatives):
        return -np.inf
    return float(np.nextafter(negatives[allowed], np.inf))


def tar_at_far(scores: Scores, same: Flags, far: float) -> float:
    """Share of the same pairs (0..1) accepted at ``threshold_at_far``; a same pair without a score is not accepted."""
    if not same.any():
        raise ValueError("a true acceptance rate needs same pairs")
    return float(np.mean(scores[same].astype(np.float64) >= threshold_at_far(scores, same, far)))


def mean_class_accuracy(predicted: NDArray[np.integer], labels: NDArray[np.integer]) -> float:
    """Mean over the classes present in ``labels`` of the share recognised; a prediction of -1 is always wrong."""
    return float(np.mean([np.mean(predicted[labels == label] == label) for label in np.unique(labels)]))


def calibration_error(confidences: Scores, correct: Flags, bins: int = CALIBRATION_BINS) -> float:
    """Expected calibration error (0..1): mean over pictures of |accuracy − confidence| of their bin.

    ``confidences`` (pictures,) are leading confidences in 0..1, put into equal bins; ``correct`` says which were right.
    """
    places = np.minimum((np.asarray(confidences) * bins).astype(int), bins - 1)
    error = 0.0
    for place in np.unique(places):
        inside = places == place
        error += inside.sum() * abs(correct[inside].mean() - confidences[inside].mean())
    return float(error / len(confidences))
