"""Can the person be recognised in the picture that is redrawn? The identity teacher on redraws from α and β alone.

Each picture is described, and its face redrawn from shape and texture only: without expression, frontal, under even
light, in the frame that the teacher wants of a photograph. A pair's score is the cosine of the teacher's embeddings of
its two redraws, less the mean of the redraws of the other folds.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from semface.descriptors import GROUPS, Descriptors, split
from semface.errors import Reason, SemfaceError
from semface.evaluation.identity_teacher import (
    IDENTITY_INPUT,
    IDENTITY_SIZE,
    IdentityTeacher,
    identity_square,
    landmark_box,
)
from semface.evaluation.pictures import DescribedPictures, Pixels, Progress
from semface.evaluation.protocol import FoldAccuracy, accuracy_at, best_threshold, mean_over_folds
from semface.evaluation.verification import Pairs
from semface.morphable.camera import project
from semface.morphable.model import MorphableModel
from semface.morphable.rendering import draw, paint

REDRAWN_GROUPS: Final = {"identity": ("shape", "texture"), "shape": ("shape",), "texture": ("texture",)}
"""What ``--groups`` may name, and the descriptors that are then redrawn; all others are zero."""

Array = NDArray[np.floating]


@dataclass(frozen=True, slots=True)
class RedrawResult:
    """Figures of one run; shares are 0..1. ``one_fold`` says that odd and even pairs stood for folds."""

    accuracy: float
    standard_error: float
    pairs: int
    fallback: int
    skipped: int
    one_fold: bool

    def as_json(self) -> dict[str, float | int | None]:
        """Return the figures under the keys that the command promises."""
        return {
            "accuracy": self.accuracy,
            "standard_error": self.standard_error,
            "pairs": self.pairs,
            "fallback": self.fallback,
            "skipped": self.skipped,
        }


def redrawn_groups(groups: str) -> tuple[str, ...]:
    """Return the groups of descriptors that ``groups`` names; raises FIELD_INVALID for another name."""
    if groups not in REDRAWN_GROUPS:
        names = ", ".join(REDRAWN_GROUPS)
        raise SemfaceError(Reason.FIELD_INVALID, f"nothing is redrawn from {groups!r}; choose one of {names}")
    return REDRAWN_GROUPS[groups]


def neutral_frontal(descriptors: Descriptors, groups: tuple[str, ...] = REDRAWN_GROUPS["identity"]) -> Descriptors:
    """Return ``descriptors`` (N, 257) with all but ``groups`` zero: without expression, frontal, in even light."""
    kept = np.zeros_like(descriptors)
    for group in groups:
        kept[:, GROUPS[group]] = descriptors[:, GROUPS[group]]
    return kept


def redraw(model: MorphableModel, descriptors: Descriptors) -> Pixels:
    """Return the redrawn head of ``descriptors`` (1, 257) on black, uint8 RGB (224, 224, 3), in the teacher's frame.

    Raises FIELD_INVALID for a face too near or too distorted to draw.
    """
    groups = split(descriptors)
    landmarks = model.landmarks(model.vertices(groups["shape"], groups["expression"]))
    points, _ = project(landmarks, groups["rotation"], groups["translation"])
    left, top, side = identity_square(landmark_box(points[0]))
    scale = IDENTITY_INPUT / side
    fragments, colours = draw(model, descriptors, (-left * scale, -top * scale), scale, IDENTITY_INPUT, IDENTITY_INPUT)
    return paint(model, fragments, colours, np.zeros((IDENTITY_INPUT, IDENTITY_INPUT, 3), np.uint8))


def evaluate_redraws(
    described: DescribedPictures, pairs: Pairs, groups: tuple[str, ...], teacher: IdentityTeacher, progress: Progress
) -> RedrawResult:
    """Judge ``pairs`` by the teacher's embeddings of the pictures redrawn from ``groups`` alone.

    A pair with a skipped picture is wrong. Raises FIELD_INVALID when no pair can be judged.
    """
    model = MorphableModel.shipped()
    embeddings = np.full((len(described.stems), IDENTITY_SIZE), np.nan)
    for row in np.flatnonzero(~described.skipped):
        embeddings[row] = teacher.embed(redraw(model, neutral_frontal(described.descriptors[row : row + 1], groups)))
        progress(1)
    place = {stem: row for row, stem in enumerate(described.stems)}
    rows = np.array([[place[stem] for stem in pair] for pair in zip(pairs.first, pairs.second, strict=True)])
    one_fold = len(np.unique(pairs.folds)) < 2
    folds = np.arange(len(pairs)) % 2 if one_fold else pairs.folds
    accuracy = centred_accuracy(embeddings, rows, pairs.same, folds)
    return RedrawResult(
        accuracy.accuracy,
        accuracy.standard_error,
        len(pairs),
        int(described.fallback.sum()),
        int(described.skipped.sum()),
        one_fold,
    )


def centred_accuracy(
    embeddings: Array, rows: NDArray[np.integer], same: NDArray[np.bool_], folds: NDArray[np.integer]
) -> FoldAccuracy:
    """Accuracy by k-fold of the cosines of centred embeddings: each fold's mean and threshold come from all others.

    ``embeddings`` (pictures, size) hold NaN where there is none; ``rows`` (pairs, 2) are the two pictures of each pair.
    Raises FIELD_INVALID when a fold is left without a pair that can be judged in the others.
    """
    judged = ~np.isnan(embeddings[rows]).any(axis=(1, 2))
    accuracies = []
    for fold in np.unique(folds):
        held_out = folds == fold
        others = judged & ~held_out
        if not others.any():
            raise SemfaceError(Reason.FIELD_INVALID, "too few pairs can be judged; name more pairs, of several folds")
        scores = centred_scores(embeddings, rows, others)
        threshold = best_threshold(scores[~held_out], same[~held_out])
        accuracies.append(accuracy_at(scores[held_out], same[held_out], threshold))
    return mean_over_folds(accuracies)


def centred_scores(embeddings: Array, rows: NDArray[np.integer], others: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the cosine of each of the pairs ``rows`` after the mean picture of the pairs ``others`` is taken away."""
    offsets = embeddings - embeddings[np.unique(rows[others])].mean(axis=0)
    first, second = offsets[rows].transpose(1, 0, 2)
    lengths = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    return (first * second).sum(axis=1) / np.maximum(lengths, 1e-9)
