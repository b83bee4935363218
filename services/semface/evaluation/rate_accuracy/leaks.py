"""What leaks: identity from the expression portion's bits, and expression from the identity portion's.

A linear probe learns from people and pictures of the training side, received as those it is judged on. Each figure
stands beside chance, and beside the same probe on the portion that is meant to tell: a probe that finds nothing there
would prove nothing. A stronger probe may find more.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from semface.descriptors import Descriptors, Portion
from semface.evaluation.protocol import mean_class_accuracy
from semface.evaluation.rate_accuracy.points import JudgedPairs, judge_embeddings, pooled_accuracy
from semface.evaluation.rate_accuracy.probes import fit_logistic, fit_ridge
from semface.evaluation.rate_accuracy.semantic import ExpressionRun, VerificationRun, readable_stems, received_portion
from semface.evaluation.rate_accuracy.ways import PORTION_VARIANTS, UNCODED
from semface.meaning import EXPRESSIONS
from semface.understanding.core import Understanding

QUALITIES: Final = (None, UNCODED)
"""The codec's default quality, and not coded."""
DEFAULT: Final = "default"


@dataclass(frozen=True, slots=True)
class Leak:
    """What a probe tells of ``asked`` from ``sent``. Shares are 0 to 1; ``meant``: the portion is meant to tell it."""

    asked: str
    sent: str
    meant: bool
    quality: str
    bits: float | None
    accuracy: float
    chance: float
    mean_class_accuracy: float | None
    """Of a probe to which all classes weigh alike; chance is one over the classes."""
    mean_class_chance: float | None
    learned_from: int
    """Pictures of the training side."""

    def as_dict(self) -> dict[str, str | float | bool | None]:
        """Return the figures by name."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class ProbedRun:
    """A run of verification with the descriptors (N, 257) of people who are in none of its pairs."""

    run: VerificationRun
    learned: Descriptors


async def identity_leaks(runs: Sequence[ProbedRun]) -> list[Leak]:
    """Return verification by a ridge probe towards the embedding of the uncoded face, from either portion's bits."""
    leaks = []
    for portion in (Portion.EXPRESSION, Portion.IDENTITY):
        for quality in QUALITIES:
            judged, sizes = [], []
            for probed in runs:
                answer, bits = await _probed_pairs(probed, portion, quality)
                judged.append(answer)
                sizes.append(bits)
            same = np.concatenate([answer.same for answer in judged])
            leaks.append(
                Leak(
                    "identity",
                    PORTION_VARIANTS[portion],
                    portion == Portion.IDENTITY,
                    quality or DEFAULT,
                    _mean(sizes),
                    pooled_accuracy(judged)[0].accuracy,
                    float(max(same.mean(), 1.0 - same.mean())),
                    None,
                    None,
                    sum(len(probed.learned) for probed in runs),
                )
            )
    return leaks


async def _probed_pairs(probed: ProbedRun, portion: Portion, quality: str | None) -> tuple[JudgedPairs, float | None]:
    run = probed.run
    wanted = await Understanding(run.path.engine).embeddings(probed.learned)
    learned, _ = await received_portion(run.path, probed.learned, portion, quality)
    asked, bits = await received_portion(run.path, run.faces, portion, quality)
    embeddings = np.full((len(run.described.stems), wanted.shape[1]), np.nan)
    embeddings[~run.described.skipped] = fit_ridge(learned, wanted)(asked)
    place = {stem: row for row, stem in enumerate(run.described.stems)}
    return judge_embeddings(embeddings, place, run.pairs), bits


@dataclass(frozen=True, slots=True)
class LearnedExpressions:
    """Descriptors (N, 257) and labels (N,) of pictures of the training side."""

    faces: Descriptors
    labels: NDArray[np.int64]


async def expression_leaks(run: ExpressionRun, learned: LearnedExpressions) -> list[Leak]:
    """Return the expression by a logistic probe, from either portion's bits. Pictures without a face are wrong."""
    leaks = []
    faces = run.described.descriptors[~run.described.skipped]
    truth = np.array(list(run.labels.values()))
    common = int(np.bincount(learned.labels).argmax())
    for portion in (Portion.IDENTITY, Portion.EXPRESSION):
        for quality in QUALITIES:
            given, _ = await received_portion(run.path, learned.faces, portion, quality)
            asked, bits = await received_portion(run.path, faces, portion, quality)
            plain, balanced = (
                _predicted(run, fit_logistic(given, learned.labels, len(EXPRESSIONS), balanced=alike)(asked))
                for alike in (False, True)
            )
            leaks.append(
                Leak(
                    "expression",
                    PORTION_VARIANTS[portion],
                    portion == Portion.EXPRESSION,
                    quality or DEFAULT,
                    bits,
                    float((plain == truth).mean()),
                    float((truth == common).mean()),
                    mean_class_accuracy(balanced, truth),
                    1.0 / len(np.unique(truth)),
                    len(learned.faces),
                )
            )
    return leaks


def _predicted(run: ExpressionRun, logits: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the class of each labelled picture; -1 where it could not be decoded."""
    answers: Mapping[str, int] = dict(zip(readable_stems(run.described), logits.argmax(axis=1).tolist(), strict=True))
    return np.array([answers.get(stem, -1) for stem in run.labels])


def _mean(sizes: Sequence[float | None]) -> float | None:
    known = [size for size in sizes if size is not None]
    return float(np.mean(known)) if known else None
