"""Ours: every quality, whole and by portion, judged on the same pictures as the baselines."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from pathlib import Path

import numpy as np

from semface.codec.core import Codec
from semface.descriptors import PORTION_SLICES, Descriptors, Portion
from semface.evaluation.coding import ReceivedFaces, send
from semface.evaluation.expression import ExpressionResult, evaluate_expression
from semface.evaluation.pictures import DescribedPictures
from semface.evaluation.rate_accuracy.points import (
    EXPRESSION,
    VERIFICATION,
    JudgedPairs,
    RateAccuracyPoint,
    judge_scores,
    pooled_accuracy,
)
from semface.evaluation.rate_accuracy.ways import SYSTEM, UNCODED, WHOLE, Way
from semface.evaluation.serving_path import ServingPath
from semface.evaluation.verification import Pairs, verification_scores
from semface.understanding.core import Understanding


@dataclass(frozen=True, slots=True)
class VerificationRun:
    """One pair of a repository and the pairs it is judged on, whose people none of its weights have seen."""

    path: ServingPath
    pairs: Pairs
    described: DescribedPictures

    @property
    def stems(self) -> list[str]:
        """The pictures that could be decoded."""
        return readable_stems(self.described)

    @property
    def faces(self) -> Descriptors:
        """Their descriptors (N, 257)."""
        return self.described.descriptors[~self.described.skipped]


@dataclass(frozen=True, slots=True)
class ExpressionRun:
    """A repository, the labels it is judged by, and the pictures."""

    path: ServingPath
    labels: Mapping[str, int]
    described: DescribedPictures


def readable_stems(described: DescribedPictures) -> list[str]:
    """Return the stems of the pictures that could be decoded."""
    return [stem for stem, skipped in zip(described.stems, described.skipped, strict=True) if not skipped]


async def verification_points(runs: Sequence[VerificationRun], ways: Sequence[Way]) -> list[RateAccuracyPoint]:
    """Return the pooled points of ``runs``: not coded, then each of ``ways`` at each quality."""
    uncoded = [ReceivedFaces(run.faces, Portion.ALL, None) for run in runs]
    points = [await _verification_point(runs, uncoded, (SYSTEM, "identity, not coded", UNCODED))]
    for way in ways:
        for quality in way.qualities:
            received = [await way.send(place, quality, run.faces) for place, run in enumerate(runs)]
            points.append(await _verification_point(runs, received, (way.system, way.variant, quality)))
    return points


async def _verification_point(
    runs: Sequence[VerificationRun], received: Sequence[ReceivedFaces], names: tuple[str, str, str]
) -> RateAccuracyPoint:
    """Return the point called ``names``: system, variant, parameter."""
    judged: list[JudgedPairs] = []
    for run, faces in zip(runs, received, strict=True):
        scores = await verification_scores(Understanding(run.path.engine), faces, run.stems, run.pairs)
        judged.append(judge_scores(scores, run.pairs))
    accuracy, tar = pooled_accuracy(judged)
    sizes = [faces.bits for faces in received if faces.bits is not None]
    bits = float(np.concatenate(sizes).mean()) if sizes else None
    return RateAccuracyPoint(VERIFICATION, *names, accuracy.accuracy, accuracy.standard_error, bits, bits, tar)


async def expression_points(
    run: ExpressionRun, ways: Sequence[Way]
) -> tuple[list[RateAccuracyPoint], ExpressionResult]:
    """Return the points of ``run``, and the whole result of our default quality with its confusion matrix."""
    faces = run.described.descriptors[~run.described.skipped]
    uncoded = await _judged(run, ReceivedFaces(faces, Portion.ALL, None))
    points = [_expression_point(uncoded, (SYSTEM, "expression, not coded", UNCODED))]
    default = Codec(run.path.engine, run.path.repository).default_quality.name
    chosen = uncoded
    for way in ways:
        for quality in way.qualities:
            result = await _judged(run, await way.send(0, quality, faces))
            points.append(_expression_point(result, (way.system, way.variant, quality)))
            if (way.system, way.variant, quality) == (SYSTEM, WHOLE, default):
                chosen = result
    return points, chosen


async def _judged(run: ExpressionRun, received: ReceivedFaces) -> ExpressionResult:
    described = run.described
    return await evaluate_expression(
        Understanding(run.path.engine),
        received,
        readable_stems(described),
        run.labels,
        fallback=int(described.fallback.sum()),
        skipped=int(described.skipped.sum()),
    )


def _expression_point(result: ExpressionResult, names: tuple[str, str, str]) -> RateAccuracyPoint:
    return RateAccuracyPoint(
        EXPRESSION,
        *names,
        result.accuracy,
        binomial_error(result.accuracy, result.images),
        result.bits_mean,
        result.bits_mean,
        mean_class_accuracy=result.mean_class_accuracy,
        calibration_error=result.calibration_error,
    )


def binomial_error(share: float, count: int) -> float:
    """Return the standard error of a ``share`` (0..1) of ``count`` independent pictures."""
    return sqrt(share * (1.0 - share) / count)


async def received_portion(
    path: ServingPath, faces: Descriptors, portion: Portion, quality: str | None
) -> tuple[Descriptors, float | None]:
    """Return the numbers of ``portion`` (N, D) as they arrive when it alone is sent, and the mean bits of a frame.

    ``quality``: its name, the codec's default for None, or ``uncoded``.
    """
    codec = None if quality == UNCODED else Codec(path.engine, path.repository, quality)
    received = await send(codec, faces, portion)
    return received.descriptors[:, PORTION_SLICES[portion]], received.bits_mean


def repository_hashes(path: ServingPath) -> dict[str, str]:
    """Return the hash of each network that a run hangs on, shortened to 16 digits, and the codec's."""
    names = ("descriptor_extraction", "expression_recognition", "face_verification")
    hashes = {name: str(path.engine.metadata(name).hash)[:16] for name in names}
    return hashes | {"codec": Codec(path.engine, path.repository).model_hash[:16]}


def repository_name(repository: Path) -> str:
    """Return the folder's own name: where it lies on a machine is nobody's business."""
    return repository.resolve().name
