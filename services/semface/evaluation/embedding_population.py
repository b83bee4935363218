"""People as the verification network sees them: Gaussians fitted to its embeddings, to draw as many as are wanted.

An embedding is taken for the mean of all, what its person adds, and what the picture adds. Both are Gaussian: from
pairs of pictures of one person comes the covariance within a person, W = E[d dᵀ] / 2 with d their difference, and that
between people is what is left of the covariance of all pictures.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from semface.descriptors import Portion
from semface.errors import Reason, SemfaceError
from semface.evaluation.pictures import PictureArchive, Progress
from semface.evaluation.serving_path import RunOptions, ServingPath
from semface.evaluation.verification import Pairs
from semface.meaning import EMBEDDING_SIZE
from semface.understanding.core import Understanding

DRAWN_AT_ONCE: Final = 10_000
LEAST_PAIRS: Final = 20
"""Pairs of one person below which a spread is not worth the name."""

Vectors = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class EmbeddingPopulation:
    """Mean (512,) of all embeddings; factors (512, 512) that give white noise (N, 512) the covariance of each part."""

    mean: Vectors
    between: Vectors
    within: Vectors

    def draw(self, count: int, probes: int, seed: int) -> tuple[Vectors, NDArray[np.intp], Vectors]:
        """Return unit templates (``count``, 512), one of each person, and of some people another picture.

        Of those: their rows among the templates (``probes``,), ascending, and the other pictures (``probes``, 512).
        """
        random = np.random.default_rng(seed)
        asked = np.sort(random.integers(0, count, probes))
        templates, seen = np.empty((count, len(self.mean)), np.float32), list[Vectors]()
        for start in range(0, count, DRAWN_AT_ONCE):
            end = min(start + DRAWN_AT_ONCE, count)
            people = self.mean + _noise(random, end - start) @ self.between
            templates[start:end] = _unit(people + _noise(random, end - start) @ self.within)
            again = people[asked[np.searchsorted(asked, start) : np.searchsorted(asked, end)] - start]
            seen.append(_unit(again + _noise(random, len(again)) @ self.within))
        return templates, asked, np.concatenate(seen)


def fit_population(embeddings: Vectors, differences: Vectors) -> EmbeddingPopulation:
    """Fit to ``embeddings`` (N, 512) of pictures and to ``differences`` (M, 512) of two pictures of one person."""
    mean = embeddings.mean(axis=0)
    total = _covariance(embeddings - mean)
    within = _covariance(differences) / 2
    return EmbeddingPopulation(mean, _factor(total - within), _factor(within))


def split_population(embeddings: Vectors, cosine: float) -> EmbeddingPopulation:
    """Fit to ``embeddings`` (N, 512) of as many people; ``cosine``, about that of two pictures of one, is assumed."""
    mean = embeddings.mean(axis=0)
    whole = _factor(_covariance(embeddings - mean))
    return EmbeddingPopulation(mean, whole * np.float32(np.sqrt(cosine)), whole * np.float32(np.sqrt(1 - cosine)))


async def measure_population(
    path: ServingPath, archive: PictureArchive, pairs: Pairs, progress: Progress
) -> EmbeddingPopulation:
    """Fit to the pictures of ``pairs``, each coded and decoded as an enrolment does it.

    Raises FIELD_INVALID for too few pairs of one person, or where the archive lacks a picture.
    """
    if int(pairs.same.sum()) < LEAST_PAIRS:
        message = f"a spread within a person takes {LEAST_PAIRS} pairs of one person or more"
        raise SemfaceError(Reason.FIELD_INVALID, message, field="pairs")
    stems, received = await path.receive(archive, pairs.stems, RunOptions(portions=Portion.IDENTITY), progress)
    embeddings = await Understanding(path.engine).embeddings(received.descriptors, received.portions)
    return fit_population(embeddings, _differences(embeddings, stems, pairs))


def _differences(embeddings: Vectors, stems: Sequence[str], pairs: Pairs) -> Vectors:
    place = {stem: row for row, stem in enumerate(stems)}
    rows = [
        (place[first], place[second])
        for first, second, same in zip(pairs.first, pairs.second, pairs.same, strict=True)
        if same and first in place and second in place
    ]
    firsts, seconds = np.array(rows).T
    return embeddings[firsts] - embeddings[seconds]


def _covariance(vectors: Vectors) -> NDArray[np.float64]:
    rows = vectors.astype(np.float64)
    return rows.T @ rows / len(rows)


def _factor(covariance: NDArray[np.float64]) -> Vectors:
    """Return F (512, 512) with FᵀF = ``covariance``; what a small sample made negative is 0."""
    values, directions = np.linalg.eigh(covariance)
    return (directions * np.sqrt(np.maximum(values, 0))).T.astype(np.float32)


def _noise(random: np.random.Generator, count: int) -> Vectors:
    return random.standard_normal((count, EMBEDDING_SIZE), np.float32)


def _unit(vectors: Vectors) -> Vectors:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)
