"""The option of vector sets, on a real Redis 8."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import numpy as np
import pytest

from semface.client import Model
from semface.errors import Reason, SemfaceError
from semface.gateway.enrolled.directories import Directories, Directory
from semface.gateway.enrolled.directory import TenantDirectory
from semface.gateway.enrolled.key_ring import KeyRing
from semface.gateway.enrolled.keyspace import Keyspace
from semface.gateway.enrolled.rotation import rotate
from semface.gateway.enrolled.store import AuditEvent, EnrolledStore
from semface.gateway.enrolled.vector_sets import VectorSetDirectory
from semface.operations.secrets import GATEWAY_COMMANDS
from tests.gateway.enrolled.servers import REDIS_8, needs_redis_8, redis_server
from tests.gateway.enrolled.subjects import EVENT, MODEL, embedding, record, store_at

pytestmark = [pytest.mark.slow, needs_redis_8]

ERASE = AuditEvent("erase", "tests")
RIGHTS = ("+hlen", "+sadd", "+srem", "+vadd", "+vrem", "+vsim", "+vcard")
"""What vector sets need beside the rights that every gateway needs."""


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with redis_server(tmp_path_factory.mktemp("redis"), program=REDIS_8) as port:
        yield f"redis://127.0.0.1:{port}"


@pytest.fixture
async def store(url: str, ring: KeyRing) -> AsyncIterator[EnrolledStore]:
    async with store_at(url, ring, vector_sets=True) as connected:
        yield connected


async def who(directory: Directory, seed: int, group: str | None = None) -> list[str]:
    (found,) = await directory.search(embedding(seed)[None], MODEL, 0.5, 5, group)
    return [subject for subject, _ in found.matches]


async def vectors(store: EnrolledStore, tenant: str) -> int:
    """Return how many templates lie in the vector sets of ``tenant``."""
    keys = Keyspace(tenant)
    names = await store.redis.smembers(keys.vectors)
    return sum([await store.redis.execute_command("VCARD", keys.vector_set(name.decode())) for name in names])


async def test_the_option_takes_the_place_of_the_index_and_finds_the_same(store: EnrolledStore, tenant: str) -> None:
    await store.put_many(tenant, [record(store, f"s{seed}", seed, tenant) for seed in range(200)], EVENT)
    chosen = Directories(store, 100_000, None).of(tenant)
    assert isinstance(chosen, VectorSetDirectory)
    exact = TenantDirectory(store, tenant, 100_000, None)
    probes = np.stack([embedding(seed) for seed in range(0, 200, 9)])
    found, wanted = [await one.search(probes, MODEL, 0.05, 3, None) for one in (chosen, exact)]
    for one, other in zip(found, wanted, strict=True):
        assert one.compared == other.compared == 200
        assert one.matches[0][0] == other.matches[0][0]
        assert one.matches[0][1] == pytest.approx(other.matches[0][1], abs=1e-5)


async def test_what_is_changed_and_erased_is_so_in_redis_at_once(store: EnrolledStore, tenant: str) -> None:
    searched = VectorSetDirectory(store, tenant)
    assert await who(searched, 1) == []
    await store.put(tenant, record(store, "a", 1, tenant), EVENT)
    assert await who(searched, 1) == ["a"]
    await store.put(tenant, record(store, "a", 2, tenant), EVENT)
    assert (await who(searched, 1), await who(searched, 2)) == ([], ["a"])
    await store.remove(tenant, store.protection(tenant).pseudonym("a"), ERASE)
    assert await who(searched, 2) == []
    assert await vectors(store, tenant) == 0


async def test_only_the_group_is_searched_whose_name_is_hidden_and_nobody_who_expired(
    store: EnrolledStore, tenant: str
) -> None:
    searched, ends = VectorSetDirectory(store, tenant), time.time() + 2
    await store.put(tenant, record(store, "a", 1, tenant, groups=("staff",)), EVENT)
    await store.put(tenant, record(store, "b", 1, tenant, groups=("guests", "staff")), EVENT)
    await store.put(tenant, record(store, "c", 1, tenant, expires_at=ends), EVENT)
    assert sorted(await who(searched, 1)) == ["a", "b", "c"]
    assert sorted(await who(searched, 1, "staff")) == ["a", "b"]
    assert await who(searched, 1, "guests") == ["b"]
    assert await who(searched, 1, "nobody") == []
    (name,) = await store.redis.smembers(Keyspace(tenant).vectors)
    pseudonym = store.protection(tenant).pseudonym("a")
    told = await store.redis.execute_command("VGETATTR", Keyspace(tenant).vector_set(name.decode()), pseudonym)
    assert b"groups" in told
    assert b"staff" not in told
    await asyncio.sleep(ends + 0.01 - time.time())
    assert sorted(await who(searched, 1)) == ["a", "b"]
    await searched.refresh()
    assert await vectors(store, tenant) == 2


async def test_what_was_enrolled_without_the_option_is_not_missed(url: str, store: EnrolledStore, tenant: str) -> None:
    async with store_at(url, store.ring) as plain:
        await plain.put_many(tenant, [record(plain, f"s{seed}", seed, tenant) for seed in range(30)], EVENT)
        assert await vectors(store, tenant) == 0
        searched = VectorSetDirectory(store, tenant)
        assert await who(searched, 7) == ["s7"]
        # A gateway without the option takes out what it replaces, so that nothing stale is left.
        await plain.put(tenant, record(plain, "s7", 99, tenant), EVENT)
        assert (await who(searched, 7), await who(searched, 99)) == ([], ["s7"])
        await plain.remove(tenant, store.protection(tenant).pseudonym("s7"), ERASE)
        assert await vectors(store, tenant) == 29


async def test_sets_that_hold_too_much_are_made_anew(store: EnrolledStore, tenant: str) -> None:
    await store.put(tenant, record(store, "a", 1, tenant), EVENT)
    protection = store.protection(tenant)
    pseudonym = protection.pseudonym("a")
    await store.redis.hdel(Keyspace(tenant).bucket(pseudonym), pseudonym)
    assert await who(VectorSetDirectory(store, tenant), 1) == []
    assert await vectors(store, tenant) == 0


@pytest.mark.parametrize("stop_after", [0, 7, 29])
async def test_a_rotation_stopped_anywhere_moves_nobody_out_of_sight(
    store: EnrolledStore, tenant: str, stop_after: int
) -> None:
    await store.put_many(tenant, [record(store, f"s{seed}", seed, tenant) for seed in range(30)], EVENT)
    searched, done = VectorSetDirectory(store, tenant), 0

    def stop(_: int) -> None:
        nonlocal done
        done += 1
        if done > stop_after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await rotate(store, tenant, settle_seconds=0, progress=stop)
    assert [await who(searched, seed) for seed in (0, 13, 29)] == [["s0"], ["s13"], ["s29"]]
    await rotate(store, tenant, settle_seconds=0, destroy=True)
    assert [await who(searched, seed) for seed in range(30)] == [[f"s{seed}"] for seed in range(30)]
    assert {name.partition(b":")[0] for name in await store.redis.smembers(Keyspace(tenant).vectors)} == {b"2"}


async def test_templates_of_another_model_are_a_mismatch_not_a_miss(store: EnrolledStore, tenant: str) -> None:
    await store.put(tenant, record(store, "a", 1, tenant), EVENT)
    with pytest.raises(SemfaceError) as refused:
        await VectorSetDirectory(store, tenant).search(
            embedding(1)[None], Model("face_verification", "2", 7), 0.5, 5, None
        )
    assert refused.value.reason is Reason.MODEL_MISMATCH


async def test_an_erased_tenant_leaves_no_vector(store: EnrolledStore, tenant: str) -> None:
    await store.put(tenant, record(store, "a", 1, tenant), EVENT)
    store.ring.erase(tenant)
    await store.purge_erased()
    assert [key async for key in store.redis.scan_iter(match=f"{Keyspace(tenant).prefix}*")] == []


def test_the_documented_rights_are_those_tested() -> None:
    page = (Path(__file__).resolve().parents[3] / "docs" / "enrollment.md").read_text()
    assert f"vector sets `{' '.join(RIGHTS)}`" in " ".join(page.split())


async def test_these_rights_suffice(url: str, store: EnrolledStore, tenant: str) -> None:
    rights = [*GATEWAY_COMMANDS.split(), *RIGHTS]
    await store.redis.execute_command("ACL", "SETUSER", "gateway", "on", ">secret", *rights)
    async with store_at(url.replace("redis://", "redis://gateway:secret@"), store.ring, vector_sets=True) as least:
        await least.put(tenant, record(least, "a", 1, tenant), EVENT)
        assert await who(VectorSetDirectory(least, tenant), 1) == ["a"]
        assert await least.remove(tenant, least.protection(tenant).pseudonym("a"), ERASE)
        assert await who(VectorSetDirectory(least, tenant), 1) == []
