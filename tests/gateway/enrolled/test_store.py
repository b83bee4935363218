import asyncio
import time
from pathlib import Path

import pytest

from semface.cli.embedded_store import embedded_store
from semface.errors import Reason, SemfaceError
from semface.gateway.enrolled.keyspace import Keyspace
from semface.gateway.enrolled.requests import Request
from semface.gateway.enrolled.store import AuditEvent, EnrolledStore
from tests.gateway.enrolled.subjects import EVENT, embedding, record, store_at
from tests.gateway.gateways import new_ring

ERASE = AuditEvent("erase", "tests")


async def everything(store: EnrolledStore, tenant: str) -> bytes:
    """Return every byte that Redis holds of ``tenant``."""
    held = b""
    async for key in store.redis.scan_iter(match=f"{Keyspace(tenant).prefix}*"):
        held += key
        kind = await store.redis.type(key)
        if kind == b"hash":
            held += b"".join(b"".join(item) for item in (await store.redis.hgetall(key)).items())
        elif kind == b"stream":
            held += repr(await store.redis.xrange(key)).encode()
        elif kind == b"zset":
            held += repr(await store.redis.zrange(key, 0, -1)).encode()
        else:
            held += await store.redis.get(key)
    return held


async def test_another_tenants_subject_looks_absent(store: EnrolledStore, tenant: str) -> None:
    assert await store.put(tenant, record(store, "a", tenant=tenant), EVENT) is True
    assert await store.put(tenant, record(store, "a", tenant=tenant), EVENT) is False
    other = f"{tenant}-other"
    assert await store.get(other, "a") is None
    assert await store.page(other, b"", 10) == ([], None)
    assert not await store.remove(other, store.protection(other).pseudonym("a"), ERASE)
    assert await store.get(tenant, "a") is not None


async def test_redis_holds_no_name_and_no_template_in_the_clear(store: EnrolledStore, tenant: str) -> None:
    kept = record(store, "käthe-4711", 1, tenant, consent="contract", labels=("label",), groups=("group",))
    await store.put(tenant, kept, EVENT)
    held = await everything(store, tenant)
    for secret in ("käthe-4711", "contract", "label", "group"):
        assert secret.encode() not in held
    for vector in (embedding(1).tobytes(), embedding(1).astype("<f2").tobytes(), kept.codes.tobytes()):
        assert vector[:32] not in held


async def test_after_erasing_only_the_audit_trail_tells_of_a_pseudonym(store: EnrolledStore, tenant: str) -> None:
    await store.put(tenant, record(store, "a", tenant=tenant, expires_at=time.time() + 99), EVENT)
    pseudonym = store.protection(tenant).pseudonym("a")
    assert await store.remove(tenant, pseudonym, ERASE) is True
    keys = {key.decode() async for key in store.redis.scan_iter(match=f"{Keyspace(tenant).prefix}*")}
    assert keys == {Keyspace(tenant).changes, Keyspace(tenant).audit}
    trail = await store.audit_trail(tenant, 10)
    assert [(fields["did"], fields["subject"]) for _, fields in trail] == [
        ("erase", pseudonym.hex()),
        ("enroll", pseudonym.hex()),
    ]


@pytest.mark.slow
async def test_ten_thousand_at_once_are_all_there_once(store: EnrolledStore, tenant: str) -> None:
    gate = asyncio.Semaphore(64)

    async def put(number: int) -> bool | None:
        async with gate:
            return await store.put(tenant, record(store, f"s{number % 10_000}", number % 7, tenant), EVENT)

    created = await asyncio.gather(*(put(number) for number in range(10_500)))
    assert sum(map(bool, created)) == 10_000
    seen, after = [], b""
    while after is not None:
        records, after = await store.page(tenant, after, 1000)
        seen += [one.subject for one in records]
    assert sorted(seen) == sorted(f"s{number}" for number in range(10_000))


async def test_a_page_goes_on_where_the_last_ended_whatever_is_erased(store: EnrolledStore, tenant: str) -> None:
    await store.put_many(tenant, [record(store, f"s{number}", tenant=tenant) for number in range(50)], EVENT)
    first, after = await store.page(tenant, b"", 20)
    assert len(first) == 20
    assert after is not None
    await store.remove(tenant, after, ERASE)
    second, end = await store.page(tenant, after, 100)
    assert end is None
    assert len({one.subject for one in (*first, *second)}) == 50


async def test_what_has_expired_is_absent(store: EnrolledStore, tenant: str) -> None:
    await store.put(tenant, record(store, "a", tenant=tenant, expires_at=time.time() - 1), EVENT)
    assert await store.get(tenant, "a") is None
    assert await store.expired(tenant, time.time()) == [store.protection(tenant).pseudonym("a")]


async def test_a_value_changed_in_redis_is_refused_not_missed(store: EnrolledStore, tenant: str) -> None:
    await store.put(tenant, record(store, "a", tenant=tenant), EVENT)
    pseudonym = store.protection(tenant).pseudonym("a")
    bucket = Keyspace(tenant).bucket(pseudonym)
    value = bytearray(await store.redis.hget(bucket, pseudonym))
    value[-1] ^= 1
    await store.redis.hset(bucket, pseudonym, bytes(value))
    with pytest.raises(SemfaceError) as refused:
        await store.get(tenant, "a")
    assert refused.value.reason is Reason.BACKEND_AWAY


async def test_on_a_full_server_nobody_is_enrolled_but_anybody_is_erased(store: EnrolledStore, tenant: str) -> None:
    await store.put(tenant, record(store, "a", tenant=tenant), EVENT)
    await store.redis.config_set("maxmemory", "1")
    try:
        with pytest.raises(SemfaceError) as full:
            await store.put(tenant, record(store, "b", tenant=tenant), EVENT)
        assert full.value.reason is Reason.STORE_FULL
        assert await store.remove(tenant, store.protection(tenant).pseudonym("a"), ERASE)
    finally:
        await store.redis.config_set("maxmemory", "0")
    assert await store.get(tenant, "a") is None
    assert await store.get(tenant, "b") is None


async def test_a_request_is_answered_again_and_another_under_its_id_refused(store: EnrolledStore, tenant: str) -> None:
    request = Request.of(store, tenant, "r1", b"PUT a")
    assert await request.answered() is None
    await request.done({"created": True})
    assert await Request.of(store, tenant, "r1", b"PUT a").answered() == {"created": True}
    with pytest.raises(SemfaceError) as reused:
        await Request.of(store, tenant, "r1", b"PUT b").answered()
    assert reused.value.reason is Reason.REQUEST_ID_REUSED
    assert await Request.of(store, f"{tenant}-x", "r1", b"PUT b").answered() is None


async def test_a_stopped_server_is_away_and_a_restarted_one_is_back(tmp_path: Path) -> None:
    ring = new_ring(tmp_path)
    with embedded_store(tmp_path / "data") as running:
        async with store_at(running, ring) as store:
            await store.put("default", record(store, "a"), EVENT)
    async with store_at(running, ring, 1.0) as store:
        with pytest.raises(SemfaceError) as away:
            await store.get("default", "a")
        assert away.value.reason is Reason.BACKEND_AWAY
    with embedded_store(tmp_path / "data") as running:
        async with store_at(running, ring) as store:
            assert await store.get("default", "a") is not None


async def test_a_slow_server_is_away(store: EnrolledStore, url: str, tenant: str) -> None:
    async with store_at(url, store.ring, 0.2) as hurried:
        await hurried.put(tenant, record(hurried, "a", tenant=tenant), EVENT)
        await store.redis.execute_command("CLIENT", "PAUSE", "1500", "ALL")
        with pytest.raises(SemfaceError) as away:
            await hurried.get(tenant, "a")
        assert away.value.reason is Reason.BACKEND_AWAY
    assert await store.get(tenant, "a") is not None


async def test_a_restored_snapshot_brings_no_erased_tenant_back(store: EnrolledStore, tenant: str) -> None:
    await store.put(tenant, record(store, "a", tenant=tenant), EVENT)
    bucket = Keyspace(tenant).bucket(store.protection(tenant).pseudonym("a"))
    snapshot = await store.redis.dump(bucket)
    store.ring.erase(tenant)
    await store.purge(tenant)
    await store.redis.restore(bucket, 0, snapshot)
    with pytest.raises(SemfaceError) as gone:
        await store.get(tenant, "a")
    assert gone.value.reason is Reason.KEY_INVALID
    await store.purge_erased()
    assert await everything(store, tenant) == b""
