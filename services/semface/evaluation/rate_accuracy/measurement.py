"""One run of accuracy against rate: ours, the baselines and the ceilings, on the same pictures by the same protocol."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from semface.codec.core import Codec
from semface.errors import Reason, SemfaceError
from semface.evaluation.expression import ExpressionResult, read_labels
from semface.evaluation.pictures import DescribedPictures, PictureArchive, Progress, cache_key
from semface.evaluation.rate_accuracy.baselines import Baselines
from semface.evaluation.rate_accuracy.leaks import (
    Leak,
    LearnedExpressions,
    ProbedRun,
    expression_leaks,
    identity_leaks,
)
from semface.evaluation.rate_accuracy.options import FoldModels, RateAccuracyOptions
from semface.evaluation.rate_accuracy.points import EXPRESSION, VERIFICATION, RateAccuracyPoint
from semface.evaluation.rate_accuracy.semantic import (
    ExpressionRun,
    VerificationRun,
    expression_points,
    repository_hashes,
    repository_name,
    verification_points,
)
from semface.evaluation.rate_accuracy.ways import Way, ways_of
from semface.evaluation.serving_path import ServingPath
from semface.evaluation.verification import Pairs, even_pairs, read_pairs
from semface.inference import open_engine
from semface.rpc.settings import ServerSettings

LEARNED_FOR_EACH = 4
"""With a limit, probes learn from so many pictures for each that is judged."""


@dataclass
class Measured:
    """All that a run found."""

    protocol: dict[str, Any] = field(default_factory=dict)
    points: list[RateAccuracyPoint] = field(default_factory=list)
    leaks: list[Leak] = field(default_factory=list)
    expression: ExpressionResult | None = None


class Measurement:
    """A run: what is read at once, and what takes long."""

    def __init__(self, options: RateAccuracyOptions) -> None:
        """Open the pictures and pairs of ``options``; raises what reading them raises, before anything long begins."""
        self._options = options
        self._images = None if options.images is None else PictureArchive(options.images)
        self._expressions = None if options.expressions is None else PictureArchive(options.expressions)
        self._learn = None if options.learn is None else PictureArchive(options.learn)
        self._runs = [(run, self._pairs(run)) for run in self._fold_models()] if self._images else []
        for _, pairs in self._runs:
            if self._images is not None:
                self._images.require(pairs.stems)
        if options.leaks and not all(self._strangers(pairs) for _, pairs in self._runs):
            message = (
                f"{options.images} shows nobody outside the pairs, from whom a probe could learn; leave out --leaks"
            )
            raise SemfaceError(Reason.FIELD_INVALID, message)
        self._labels = read_labels(self._expressions, options.limit) if self._expressions else {}
        most = None if options.limit is None else LEARNED_FOR_EACH * options.limit
        self._learn_labels = read_labels(self._learn, most) if self._learn else {}
        self._baselines = Baselines(options)

    def _fold_models(self) -> tuple[FoldModels, ...]:
        return self._options.runs or (FoldModels(self._options.models, None),)

    def _pairs(self, run: FoldModels) -> Pairs:
        assert self._options.pairs is not None
        limit = self._options.limit
        share = None if limit is None else max(2, limit // len(self._fold_models()))
        return even_pairs(read_pairs(self._options.pairs, run.folds), share)

    def _strangers(self, pairs: Pairs) -> list[str]:
        """Return pictures of people who are in none of ``pairs``: whoever is named like ``Name_0001`` is ``Name``."""
        assert self._images is not None
        assert self._options.pairs is not None
        folds = frozenset(pairs.folds.tolist())
        judged = {_person(stem) for stem in read_pairs(self._options.pairs, folds).stems}
        stems = [stem for stem in self._images.stems if _person(stem) not in judged]
        if self._options.limit is None:
            return stems
        return stems[:: max(1, len(stems) // (LEARNED_FOR_EACH * self._options.limit))]

    @property
    def total(self) -> int:
        """How many times a picture is looked at."""
        options = self._options
        pictures = sum(len(pairs.stems) for _, pairs in self._runs)
        count = pictures + len(self._labels) + self._baselines.total(pictures, len(self._labels))
        if options.leaks:
            count += len(self._learn_labels)
            count += sum(len(self._strangers(pairs)) for _, pairs in self._runs)
        return count

    async def measure(self, progress: Progress) -> Measured:
        """Measure everything that the options ask for."""
        found = Measured()
        async with AsyncExitStack() as stack:
            models = await stack.enter_async_context(opened(self._options.models))
            codecs = {
                codec: await stack.enter_async_context(opened(codec.repository)) for codec in self._options.codecs
            }
            paths = [await stack.enter_async_context(opened(run.repository)) for run, _ in self._runs]
            found.protocol = self._protocol(models, paths)
            # All three before anything long, for they may be refused.
            self._baselines.open(models.engine)
            folds = [frozenset(pairs.folds.tolist()) if run.folds is None else run.folds for run, pairs in self._runs]
            verification = ways_of(VERIFICATION, paths, folds, codecs) if paths else []
            expression = ways_of(EXPRESSION, [models], [frozenset()], codecs)
            if self._images is not None:
                await self._verification(found, paths, verification, progress)
            if self._expressions is not None:
                await self._expression(found, models, expression, progress)
        return found

    async def _verification(
        self, found: Measured, paths: Sequence[ServingPath], ways: Sequence[Way], progress: Progress
    ) -> None:
        assert self._images is not None
        runs = []
        for path, (_, pairs) in zip(paths, self._runs, strict=True):
            described = await self._described(path, self._images, pairs.stems, progress)
            runs.append(VerificationRun(path, pairs, described))
        found.points += await verification_points(runs, ways)
        if self._options.leaks:
            probed = []
            for run in runs:
                others = await self._described(run.path, self._images, self._strangers(run.pairs), progress)
                probed.append(ProbedRun(run, others.descriptors[~others.skipped]))
            found.leaks += await identity_leaks(probed)
        found.points += await self._baselines.verification(
            paths[0].engine, self._images, [pairs for _, pairs in self._runs], progress
        )

    async def _expression(self, found: Measured, path: ServingPath, ways: Sequence[Way], progress: Progress) -> None:
        assert self._expressions is not None
        described = await self._described(path, self._expressions, list(self._labels), progress)
        run = ExpressionRun(path, self._labels, described)
        points, found.expression = await expression_points(run, ways)
        found.points += points
        if self._options.leaks and self._learn is not None:
            learned = await self._described(path, self._learn, list(self._learn_labels), progress)
            labels = np.array(list(self._learn_labels.values()))[~learned.skipped]
            faces = LearnedExpressions(learned.descriptors[~learned.skipped], labels)
            found.leaks += await expression_leaks(run, faces)
        found.points += await self._baselines.expression(path.engine, self._expressions, self._labels, progress)

    async def _described(
        self, path: ServingPath, archive: PictureArchive, stems: Sequence[str], progress: Progress
    ) -> DescribedPictures:
        """Describe the pictures; what is kept is named by networks and pictures, so that runs do not mix."""
        cache = self._options.cache
        if cache is None:
            return await path.describe(archive, stems, None, progress)
        name = hashlib.sha256("\n".join([cache_key(path.engine, archive), *stems]).encode()).hexdigest()[:16]
        return await path.describe(archive, stems, cache / "described" / f"{name}.npz", progress)

    def _protocol(self, models: ServingPath, paths: Sequence[ServingPath]) -> dict[str, Any]:
        options = self._options
        told: dict[str, Any] = {"limit": options.limit}
        if options.pairs is not None and options.images is not None:
            told["verification"] = {
                "images": _file(options.images),
                "pairs": _file(options.pairs),
                "runs": [
                    {
                        "repository": repository_name(path.repository),
                        "folds": sorted(set(pairs.folds.tolist())),
                        "pairs": len(pairs),
                        "pictures": len(pairs.stems),
                        "networks": repository_hashes(path),
                    }
                    for path, (_, pairs) in zip(paths, self._runs, strict=True)
                ],
            }
        if options.expressions is not None:
            told["expression"] = {
                "images": _file(options.expressions),
                "pictures": len(self._labels),
                "repository": repository_name(models.repository),
                "networks": repository_hashes(models),
                "default_quality": Codec(models.engine, models.repository).default_quality.name,
                "learned_from": None if options.learn is None else _file(options.learn),
            }
        return told | {"baselines": self._baselines.versions()}


@asynccontextmanager
async def opened(repository: Path) -> AsyncIterator[ServingPath]:
    """Open the networks of ``repository``; raises MODEL_UNKNOWN when there is none."""
    engine = open_engine(ServerSettings(model_repository=repository))
    try:
        yield ServingPath(engine, repository)
    finally:
        await engine.close()


def measure_rate_accuracy(measurement: Measurement, progress: Progress) -> Measured:
    """Run ``measurement`` to its end."""
    return asyncio.run(measurement.measure(progress))


def _person(stem: str) -> str:
    return stem.rsplit("_", 1)[0]


def _file(path: Path) -> dict[str, str]:
    with path.open("rb") as file:
        return {"name": path.name, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}
