"""The baselines of a run: each image codec at each parameter, then the recogniser of pictures; and its ceiling."""

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Event

import numpy as np
from numpy.typing import NDArray

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
from semface.evaluation.rate_accuracy.semantic import binomial_error
from semface.evaluation.rate_accuracy.ways import UNCODED
from semface.evaluation.verification import Pairs
from semface.extraction.detection import DETECTION_MODELS
from semface.inference.engine import Engine

PIXELS = "pixels"
"""The system that codes nothing."""
ENLARGED_NOTE = f", enlarged to {ENLARGED} × {ENLARGED}"


class Baselines:
    """The image codecs that a run compares with, and the recognisers of their pictures."""

    def __init__(self, options: RateAccuracyOptions) -> None:
        """Make sure of programs and teachers; raises MODEL_UNKNOWN or FIELD_INVALID where one is not there."""
        self._options = options
        self.versions()
        wanted = options.baselines and options.images is not None
        self._identity = identity_recogniser(options.teachers) if wanted else None
        self._expression: PictureRecogniser | None = None

    def open(self, engine: Engine) -> None:
        """Take the recogniser of expressions from ``engine``, in a running loop; raises MODEL_UNKNOWN without it."""
        if self._options.baselines and self._options.expressions is not None:
            self._expression = expression_recogniser(engine, asyncio.get_running_loop())

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
        if not self._options.baselines:
            return 0
        counts = {VERIFICATION: verification, EXPRESSION: expression}
        return sum(count * (1 + len(self._passes(task))) for task, count in counts.items() if count)

    async def verification(
        self, engine: Engine, archive: PictureArchive, runs: Sequence[Pairs], progress: Progress
    ) -> list[RateAccuracyPoint]:
        """Return the points of the identity teacher on decoded pictures, pooled as ours are."""
        if self._identity is None:
            return []
        stems = list(dict.fromkeys(stem for pairs in runs for stem in pairs.stems))
        framed = await self._framed(engine, archive, stems, self._identity, progress)
        place = {stem: row for row, stem in enumerate(stems)}
        points = []
        for way in self._passes(VERIFICATION):
            found = await self._recognised(engine, framed, way, self._identity, progress)
            accuracy, tar = pooled_accuracy([judge_embeddings(found.answers, place, pairs) for pairs in runs])
            points.append(
                _point(VERIFICATION, way, self._identity.name, found, accuracy.accuracy, accuracy.standard_error, tar)
            )
        return points

    async def expression(
        self, engine: Engine, archive: PictureArchive, labels: Mapping[str, int], progress: Progress
    ) -> list[RateAccuracyPoint]:
        """Return the points of the recogniser of expressions on decoded pictures; one that is not read is wrong."""
        if self._expression is None:
            return []
        framed = await self._framed(engine, archive, list(labels), self._expression, progress)
        truth = np.array(list(labels.values()))
        points = []
        for way in self._passes(EXPRESSION):
            found = await self._recognised(engine, framed, way, self._expression, progress)
            readable = ~np.isnan(found.answers[:, 0])
            predicted = np.where(readable, np.nan_to_num(found.answers).argmax(axis=1), -1)
            points.append(_expression_point(way, self._expression.name, found, predicted, truth))
        return points

    async def _framed(
        self,
        engine: Engine,
        archive: PictureArchive,
        stems: Sequence[str],
        recogniser: PictureRecogniser,
        progress: Progress,
    ) -> FramedPictures:
        kept = self._kept("framed", _faces_key(engine, archive), recogniser.digest)
        return await frame_pictures(engine, archive, stems, recogniser, kept, progress)

    async def _recognised(
        self,
        engine: Engine,
        framed: FramedPictures,
        way: PixelPass,
        recogniser: PictureRecogniser,
        progress: Progress,
    ) -> RecognisedPictures:
        kept = self._kept("recognised", _faces_key(engine, framed.archive), way.key, recogniser.digest)
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


def _faces_key(engine: Engine, archive: PictureArchive) -> str:
    """Return what the places of the faces hang on: the pictures and the networks that find them."""
    return cache_key(engine, archive, DETECTION_MODELS)


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
