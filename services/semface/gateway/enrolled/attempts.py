"""Against guessing: how often a subject may be verified in a minute, and its lock-out after misses."""

from dataclasses import dataclass

from semface.errors import Reason, SemfaceError
from semface.gateway.enrolled.connection import as_store_errors
from semface.gateway.enrolled.keyspace import Keyspace
from semface.gateway.enrolled.record import Record
from semface.gateway.enrolled.scripts import ATTEMPT, MISS
from semface.gateway.enrolled.store import AuditEvent, EnrolledStore

MINUTE_SECONDS = 60


@dataclass(frozen=True, slots=True)
class AttemptLimits:
    """Verifications of one subject: how many a minute, and how many misses within ``lockout_seconds`` lock it."""

    per_minute: int
    misses: int
    lockout_seconds: int


class Attempts:
    """Counts the verifications of each subject, in Redis, so that all gateways count together."""

    def __init__(self, store: EnrolledStore, limits: AttemptLimits) -> None:
        """Hold ``limits``."""
        self._store = store
        self._limits = limits

    async def begin(self, tenant: str, subject: str, event: AuditEvent) -> Record | None:
        """Count and note an attempt and return the record of ``subject``, or None, in one round trip.

        Raises RATE_LIMITED for too many attempts, whether there is such a subject or not.
        """
        keys, pseudonym = Keyspace(tenant), self._store.protection(tenant).pseudonym(subject)
        named = keys.bucket(pseudonym), keys.attempts(pseudonym), keys.failures(pseudonym), keys.audit
        told = pseudonym, MINUTE_SECONDS, self._store.streams.audit, *event.fields(pseudonym)
        with as_store_errors():
            value, attempts, attempts_end, misses, lock_ends = await self._store.redis.eval(
                ATTEMPT, len(named), *named, *told
            )
        if int(misses or 0) >= self._limits.misses:
            raise _too_often(lock_ends)
        if attempts > self._limits.per_minute:
            raise _too_often(attempts_end)
        read = self._store.read(tenant, pseudonym, value)
        return None if read is None else read[0]

    async def missed(self, tenant: str, subject: str, event: AuditEvent) -> None:
        """Count and note that a face was not the subject's."""
        keys, pseudonym = Keyspace(tenant), self._store.protection(tenant).pseudonym(subject)
        named = keys.failures(pseudonym), keys.audit
        told = self._limits.lockout_seconds, self._store.streams.audit, *event.fields(pseudonym)
        with as_store_errors():
            await self._store.redis.eval(MISS, len(named), *named, *told)


def _too_often(seconds: int) -> SemfaceError:
    message = f"the subject was tried too often; come again in {max(1, seconds)} s"
    return SemfaceError(Reason.RATE_LIMITED, message, retry_seconds=seconds)
