"""Accuracy against rate: every quality of codec models, with the entropy bound and the paper's coder on their latents.

One picture's bits are told four ways: the whole frame; the frame with the one portion that the task needs; the entropy
bound of the payloads, Σ −log2 p of the frozen tables; and what the paper's coder makes of all 256 integers, which has
no head, no check and no portions.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from semface.codec.bitstream import drop
from semface.codec.core import Codec
from semface.codec.prior import Quality
from semface.descriptors import Descriptors, Portion
from semface.evaluation.coding import ReceivedFaces, mean_frame_bits, read_integers, transmit
from semface.evaluation.expression import evaluate_expression, read_labels
from semface.evaluation.paper_coder import encode_order0, encode_ppm, evenly_chosen, mean_bits
from semface.evaluation.pictures import DescribedPictures, PictureArchive, Progress
from semface.evaluation.serving_path import ServingPath
from semface.evaluation.verification import Pairs, evaluate_verification, read_pairs
from semface.understanding.core import Understanding


class Judged(Protocol):
    """What judging the faces received answers."""

    @property
    def accuracy(self) -> float:
        """Share of right answers, 0 to 1."""


@dataclass(frozen=True, slots=True)
class Task:
    """Faces (N, 257) of one data set, how their decoded numbers are judged, and what the answer needs."""

    name: str
    portion: Portion
    faces: Descriptors
    judge: Callable[[ReceivedFaces], Awaitable[Judged]]


@dataclass(frozen=True, slots=True)
class RatePoint:
    """One task at one quality; bits are means over its pictures."""

    task: str
    codec: str
    quality: str
    accuracy: float
    frame_bits: float | None
    """The whole frame; None where nothing was coded."""
    portion_bits: float | None = None
    """A frame with only the portion that the task needs."""
    payload_bits: float | None = None
    entropy_bits: float | None = None
    paper_bits: float | None = None
    """Exponential Golomb codes and the order-0 adaptive model on the same integers."""
    ppm_bits: float | None = None
    """The same codes and PPMd, where it is installed."""

    def as_dict(self) -> dict[str, str | float | None]:
        """Return the figures by name."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class RateSets:
    """The pictures to judge: a zip and its pairs, a zip with votes, or both; ``limit``: only the first of each.

    ``cache`` is a folder that keeps the descriptors for further runs.
    """

    images: Path | None
    pairs: Path | None
    expressions: Path | None
    folds: frozenset[int] | None
    limit: int | None
    cache: Path | None

    def pictures(self) -> int:
        """Return how many pictures are described."""
        count = len(self._pairs().stems) if self.pairs is not None else 0
        if self.expressions is not None:
            count += len(read_labels(PictureArchive(self.expressions), self.limit))
        return count

    async def tasks(self, path: ServingPath, progress: Progress) -> list[Task]:
        """Describe the pictures; raises FIELD_INVALID when one is not in its zip."""
        found = []
        if self.images is not None:
            found.append(await self._verification(path, PictureArchive(self.images), progress))
        if self.expressions is not None:
            found.append(await self._expression(path, PictureArchive(self.expressions), progress))
        return found

    async def _verification(self, path: ServingPath, archive: PictureArchive, progress: Progress) -> Task:
        pairs = self._pairs()
        archive.require(pairs.stems)
        described = await path.describe(archive, pairs.stems, self._file("verification"), progress)
        stems, counts = _outcome(described)

        async def judge(received: ReceivedFaces) -> Judged:
            return await evaluate_verification(Understanding(path.engine), received, stems, pairs, **counts)

        return Task("verification", Portion.IDENTITY, described.descriptors[~described.skipped], judge)

    async def _expression(self, path: ServingPath, archive: PictureArchive, progress: Progress) -> Task:
        labels = read_labels(archive, self.limit)
        archive.require(list(labels))
        described = await path.describe(archive, list(labels), self._file("expression"), progress)
        stems, counts = _outcome(described)

        async def judge(received: ReceivedFaces) -> Judged:
            return await evaluate_expression(Understanding(path.engine), received, stems, labels, **counts)

        return Task("expression", Portion.EXPRESSION, described.descriptors[~described.skipped], judge)

    def _pairs(self) -> Pairs:
        assert self.pairs is not None
        return read_pairs(self.pairs, self.folds, self.limit)

    def _file(self, task: str) -> Path | None:
        if self.cache is None:
            return None
        self.cache.mkdir(parents=True, exist_ok=True)
        return self.cache / f"{task}.npz"


def _outcome(described: DescribedPictures) -> tuple[list[str], dict[str, int]]:
    """Return the stems of the pictures that could be decoded, and the counts that each result tells."""
    stems = [stem for stem, skipped in zip(described.stems, described.skipped, strict=True) if not skipped]
    return stems, {"fallback": int(described.fallback.sum()), "skipped": int(described.skipped.sum())}


async def measure_rate(
    tasks: Sequence[Task], codecs: Sequence[tuple[str, Codec]], progress: Progress, *, ppm: bool
) -> list[RatePoint]:
    """Return each task uncoded and at each quality of each of ``codecs`` (name, codec); ``ppm``: with PPMd too."""
    points = []
    for task in tasks:
        uncoded = await task.judge(ReceivedFaces(task.faces, Portion.ALL, None))
        points.append(RatePoint(task.name, "none", "uncoded", uncoded.accuracy, None))
        for name, codec in codecs:
            for quality in codec.prior.qualities:
                points.append(await _measure(task, name, codec, quality, ppm=ppm))
                progress(1)
    return points


async def _measure(task: Task, name: str, codec: Codec, quality: Quality, *, ppm: bool) -> RatePoint:
    frames, decoded = await transmit(codec, task.faces, quality=quality.index)
    bits = np.array([8 * len(frame) for frame in frames])
    result = await task.judge(ReceivedFaces(decoded, Portion.ALL, bits))
    integers, payload_bits, entropy_bits = read_integers(codec, quality, frames)
    some = evenly_chosen(integers)
    return RatePoint(
        task.name,
        name,
        quality.name,
        result.accuracy,
        frame_bits=float(bits.mean()),
        portion_bits=mean_frame_bits([drop(frame, ~task.portion) for frame in frames]),
        payload_bits=payload_bits,
        entropy_bits=entropy_bits,
        paper_bits=mean_bits(encode_order0, some),
        ppm_bits=mean_bits(encode_ppm, some) if ppm else None,
    )
