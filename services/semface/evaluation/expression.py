"""Expression recognition over the wire: accuracy and calibration on pictures with crowd votes (FER+), after coding."""

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semface.errors import Reason, SemfaceError
from semface.evaluation.coding import ReceivedFaces
from semface.evaluation.pictures import PictureArchive, Progress, view_pictures
from semface.evaluation.protocol import calibration_error, mean_class_accuracy
from semface.inference.engine import Engine
from semface.meaning import EXPRESSIONS
from semface.recognisers import Recogniser
from semface.understanding.core import Understanding

VOTES_FILE = "votes.csv"
VOTE_COLUMNS = (*EXPRESSIONS, "unknown", "no_face")


@dataclass(frozen=True, slots=True)
class ExpressionResult:
    """Figures of one run; shares are 0..1, ``confusion`` (8, 8) counts pictures by label (row) and answer (column).

    ``class_accuracy`` is the share recognised of each class, None for one without a picture.
    """

    accuracy: float
    mean_class_accuracy: float
    calibration_error: float | None
    bits_mean: float | None
    images: int
    fallback: int
    skipped: int
    confusion: NDArray[np.int64]
    class_accuracy: tuple[float | None, ...]

    def as_json(self) -> dict[str, Any]:
        """Return the figures under the keys that the command promises.

        ``confusion`` has a row for each of ``classes`` as voted, a column for each as answered, and counts pictures.
        """
        return {
            "accuracy": self.accuracy,
            "mean_class_accuracy": self.mean_class_accuracy,
            "calibration_error": self.calibration_error,
            "bits_mean": self.bits_mean,
            "images": self.images,
            "fallback": self.fallback,
            "skipped": self.skipped,
            "classes": list(EXPRESSIONS),
            "class_accuracy": list(self.class_accuracy),
            "confusion": self.confusion.tolist(),
        }


def majority_label(votes: NDArray[np.floating]) -> int | None:
    """Return the class with strictly more of the ten ``votes`` than every other, or None where no class has.

    None, too, where "unknown" or "no face" leads.
    """
    leading = int(votes.argmax())
    if leading >= len(EXPRESSIONS) or np.count_nonzero(votes == votes[leading]) > 1:
        return None
    return leading


def read_labels(archive: PictureArchive, limit: int | None = None) -> dict[str, int]:
    """Return the label (0..7) of each usable picture of ``archive`` by stem, in the order of its ``votes.csv``.

    The first ``limit`` of them where it is given. Raises FIELD_INVALID when the table is absent, of another form, or
    names no usable picture.
    """
    labels: dict[str, int] = {}
    try:
        for row in csv.DictReader(io.StringIO(archive.text(VOTES_FILE))):
            label = majority_label(np.array([float(row[column]) for column in VOTE_COLUMNS]))
            if label is not None:
                labels[PurePosixPath(row["image"]).stem] = label
    except (KeyError, TypeError, ValueError, csv.Error):
        raise SemfaceError(
            Reason.FIELD_INVALID, f"{VOTES_FILE} is to have the columns image,{','.join(VOTE_COLUMNS)} and numbers"
        ) from None
    if not labels:
        raise SemfaceError(Reason.FIELD_INVALID, f"{VOTES_FILE} names no picture with one leading expression")
    return dict(list(labels.items())[:limit])


async def evaluate_expression(
    understanding: Understanding,
    received: ReceivedFaces,
    stems: list[str],
    labels: Mapping[str, int],
    *,
    fallback: int,
    skipped: int,
) -> ExpressionResult:
    """Judge the faces ``received`` of the pictures ``stems`` by ``labels``; see ``judge``."""
    confidences = await understanding.expressions(received.descriptors, received.portions)
    return judge(confidences, stems, labels, bits_mean=received.bits_mean, fallback=fallback, skipped=skipped)


async def evaluate_views(
    engine: Engine, recogniser: Recogniser, archive: PictureArchive, limit: int | None, progress: Progress
) -> ExpressionResult:
    """Judge ``recogniser``, which looks at crops, on the usable pictures of ``archive``, of these the first ``limit``.

    Nothing is coded. Raises FIELD_INVALID when a picture is not in the zip, MODEL_UNKNOWN without the network.
    """
    labels, understanding = read_labels(archive, limit), Understanding(engine)
    understanding.recogniser_model(recogniser)
    stems = list(labels)
    archive.require(stems)
    rows: list[int] = []
    told, fallback = [np.empty((0, len(recogniser.classes)), np.float32)], 0
    async for views in view_pictures(engine, archive, stems, progress):
        rows += views
        fallback += sum(view.eyes is None for view in views.values())
        crops = np.stack([view.crop for view in views.values()])
        told.append((await understanding.recognitions(recogniser, crops))["confidences"])
    seen = [stems[row] for row in rows]
    skipped = len(stems) - len(seen)
    return judge(np.concatenate(told), seen, labels, bits_mean=None, fallback=fallback, skipped=skipped)


def judge(
    confidences: NDArray[np.float32],
    stems: list[str],
    labels: Mapping[str, int],
    *,
    bits_mean: float | None,
    fallback: int,
    skipped: int,
) -> ExpressionResult:
    """Judge ``confidences`` (N, 8) of the pictures ``stems`` by ``labels``; other labelled pictures count as wrong.

    The calibration error is over the pictures that have a confidence.
    """
    place = {stem: row for row, stem in enumerate(stems)}
    truth = np.array(list(labels.values()))
    rows = np.array([place.get(stem, -1) for stem in labels])
    judged = rows >= 0
    predicted = np.full(len(truth), -1)
    predicted[judged] = confidences.argmax(axis=1)[rows[judged]]
    confusion = np.zeros((len(EXPRESSIONS), len(EXPRESSIONS)), np.int64)
    np.add.at(confusion, (truth[judged], predicted[judged]), 1)
    correct = predicted == truth
    leading = confidences.max(axis=1)[rows[judged]] if judged.any() else np.empty(0)
    return ExpressionResult(
        accuracy=float(correct.mean()),
        mean_class_accuracy=mean_class_accuracy(predicted, truth),
        calibration_error=calibration_error(leading, correct[judged]) if judged.any() else None,
        bits_mean=bits_mean,
        images=len(truth),
        fallback=fallback,
        skipped=skipped,
        confusion=confusion,
        class_accuracy=class_accuracies(predicted, truth),
    )


def class_accuracies(predicted: NDArray[np.integer], truth: NDArray[np.integer]) -> tuple[float | None, ...]:
    """Return the share recognised of each of the eight classes; a prediction of -1 is always wrong."""
    return tuple(
        float((predicted[truth == place] == place).mean()) if (truth == place).any() else None
        for place in range(len(EXPRESSIONS))
    )
