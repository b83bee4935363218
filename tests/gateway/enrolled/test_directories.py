"""What is done for the indexes of all tenants while nobody searches."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from semface.gateway.enrolled import directories
from semface.gateway.enrolled.directories import Directories
from semface.gateway.enrolled.directory import TenantDirectory
from semface.gateway.enrolled.keyspace import Keyspace
from semface.gateway.enrolled.saved_index import SavedIndexes
from semface.gateway.enrolled.store import AuditEvent, EnrolledStore
from tests.gateway.enrolled.subjects import EVENT, MODEL, embedding, record, store_at

ERASE = AuditEvent("erase", "tests")


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look often."""
    monkeypatch.setattr(directories, "LOOK_SECONDS", 0.01)


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(30):
        while not await condition():  # noqa: ASYNC110 - what it looks at has no event
            await asyncio.sleep(0.01)


def opened(of: Directories, tenant: str) -> TenantDirectory:
    found = of.of(tenant)
    assert isinstance(found, TenantDirectory)
    return found


async def who(of: Directories, tenant: str, seed: int) -> list[str]:
    (found,) = await of.of(tenant).search(embedding(seed)[None], MODEL, 0.5, 5, None)
    return [subject for subject, _ in found.matches]


async def test_each_tenant_has_one_index_of_its_own(store: EnrolledStore, tenant: str) -> None:
    every = Directories(store, 1000, None)
    await store.put(tenant, record(store, "a", 1, tenant), EVENT)
    assert every.of(tenant) is every.of(tenant)
    assert await who(every, tenant, 1) == ["a"]
    assert await who(every, f"{tenant}-x", 1) == []


async def test_who_is_erased_leaves_the_memory_of_a_gateway_that_nobody_asks(store: EnrolledStore, tenant: str) -> None:
    idle = Directories(store, 1000, None)
    await store.put(tenant, record(store, "a", 1, tenant), EVENT)
    assert await who(idle, tenant, 1) == ["a"]
    idle.start()
    await store.remove(tenant, store.protection(tenant).pseudonym("a"), ERASE)

    async def forgotten() -> bool:
        return len(opened(idle, tenant).index) == 0

    await until(forgotten)
    await idle.stop()


async def test_of_an_erased_tenant_neither_index_nor_file_nor_snapshot_stays(
    store: EnrolledStore, tenant: str, tmp_path: Path
) -> None:
    saved = SavedIndexes(tmp_path / "indexes")
    every = Directories(store, 1000, saved)
    await store.put(tenant, record(store, "a", 1, tenant), EVENT)
    bucket = Keyspace(tenant).bucket(store.protection(tenant).pseudonym("a"))
    assert await who(every, tenant, 1) == ["a"]
    before = opened(every, tenant)
    await every.stop()
    assert saved.path(tenant).exists()
    store.ring.erase(tenant)
    every.start()

    async def gone() -> bool:
        return not saved.path(tenant).exists() and not await store.redis.exists(bucket)

    await until(gone)
    await every.stop()
    assert not saved.path(tenant).exists()
    assert every.of(tenant) is not before


async def test_a_store_that_was_away_is_followed_again(url: str, store: EnrolledStore, tenant: str) -> None:
    await store.put(tenant, record(store, "a", 1, tenant), EVENT)
    async with store_at("unix:///nowhere/valkey.sock", store.ring, 0.2) as away:
        every = Directories(away, 1000, None)
        index = opened(every, tenant)
        every.start()
        await asyncio.sleep(0.1)
        assert len(index.index) == 0
        away.redis, held = store.redis, away.redis

        async def followed() -> bool:
            return len(index.index) == 1

        await until(followed)
        await every.stop()
        away.redis = held


@pytest.mark.parametrize("after_ms", range(8))
async def test_a_stop_that_meets_a_command_under_way_ends(store: EnrolledStore, tenant: str, after_ms: int) -> None:
    every = Directories(store, 1000, None)
    await store.put(tenant, record(store, "a", 1, tenant), EVENT)
    assert await who(every, tenant, 1) == ["a"]
    store.ring.create(f"{tenant}-x")
    store.ring.erase(f"{tenant}-x")
    every.start()
    await asyncio.sleep(after_ms / 1000)
    async with asyncio.timeout(30):
        await every.stop()
