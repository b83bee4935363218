"""Who is enrolled: subjects, and the comparison of a face with their templates. Only embeddings are kept."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np

from semface.access.callers import Caller
from semface.client import AsyncClient, Embedding, Model
from semface.errors import Reason, SemfaceError
from semface.gateway.enrolled.attempts import AttemptLimits, Attempts
from semface.gateway.enrolled.directories import Directories
from semface.gateway.enrolled.directory import unit
from semface.gateway.enrolled.index import Found
from semface.gateway.enrolled.key_ring import KeyRing
from semface.gateway.enrolled.record import Details, Record, make_record
from semface.gateway.enrolled.saved_index import SavedIndexes
from semface.gateway.enrolled.store import AuditEvent, EnrolledStore, StreamLengths
from semface.gateway.settings import GatewaySettings
from semface.meaning import DEFAULT_OPERATING_POINT

SUBJECT_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$"
"""Ids start with a letter or digit, so none is a path; subjects are named by ids that say nothing of the person."""

PUT_TRIES: Final = 5
"""How often a change is made again on what another one left, before it is given up."""


@dataclass(frozen=True, slots=True)
class Description:
    """What a caller says of a subject. ``None`` leaves a thing as it is where the subject is there already."""

    consent: str | None = None
    labels: tuple[str, ...] | None = None
    groups: tuple[str, ...] | None = None
    expires_in_seconds: float | None = None
    cleared: frozenset[str] = field(default_factory=frozenset)
    """Names of what is to be emptied: ``consent``, ``expires_in_seconds``."""


@dataclass(frozen=True, slots=True)
class Verification:
    """Whether a face is a subject's: score and threshold are cosines."""

    matched: bool
    score: float
    threshold: float


class Enrollment:
    """Enrols, compares and forgets subjects. Every method raises BACKEND_AWAY while the store is away."""

    def __init__(self, settings: GatewaySettings, ring: KeyRing, understanding: AsyncClient) -> None:
        """Connect at the first request; ``understanding`` tells the thresholds."""
        streams = StreamLengths(settings.changes_kept, settings.audit_kept)
        url = settings.redis_url.get_secret_value()
        self.store = EnrolledStore(url, settings.redis_timeout_seconds, ring, streams, vector_sets=settings.vector_sets)
        saved = SavedIndexes(settings.index_folder) if settings.index_folder else None
        self.directories = Directories(self.store, settings.exact_limit, saved)
        limits = AttemptLimits(settings.verify_per_minute, settings.lockout_misses, settings.lockout_seconds)
        self._attempts = Attempts(self.store, limits)
        self._understanding = understanding
        self._thresholds: dict[tuple[Model, str], float] = {}

    async def enroll(
        self, caller: Caller, subject: str, embeddings: Sequence[Embedding], told: Description
    ) -> tuple[Record, bool]:
        """Make the mean of ``embeddings`` the template of ``subject``; return its record and whether it is new.

        Raises FACES_DIFFER where two of them are not one person at the default operating point.
        """
        await self._require_one_person(embeddings)
        vector = unit(np.mean([embedding.vector for embedding in embeddings], axis=0))
        details = described(Details(time.time(), samples=len(embeddings)), told)
        protection = self.store.protection(caller.tenant)
        record = make_record(subject, vector, embeddings[0].model, details, protection)
        created = await self.store.put(caller.tenant, record, AuditEvent("enroll", caller.key_id))
        return record, bool(created)

    async def subject(self, caller: Caller, subject: str) -> Record:
        """Return the record of ``subject``, or raise SUBJECT_UNKNOWN."""
        found = await self.store.get(caller.tenant, subject)
        if found is None:
            raise unknown_subject()
        return found[0]

    async def update(self, caller: Caller, subject: str, told: Description) -> Record:
        """Change what is known of ``subject`` beside its template, or raise SUBJECT_UNKNOWN."""
        for _ in range(PUT_TRIES):
            found = await self.store.get(caller.tenant, subject)
            if found is None:
                raise unknown_subject()
            record, value = found
            protection = self.store.protection(caller.tenant)
            details = described(record.details, told)
            if record.key != protection.active:
                embedding = record.embedding(protection)
                record = make_record(subject, embedding, record.model, details, protection)
            changed = replace(record, details=details)
            if await self.store.put(caller.tenant, changed, AuditEvent("update", caller.key_id), value) is not None:
                return changed
        raise SemfaceError(Reason.OVERLOADED, "the subject is being changed by others; come again")

    async def forget(self, caller: Caller, subject: str) -> None:
        """Erase ``subject``, or raise SUBJECT_UNKNOWN."""
        pseudonym = self.store.protection(caller.tenant).pseudonym(subject)
        if not await self.store.remove(caller.tenant, pseudonym, AuditEvent("erase", caller.key_id)):
            raise unknown_subject()

    async def begin_verification(self, caller: Caller, subject: str) -> Record:
        """Begin a verification: return the record of ``subject``, or raise SUBJECT_UNKNOWN or RATE_LIMITED."""
        record = await self._attempts.begin(caller.tenant, subject, AuditEvent("verify", caller.key_id))
        if record is None:
            raise unknown_subject()
        return record

    async def verify(self, caller: Caller, record: Record, embedding: Embedding, operating_point: str) -> Verification:
        """Compare ``embedding`` with the template of ``record``; raises MODEL_MISMATCH for another model's."""
        if record.model != embedding.model:
            message = f"the template was not made by {embedding.model}, which is served; enrol the subject again"
            raise SemfaceError(Reason.MODEL_MISMATCH, message)
        threshold = await self._threshold(embedding, operating_point)
        protection = self.store.protection(caller.tenant)
        score = float(record.vector(protection, record.key) @ protection.mapped(embedding.vector, record.key))
        if score < threshold:
            await self._attempts.missed(caller.tenant, record.subject, AuditEvent("verify_refused", caller.key_id))
        return Verification(score >= threshold, score, threshold)

    async def identify(
        self,
        caller: Caller,
        embeddings: Sequence[Embedding],
        operating_point: str,
        top: int,
        group: str | None = None,
    ) -> tuple[list[Found], float]:
        """Look each of ``embeddings``, all of one model, up among the caller's subjects, or those of ``group``.

        Returns for each the ``top`` best that reach the threshold, and the threshold. Raises MODEL_MISMATCH when a
        template was made by another model: to leave it out would be a silent miss.
        """
        if not embeddings:
            return [], 0.0
        threshold = await self._threshold(embeddings[0], operating_point)
        probes = np.stack([embedding.vector for embedding in embeddings])
        directory = self.directories.of(caller.tenant)
        return await directory.search(probes, embeddings[0].model, threshold, top, group), threshold

    async def close(self) -> None:
        """Save the indexes and close the connections."""
        await self.directories.stop()
        await self.store.close()

    async def _require_one_person(self, embeddings: Sequence[Embedding]) -> None:
        if len(embeddings) == 1:
            return
        threshold = await self._threshold(embeddings[0], DEFAULT_OPERATING_POINT)
        vectors = np.stack([embedding.vector for embedding in embeddings])
        scores = vectors @ vectors.T
        if scores.min() < threshold:
            strangest = int(scores.sum(axis=0).argmin())
            raise SemfaceError(
                Reason.FACES_DIFFER,
                f"the faces are not all one person: number {strangest + 1} is unlike the others",
                field=f"faces[{strangest}]",
            )

    async def _threshold(self, embedding: Embedding, operating_point: str) -> float:
        # The model's own service knows its thresholds: it tells one beside any comparison.
        key = (embedding.model, operating_point)
        if key not in self._thresholds:
            answer = await self._understanding.compare(embedding, embedding, operating_point=operating_point)
            self._thresholds[key] = answer.threshold
        return self._thresholds[key]


def described(details: Details, told: Description) -> Details:
    """Return ``details`` with what was ``told`` in place of what was known."""
    changes: dict[str, Any] = {
        name: value
        for name, value in (("consent", told.consent), ("labels", told.labels), ("groups", told.groups))
        if value is not None
    }
    if told.expires_in_seconds is not None:
        changes["expires_at"] = time.time() + told.expires_in_seconds
    if "consent" in told.cleared:
        changes["consent"] = None
    if "expires_in_seconds" in told.cleared:
        changes["expires_at"] = None
    return replace(details, **changes)


def unknown_subject() -> SemfaceError:
    """Return the refusal of a subject that is absent, has expired, or is another tenant's: all look alike."""
    return SemfaceError(Reason.SUBJECT_UNKNOWN, "there is no such subject")
