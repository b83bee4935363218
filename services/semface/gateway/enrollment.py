"""Who is enrolled: subjects, and the comparison of a face with their templates. Only embeddings are kept."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from semface.client import AsyncClient, Comparison, Embedding, Model
from semface.errors import Reason, SemfaceError
from semface.gateway.store import Template, TemplateStore

SUBJECT_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$"
"""Ids start with a letter or digit, so none is a path; subjects are named by ids that say nothing of the person."""


@dataclass(frozen=True, slots=True)
class Match:
    """A subject whose template reaches the threshold, with its cosine."""

    subject: str
    score: float


@dataclass(frozen=True, slots=True)
class Identification:
    """The matches, best first, the threshold (cosine) that decided, and how many templates were compared."""

    matches: list[Match]
    threshold: float
    compared: int


class Enrollment:
    """Enrols, compares and forgets subjects. Every method raises BACKEND_AWAY while the store is away."""

    def __init__(self, store: TemplateStore, understanding: AsyncClient) -> None:
        self._store = store
        self._understanding = understanding
        self._thresholds: dict[tuple[Model, str], float] = {}

    async def enroll(self, subject: str, embedding: Embedding) -> tuple[Template, bool]:
        """Make ``embedding`` the template of ``subject``; return it and whether the subject is new."""
        model = embedding.model
        template = Template(embedding.vector, model.name, model.version, model.hash, time.time())
        return template, await self._store.put(subject, template)

    async def template(self, subject: str) -> Template:
        """Return the template of ``subject``, or raise SUBJECT_UNKNOWN."""
        template = await self._store.get(subject)
        if template is None:
            raise _unknown()
        return template

    async def forget(self, subject: str) -> None:
        """Erase ``subject``, or raise SUBJECT_UNKNOWN."""
        if not await self._store.delete(subject):
            raise _unknown()

    async def verify(self, template: Template, frame: bytes, codec_hash: int, operating_point: str) -> Comparison:
        """Compare the face of ``frame`` with ``template``; raises MODEL_MISMATCH for another model's template."""
        return await self._understanding.compare(
            frame, _embedding(template), operating_point=operating_point, codec_hash=codec_hash
        )

    async def identify(self, embeddings: Sequence[Embedding], operating_point: str, top: int) -> list[Identification]:
        """Compare each of ``embeddings``, all of one model, with every template, which are read once.

        Returns for each the ``top`` best that reach the threshold. Raises MODEL_MISMATCH when a template was made by
        another model: to leave it out would be a silent miss.
        """
        if not embeddings:
            return []
        templates = await self._store.all()
        model = embeddings[0].model
        foreign = sum(_embedding(template).model != model for template in templates.values())
        if foreign:
            message = f"{foreign} templates were made by another model than {model}; enrol those subjects again"
            raise SemfaceError(Reason.MODEL_MISMATCH, message)
        threshold = await self._threshold(embeddings[0], operating_point)
        subjects = list(templates)
        probes = np.stack([embedding.vector for embedding in embeddings])
        vectors = np.array([template.embedding for template in templates.values()], np.float32)
        scores = probes @ vectors.reshape(-1, probes.shape[1]).T
        return [Identification(_best(subjects, row, threshold, top), threshold, len(subjects)) for row in scores]

    async def _threshold(self, embedding: Embedding, operating_point: str) -> float:
        # The model's own service knows its thresholds: it tells one beside any comparison.
        key = (embedding.model, operating_point)
        if key not in self._thresholds:
            answer = await self._understanding.compare(embedding, embedding, operating_point=operating_point)
            self._thresholds[key] = answer.threshold
        return self._thresholds[key]


def _best(subjects: list[str], scores: NDArray[np.float32], threshold: float, top: int) -> list[Match]:
    best = np.argsort(-scores, kind="stable")[:top]
    return [Match(subjects[i], float(scores[i])) for i in best if scores[i] >= threshold]


def _embedding(template: Template) -> Embedding:
    return Embedding(template.embedding, Model(template.model, template.version, template.hash))


def _unknown() -> SemfaceError:
    return SemfaceError(Reason.SUBJECT_UNKNOWN, "there is no such subject")
