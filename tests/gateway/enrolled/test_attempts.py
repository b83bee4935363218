"""Verifications are counted, so that nobody guesses."""

import pytest

from semface.errors import Reason, SemfaceError
from semface.gateway.enrolled.attempts import AttemptLimits, Attempts
from semface.gateway.enrolled.store import AuditEvent, EnrolledStore
from tests.gateway.enrolled.subjects import EVENT, record

VERIFY = AuditEvent("verify", "tests")


async def outcome(attempts: Attempts, tenant: str, subject: str) -> tuple[Reason | None, float | None]:
    """Return why an attempt is refused and when to come again; nothing where it may go on."""
    try:
        await attempts.begin(tenant, subject, VERIFY)
    except SemfaceError as refused:
        return refused.reason, refused.retry_seconds
    return None, None


@pytest.mark.parametrize("subject", ["a", "nobody"])
async def test_attempts_beyond_the_limit_of_a_minute_are_refused_whether_there_is_such_a_subject_or_not(
    store: EnrolledStore, tenant: str, subject: str
) -> None:
    await store.put(tenant, record(store, "a", tenant=tenant), EVENT)
    attempts = Attempts(store, AttemptLimits(2, 10, 60))
    assert [await outcome(attempts, tenant, subject) for _ in range(2)] == [(None, None)] * 2
    reason, seconds = await outcome(attempts, tenant, subject)
    assert reason is Reason.RATE_LIMITED
    assert seconds is not None
    assert 0 <= seconds <= 60
    other = "nobody" if subject == "a" else "a"
    assert await outcome(attempts, tenant, other) == (None, None)
    assert await outcome(attempts, f"{tenant}-x", subject) == (None, None)


async def test_misses_lock_a_subject_for_the_stated_time_and_no_other(store: EnrolledStore, tenant: str) -> None:
    for subject in ("a", "b"):
        await store.put(tenant, record(store, subject, tenant=tenant), EVENT)
    attempts = Attempts(store, AttemptLimits(100, 2, 60))
    for _ in range(2):
        assert await outcome(attempts, tenant, "a") == (None, None)
        await attempts.missed(tenant, "a", AuditEvent("verify_refused", "tests"))
    reason, seconds = await outcome(attempts, tenant, "a")
    assert reason is Reason.RATE_LIMITED
    assert seconds is not None
    assert 50 < seconds <= 60
    assert await outcome(attempts, tenant, "b") == (None, None)
