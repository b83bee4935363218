"""What is known of a subject beside its template: changed by several at once, over a rotation, and forgotten."""

import time
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from pydantic import SecretStr

from semface.access.callers import Caller
from semface.client import AsyncClient, Embedding, Model
from semface.errors import Reason, SemfaceError
from semface.gateway.enrolled.key_ring import KeyRing
from semface.gateway.enrolled.record import Record
from semface.gateway.enrolled.store import AuditEvent, EnrolledStore, StreamLengths
from semface.gateway.enrollment import PUT_TRIES, Description, Enrollment
from semface.gateway.settings import GatewaySettings
from tests.gateway.enrolled.subjects import EVENT, MODEL, embedding, record


class Contended(EnrolledStore):
    """A store in which another caller changes a subject, so many times, each time after we have read it."""

    others = 0

    async def get(self, tenant: str, subject: str) -> Any:
        found = await super().get(tenant, subject)
        if found is not None and self.others:
            self.others -= 1
            kept, value = found
            changed = replace(kept, details=replace(kept.details, labels=(f"other {self.others}",)))
            assert await self.put(tenant, changed, AuditEvent("update", "other"), value) is False
        return found


@pytest.fixture
async def enrollment(url: str, ring: KeyRing) -> AsyncIterator[Enrollment]:
    """Enrolment over a contended store; the service that knows thresholds is never asked here."""
    async with AsyncClient("127.0.0.1:1") as nobody:
        made = Enrollment(GatewaySettings(redis_url=SecretStr(url)), ring, nobody)
        await made.store.close()
        made.store = Contended(url, 30.0, ring, StreamLengths(1000, 1000))
        yield made
        await made.store.close()


@pytest.fixture
def caller(tenant: str) -> Caller:
    return Caller(tenant)


async def enrolled(enrollment: Enrollment, tenant: str, **told: Any) -> Record:
    made = record(enrollment.store, "a", 1, tenant, **told)
    await enrollment.store.put(tenant, made, EVENT)
    return made


def reason(caught: pytest.ExceptionInfo[SemfaceError]) -> Reason:
    return caught.value.reason


async def test_an_unknown_subject_is_neither_told_nor_changed_nor_tried_nor_forgotten(
    enrollment: Enrollment, caller: Caller
) -> None:
    for call in (
        enrollment.subject(caller, "a"),
        enrollment.update(caller, "a", Description(consent="x")),
        enrollment.begin_verification(caller, "a"),
        enrollment.forget(caller, "a"),
    ):
        with pytest.raises(SemfaceError) as refused:
            await call
        assert reason(refused) is Reason.SUBJECT_UNKNOWN


async def test_what_is_not_told_stays_and_what_is_cleared_goes(
    enrollment: Enrollment, caller: Caller, tenant: str
) -> None:
    await enrolled(enrollment, tenant, consent="contract", labels=("l",), groups=("g",), expires_at=time.time() + 99)
    changed = await enrollment.update(caller, "a", Description(labels=("m",), expires_in_seconds=500))
    assert (changed.details.consent, changed.details.labels, changed.details.groups) == ("contract", ("m",), ("g",))
    assert changed.details.expires_at == pytest.approx(time.time() + 500, abs=60)
    cleared = frozenset({"consent", "expires_in_seconds"})
    await enrollment.update(caller, "a", Description(groups=(), cleared=cleared))
    kept = (await enrollment.subject(caller, "a")).details
    assert (kept.consent, kept.expires_at, kept.labels, kept.groups) == (None, None, ("m",), ())


async def test_a_change_made_meanwhile_is_not_lost(enrollment: Enrollment, caller: Caller, tenant: str) -> None:
    await enrolled(enrollment, tenant)
    enrollment.store.others = PUT_TRIES - 1
    changed = await enrollment.update(caller, "a", Description(consent="ours"))
    assert (changed.details.consent, changed.details.labels) == ("ours", ("other 0",))
    assert (await enrollment.subject(caller, "a")).details == changed.details


async def test_a_subject_that_others_change_all_the_time_is_told_to_be_and_left_to_them(
    enrollment: Enrollment, caller: Caller, tenant: str
) -> None:
    await enrolled(enrollment, tenant)
    enrollment.store.others = PUT_TRIES
    with pytest.raises(SemfaceError) as refused:
        await enrollment.update(caller, "a", Description(consent="ours"))
    assert reason(refused) is Reason.OVERLOADED
    kept = (await enrollment.subject(caller, "a")).details
    assert (kept.consent, kept.labels) == (None, ("other 0",))


async def test_a_change_after_a_rotation_keeps_the_template_and_seals_it_anew(
    enrollment: Enrollment, caller: Caller, tenant: str
) -> None:
    before = await enrolled(enrollment, tenant)
    assert enrollment.store.ring.renew(tenant) == 2
    changed = await enrollment.update(caller, "a", Description(consent="ours"))
    assert (before.key, changed.key) == (1, 2)
    enrollment.store.ring.retire(tenant, destroy=True)
    kept = await enrollment.subject(caller, "a")
    assert kept.details.consent == "ours"
    assert kept.embedding(enrollment.store.protection(tenant)) @ embedding(1) > 0.999


async def test_a_record_of_before_a_rotation_is_compared_in_either_map(
    enrollment: Enrollment, caller: Caller, tenant: str
) -> None:
    before = await enrolled(enrollment, tenant)
    enrollment.store.ring.renew(tenant)
    protection = enrollment.store.protection(tenant)
    for key in (1, 2):
        assert before.vector(protection, key) @ protection.mapped(embedding(1), key) > 0.999


async def test_a_template_of_another_model_is_refused_not_compared(
    enrollment: Enrollment, caller: Caller, tenant: str
) -> None:
    kept = await enrolled(enrollment, tenant)
    other = Embedding(embedding(1), Model(MODEL.name, "2", 7))
    with pytest.raises(SemfaceError) as refused:
        await enrollment.verify(caller, kept, other, "balanced")
    assert reason(refused) is Reason.MODEL_MISMATCH


async def test_nobody_looked_up_is_nobody_found(enrollment: Enrollment, caller: Caller) -> None:
    assert await enrollment.identify(caller, [], "balanced", 5) == ([], 0.0)
