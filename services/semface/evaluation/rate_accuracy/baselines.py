"""The baselines of a run: each image codec at each parameter, then the recogniser of pictures; and its ceiling."""

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Event

import numpy as np
from numpy.typing import NDArray

from semface.evaluation.expression_teacher import EXPRESSION_FILE
from semface.evaluation.identity_teacher import IDENTITY_FILE
from semface.evaluation.landmark_teacher import TEACHER_FILE, LandmarkTeacher
from semface.evaluation.pictures import PictureArchive, Progress, cache_key
from semface.evaluation.protocol import mean_class_accuracy
from semface.evaluation.rate_accuracy.image_codecs import IMAGE_CODECS
from semface.evaluation.rate_accuracy.kept_answers import KeptAnswers
from semface.evaluation.rate_accuracy.options import ENLARGED, RateAccuracyOptions
from semface.evaluation.rate_accuracy.pixels import (
    FramedPictures,
    PictureRecogniser,
    PixelPass,
    RecognisedPictures,
    expression_recogniser,
    frame_pictures,
    identity_recogniser,
    recognise_pixels,
)
from semface.evaluation.rate_accuracy.points import (
    EXPRESSION,
    VERIFICATION,
    RateAccuracyPoint,
    judge_embeddings,
    pooled_accuracy,
)
from semface.evaluation.rate_accuracy.probes import LinearMap, fit_logistic
from semface.evaluation.rate_accuracy.semantic import binomial_error
from semface.evaluation.rate_accuracy.ways import UNCODED
from semface.evaluation.verification import Pairs
from semface.inference.engine import Engine
from semface.meaning import EXPRESSIONS

PIXELS = "pixels"
"""The system that codes nothing."""
FITTED_HEAD = ", fitted head"
"""Of the expression network where its last layer is fitted to labels of the training side."""
ENLARGED_NOTE = f", enlarged to {ENLARGED} × {ENLARGED}"

Labelled = tuple[PictureArchive, Mapping[str, int]]
MaybeLabelled = tuple[PictureArchive | None, Mapping[str, int]]


class Baselines:
    """The image codecs that a run compares with, and the recognisers of their pictures."""

    def __init__(self, options: RateAccuracyOptions) -> None:
        """Make sure of programs and networks; raises MODEL_UNKNOWN or FIELD_INVALID where one is not there."""
        self._options = options
        self._landmarks: LandmarkTeacher | None = None
        if not options.baselines:
            return
        self.versions()
        teachers = options.teachers
        self._landmarks = LandmarkTeacher(teachers / TEACHER_FILE)
        self._landmark_digest = hashlib.sha256((teachers / TEACHER_FILE).read_bytes()).hexdigest()
        self._identity = None if options.images is None else identity_recogniser(teachers / IDENTITY_FILE)
        self._expression = None if options.expressions is None else expression_recogniser(teachers / EXPRESSION_FILE)

    def versions(self) -> dict[str, str]:
        """Return the program behind each baseline; raises MODEL_UNKNOWN where one is not installed."""
        return {IMAGE_CODECS[name].name: IMAGE_CODECS[name].version for name in self._options.baselines}

    def _passes(self, task: str) -> list[PixelPass]:
        passes = [PixelPass(None, 0)]
        for name in self._options.baselines:
            passes += [PixelPass(IMAGE_CODECS[name], number) for number in self._options.parameters(task, name)]
        if task == EXPRESSION and "vvc" in self._options.baselines:
            passes += [PixelPass(IMAGE_CODECS["vvc"], qp, ENLARGED) for qp in self._options.enlarged_qps]
        return passes

    def total(self, verification: int, expression: int) -> int:
        """Return how many times a picture is looked at, with so many of each task: framed once, then each pass."""
        if self._landmarks is None:
            return 0
        counts = {VERIFICATION: verification, EXPRESSION: expression}
        return sum(count * (1 + len(self._passes(task))) for task, count in counts.items() if count)

    async def verification(
        self, engine: Engine, archive: PictureArchive, runs: Sequence[Pairs], progress: Progress
    ) -> list[RateAccuracyPoint]:
        """Return the points of the identity teacher on decoded pictures, pooled as ours are."""
        if self._landmarks is None or self._identity is None:
            return []
        stems = list(dict.fromkeys(stem for pairs in runs for stem in pairs.stems))
        framed = await self._framed(engine, archive, stems, progress)
        place = {stem: row for row, stem in enumerate(stems)}
        points = []
        for way in self._passes(VERIFICATION):
            found = await self._recognised(framed, way, self._identity, progress)
            accuracy, tar = pooled_accuracy([judge_embeddings(found.answers, place, pairs) for pairs in runs])
            points.append(
                _point(VERIFICATION, way, self._identity.name, found, accuracy.accuracy, accuracy.standard_error, tar)
            )
        return points

    async def expression(
        self, engine: Engine, judged: Labelled, learn: MaybeLabelled, progress: Progress
    ) -> list[RateAccuracyPoint]:
        """Return the points of the expression network as it is and, with ``learn``, with a head fitted to these."""
        if self._landmarks is None or self._expression is None:
            return []
        archive, labels = judged
        framed = await self._framed(engine, archive, list(labels), progress)
        truth = np.array(list(labels.values()))
        head = await self._head(engine, learn, progress)
        points = []
        for way in self._passes(EXPRESSION):
            found = await self._recognised(framed, way, self._expression, progress)
            readable = ~np.isnan(found.answers[:, 0])
            confidences, features = np.split(found.answers, [len(EXPRESSIONS)], axis=1)
            answers: dict[str, NDArray[np.floating]] = {self._expression.name: confidences}
            if head is not None:
                answers[self._expression.name + FITTED_HEAD] = head(features)
            for variant, told in answers.items():
                predicted = np.where(readable, np.nan_to_num(told).argmax(axis=1), -1)
                points.append(_expression_point(way, variant, found, predicted, truth))
        return points

    async def _head(self, engine: Engine, learn: MaybeLabelled, progress: Progress) -> LinearMap | None:
        """Return a logistic head on the network's features of the pictures to learn from, as they are."""
        archive, labels = learn
        if archive is None or self._expression is None:
            return None
        framed = await self._framed(engine, archive, list(labels), progress)
        found = await self._recognised(framed, PixelPass(None, 0), self._expression, progress)
        readable = ~np.isnan(found.answers[:, 0])
        features = found.answers[readable, len(EXPRESSIONS) :]
        return fit_logistic(features, np.array(list(labels.values()))[readable], len(EXPRESSIONS))

    async def _framed(
        self, engine: Engine, archive: PictureArchive, stems: Sequence[str], progress: Progress
    ) -> FramedPictures:
        assert self._landmarks is not None
        kept = self._kept("framed", cache_key(engine, archive), self._landmark_digest)
        return await frame_pictures(engine, archive, stems, self._landmarks, kept, progress)

    async def _recognised(
        self, framed: FramedPictures, way: PixelPass, recogniser: PictureRecogniser, progress: Progress
    ) -> RecognisedPictures:
        kept = self._kept("recognised", framed.archive.digest(), self._landmark_digest, way.key, recogniser.digest)
        stopped, workers = Event(), self._options.workers
        try:
            return await asyncio.to_thread(recognise_pixels, framed, way, recogniser, kept, progress, workers, stopped)
        except asyncio.CancelledError:
            # A thread is not interrupted: it has to look.
            stopped.set()
            raise

    def _kept(self, kind: str, *parts: str) -> KeptAnswers:
        """Return the answers kept under ``parts``, which is all that they hang on."""
        if self._options.cache is None:
            return KeptAnswers(None)
        name = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
        return KeptAnswers(Path(self._options.cache) / kind / name)


def _point(
    task: str,
    way: PixelPass,
    variant: str,
    found: RecognisedPictures,
    accuracy: float,
    standard_error: float,
    tar: float | None = None,
    mean_class: float | None = None,
) -> RateAccuracyPoint:
    note = "" if way.side is None else ENLARGED_NOTE
    if way.codec is None:
        return RateAccuracyPoint(task, PIXELS, variant, UNCODED, accuracy, standard_error, None, None, tar, mean_class)
    total, data = found.bits_mean
    return RateAccuracyPoint(
        task,
        way.codec.name + note,
        variant,
        f"{way.codec.quantiser} {way.parameter}",
        accuracy,
        standard_error,
        total,
        data,
        tar,
        mean_class,
    )


def _expression_point(
    way: PixelPass,
    variant: str,
    found: RecognisedPictures,
    predicted: NDArray[np.int64],
    truth: NDArray[np.int64],
) -> RateAccuracyPoint:
    accuracy = float((predicted == truth).mean())
    mean_class = mean_class_accuracy(predicted, truth)
    error = binomial_error(accuracy, len(truth))
    return _point(EXPRESSION, way, variant, found, accuracy, error, mean_class=mean_class)
