import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from semface.client import Model
from semface.errors import Reason, SemfaceError
from semface.gateway.enrolled import directory as catching_up
from semface.gateway.enrolled import saved_index
from semface.gateway.enrolled.directory import TenantDirectory
from semface.gateway.enrolled.keyspace import Keyspace
from semface.gateway.enrolled.rotation import rotate
from semface.gateway.enrolled.saved_index import SavedIndexes
from semface.gateway.enrolled.store import AuditEvent, EnrolledStore
from tests.gateway.enrolled.subjects import EVENT, MODEL, embedding, record, store_at

ERASE = AuditEvent("erase", "tests")


def directory(store: EnrolledStore, tenant: str, saved: SavedIndexes | None = None) -> TenantDirectory:
    return TenantDirectory(store, tenant, 100_000, saved)


async def who(found: TenantDirectory, seed: int, group: str | None = None) -> list[str]:
    (one,) = await found.search(embedding(seed)[None], MODEL, 0.5, 5, group)
    return [subject for subject, _ in one.matches]


async def test_what_another_gateway_enrols_and_erases_is_seen_by_the_next_search(
    store: EnrolledStore, tenant: str
) -> None:
    first, second = directory(store, tenant), directory(store, tenant)
    assert await who(first, 1) == []
    await store.put(tenant, record(store, "a", 1, tenant), EVENT)
    assert await who(first, 1) == await who(second, 1) == ["a"]
    await store.put(tenant, record(store, "a", 2, tenant), EVENT)
    assert await who(first, 1) == []
    assert await who(first, 2) == ["a"]
    await store.remove(tenant, store.protection(tenant).pseudonym("a"), ERASE)
    assert await who(first, 2) == await who(second, 2) == []


async def test_an_erased_template_leaves_the_memory_of_an_idle_gateway(store: EnrolledStore, tenant: str) -> None:
    idle = directory(store, tenant)
    await store.put(tenant, record(store, "a", 1, tenant), EVENT)
    assert await who(idle, 1) == ["a"]
    await store.remove(tenant, store.protection(tenant).pseudonym("a"), ERASE)
    await idle.refresh()
    assert len(idle._index) == 0
    assert not idle._index._codes.any()
    assert idle._index._vectors is not None
    assert not idle._index._vectors.any()


async def test_only_the_group_is_searched_and_nobody_who_expired(store: EnrolledStore, tenant: str) -> None:
    searched = directory(store, tenant)
    await store.put(tenant, record(store, "a", 1, tenant, groups=("staff",)), EVENT)
    await store.put(tenant, record(store, "b", 1, tenant, groups=("guests",)), EVENT)
    await store.put(tenant, record(store, "c", 1, tenant, expires_at=(ends := time.time() + 3)), EVENT)
    assert sorted(await who(searched, 1)) == ["a", "b", "c"]
    assert await who(searched, 1, "staff") == ["a"]
    assert await who(searched, 1, "nobody") == []
    await asyncio.sleep(ends + 0.01 - time.time())
    assert sorted(await who(searched, 1)) == ["a", "b"]
    await searched.refresh()
    assert await store.expired(tenant, time.time()) == []


async def test_a_trimmed_stream_a_lost_one_and_an_emptied_server_are_seen(
    url: str, store: EnrolledStore, tenant: str
) -> None:
    searched = directory(store, tenant)
    await store.put(tenant, record(store, "a", 1, tenant), EVENT)
    assert await who(searched, 1) == ["a"]
    await store.put(tenant, record(store, "b", 2, tenant), EVENT)
    await store.redis.xtrim(Keyspace(tenant).changes, maxlen=0, approximate=False)
    assert await who(searched, 2) == ["b"]
    await store.put(tenant, record(store, "c", 3, tenant), EVENT)
    await store.redis.delete(Keyspace(tenant).changes)
    assert await who(searched, 3) == ["c"]
    await store.purge(tenant)
    assert await who(searched, 1) == []


async def test_an_older_snapshot_takes_the_index_back(store: EnrolledStore, tenant: str) -> None:
    searched = directory(store, tenant)
    await store.put(tenant, record(store, "a", 1, tenant), EVENT)
    keys = [key async for key in store.redis.scan_iter(match=f"{Keyspace(tenant).prefix}*")]
    snapshot = {key: await store.redis.dump(key) for key in keys}
    await store.put(tenant, record(store, "b", 2, tenant), EVENT)
    assert await who(searched, 2) == ["b"]
    await store.purge(tenant)
    for key, value in snapshot.items():
        await store.redis.restore(key, 0, value)
    await store.put(tenant, record(store, "c", 3, tenant), EVENT)
    assert (await who(searched, 1), await who(searched, 2), await who(searched, 3)) == (["a"], [], ["c"])


async def test_while_the_server_is_away_there_is_no_answer(store: EnrolledStore, tenant: str) -> None:
    await store.put(tenant, record(store, "a", 1, tenant), EVENT)
    searched = directory(store, tenant)
    assert await who(searched, 1) == ["a"]
    async with store_at("unix:///nowhere/valkey.sock", store.ring, 0.2) as away:
        searched._store = away
        with pytest.raises(SemfaceError) as refused:
            await who(searched, 1)
        assert refused.value.reason is Reason.BACKEND_AWAY


async def test_templates_of_another_model_are_a_mismatch_not_a_miss(store: EnrolledStore, tenant: str) -> None:
    await store.put(tenant, record(store, "a", 1, tenant), EVENT)
    with pytest.raises(SemfaceError) as refused:
        await directory(store, tenant).search(embedding(1)[None], Model("face_verification", "2", 7), 0.5, 5, None)
    assert refused.value.reason is Reason.MODEL_MISMATCH


async def test_a_saved_index_is_sealed_caught_up_and_forgets_who_was_erased(
    store: EnrolledStore, tenant: str, tmp_path: Path
) -> None:
    saved = SavedIndexes(tmp_path / "indexes")
    before = directory(store, tenant, saved)
    for seed, name in enumerate("abc"):
        await store.put(tenant, record(store, f"subject-{name}", seed, tenant, groups=("staff",)), EVENT)
    assert await who(before, 0) == ["subject-a"]
    await before.save()
    assert b"subject-" not in saved.path(tenant).read_bytes()
    await store.put(tenant, record(store, "subject-d", 3, tenant), EVENT)
    await store.remove(tenant, store.protection(tenant).pseudonym("subject-a"), ERASE)
    after = directory(store, tenant, saved)
    assert await who(after, 3) == ["subject-d"]
    assert await who(after, 0) == []
    assert await who(after, 1, "staff") == ["subject-b"]
    assert not saved.path(tenant).exists()
    saved.path(tenant).write_bytes(b"damaged")
    assert await who(directory(store, tenant, saved), 1) == ["subject-b"]


def held_writes(monkeypatch: pytest.MonkeyPatch) -> tuple[threading.Event, threading.Event]:
    """Hold every write of an index; return what tells that one has begun, and what lets it go on."""
    begun, go_on, write = threading.Event(), threading.Event(), SavedIndexes.write

    def slow_write(*arguments: Any) -> Path:
        begun.set()
        assert go_on.wait(10)
        return write(*arguments)

    monkeypatch.setattr(SavedIndexes, "write", slow_write)
    return begun, go_on


async def test_searches_go_on_while_the_index_is_saved_and_who_is_erased_meanwhile_is_not_in_the_file(
    store: EnrolledStore, tenant: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved = SavedIndexes(tmp_path / "indexes")
    one = directory(store, tenant, saved)
    await store.put_many(tenant, [record(store, f"s{seed}", seed, tenant) for seed in range(2)], EVENT)
    assert await who(one, 1) == ["s1"]
    begun, go_on = held_writes(monkeypatch)
    saving = asyncio.create_task(one.save())
    await asyncio.to_thread(begun.wait, 10)
    assert await who(one, 1) == ["s1"]
    await store.remove(tenant, store.protection(tenant).pseudonym("s1"), ERASE)
    assert await who(one, 1) == []
    go_on.set()
    await saving
    assert not list(saved.folder.iterdir())
    await one.save()
    found = saved.read(store.protection(tenant), 1000)
    assert found is not None
    assert len(found[0]) == 1


async def test_a_save_that_is_stopped_is_made_up_for_by_the_next(
    store: EnrolledStore, tenant: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved = SavedIndexes(tmp_path / "indexes")
    one = directory(store, tenant, saved)
    await store.put(tenant, record(store, "s0", 0, tenant), EVENT)
    assert await who(one, 0) == ["s0"]
    begun, go_on = held_writes(monkeypatch)
    saving = asyncio.create_task(one.save())
    await asyncio.to_thread(begun.wait, 10)
    saving.cancel()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await saving
    assert not saved.path(tenant).exists()
    await one.save()
    found = saved.read(store.protection(tenant), 1000)
    assert found is not None
    assert len(found[0]) == 1
    assert [path.name for path in saved.folder.iterdir()] == [saved.path(tenant).name]


async def test_a_long_index_is_sealed_in_parts_none_of_which_can_be_moved(
    store: EnrolledStore, tenant: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(saved_index, "PART_BYTES", 1000)
    monkeypatch.setattr(saved_index, "SEALED_PART_BYTES", 1028)
    saved = SavedIndexes(tmp_path / "indexes")
    first = directory(store, tenant, saved)
    await store.put_many(tenant, [record(store, f"s{seed}", seed, tenant) for seed in range(20)], EVENT)
    assert await who(first, 13) == ["s13"]
    await first.save()
    protection, path = store.protection(tenant), saved.path(tenant)
    found = saved.read(protection, 1000)
    assert found is not None
    assert len(found[0]) == 20
    whole = path.read_bytes()
    header, parts = whole[:14], [whole[start : start + 1028] for start in range(14, len(whole), 1028)]
    assert len(parts) > 5
    for changed in ([parts[1], parts[0], *parts[2:]], parts[:-1], [*parts, parts[-1]], [*parts[:-1], parts[-1][:-1]]):
        path.write_bytes(header + b"".join(changed))
        assert saved.read(protection, 1000) is None


@pytest.mark.parametrize("stop_after", [0, 1, 7, 29])
async def test_a_rotation_stopped_anywhere_loses_nothing_and_goes_on(
    store: EnrolledStore, tenant: str, stop_after: int
) -> None:
    records = [record(store, f"s{number}", number, tenant) for number in range(30)]
    await store.put_many(tenant, records, EVENT)
    searched = directory(store, tenant)
    done = 0

    def stop(_: int) -> None:
        nonlocal done
        done += 1
        if done > stop_after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await rotate(store, tenant, settle_seconds=0, progress=stop)
    for seed in (0, 13, 29):
        assert await who(searched, seed) == [f"s{seed}"]
    finished = await rotate(store, tenant, settle_seconds=0, destroy=True)
    assert (finished.key, finished.retired) == (2, [1])
    assert store.ring.in_use(tenant) == [2]
    fresh = directory(store, tenant)
    for seed in range(30):
        assert await who(searched, seed) == await who(fresh, seed) == [f"s{seed}"]


async def test_while_the_limit_is_passed_nobody_is_lost_and_nobody_comes_back(
    store: EnrolledStore, tenant: str
) -> None:
    searched = TenantDirectory(store, tenant, 40, None)
    protection, erased = store.protection(tenant), set[int]()

    async def enrol(first: int) -> None:
        for seed in range(first, 80, 4):
            await store.put(tenant, record(store, f"s{seed}", seed, tenant), EVENT)
            assert await who(searched, seed) == [f"s{seed}"]
            if seed % 3 == 0:
                await store.remove(tenant, protection.pseudonym(f"s{seed}"), ERASE)
                erased.add(seed)
                assert await who(searched, seed) == []

    assert not searched.index.screened
    await asyncio.gather(*map(enrol, range(4)))
    assert searched.index.screened
    for seed in range(80):
        assert await who(searched, seed) == ([] if seed in erased else [f"s{seed}"])


async def test_while_a_gateway_seals_under_an_old_key_a_rotation_does_not_say_it_is_done(
    store: EnrolledStore, tenant: str
) -> None:
    await store.put(tenant, record(store, "a", 1, tenant), EVENT)
    sealed = dict([pair async for values in store.values(tenant) for pair in values])

    async def seal_again() -> None:
        # What a gateway does that goes on with a ring of before.
        for pseudonym, value in sealed.items():
            await store.redis.hset(Keyspace(tenant).bucket(pseudonym), pseudonym, value)

    with pytest.raises(RuntimeError, match="old key ring"):
        await rotate(Undoing(store, seal_again), tenant, settle_seconds=0)  # type: ignore[arg-type]
    assert store.ring.in_use(tenant) == [1, 2]


class Undoing:
    """A store in which each replaced value is put back."""

    def __init__(self, store: EnrolledStore, undo: Callable[[], Awaitable[None]]) -> None:
        self._store, self._undo = store, undo

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def replace_value(self, *told: Any) -> None:
        await self._store.replace_value(*told)
        await self._undo()


async def test_on_a_full_server_a_search_reads_all_and_finds_all(store: EnrolledStore, tenant: str) -> None:
    await store.put(tenant, record(store, "a", 1, tenant), EVENT)
    await store.redis.delete(Keyspace(tenant).changes)
    await store.redis.config_set("maxmemory", "1")
    try:
        searched = directory(store, tenant)
        assert await who(searched, 1) == await who(searched, 1) == ["a"]
        assert not await store.redis.exists(Keyspace(tenant).changes)
    finally:
        await store.redis.config_set("maxmemory", "0")


async def test_an_index_behind_by_many_changes_catches_up_in_parts(
    store: EnrolledStore, tenant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catching_up, "CHANGES_AT_ONCE", 3)
    searched = directory(store, tenant)
    assert await who(searched, 1) == []
    for seed in range(10):
        await store.put(tenant, record(store, f"s{seed}", seed, tenant), EVENT)
    await store.remove(tenant, store.protection(tenant).pseudonym("s4"), ERASE)
    assert [await who(searched, seed) for seed in (0, 4, 9)] == [["s0"], [], ["s9"]]


async def test_an_index_of_a_key_of_before_is_not_kept(store: EnrolledStore, tenant: str, tmp_path: Path) -> None:
    saved = SavedIndexes(tmp_path / "indexes")
    searched = directory(store, tenant, saved)
    await store.put(tenant, record(store, "a", 1, tenant), EVENT)
    assert await who(searched, 1) == ["a"]
    store.ring.renew(tenant)
    await searched.save()
    assert not saved.path(tenant).exists()
    assert await who(searched, 1) == ["a"]
    await searched.save()
    assert saved.read(store.protection(tenant), 1000) is not None
    store.ring.renew(tenant)
    assert saved.read(store.protection(tenant), 1000) is None
