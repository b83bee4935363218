from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import redis

from semface.access.certificates import TlsFiles
from semface.errors import Reason, SemfaceError
from semface.gateway.enrolled.connection import connect
from semface.gateway.enrolled.directory import TenantDirectory
from semface.gateway.enrolled.keyspace import Keyspace
from semface.gateway.enrolled.store import AuditEvent, EnrolledStore
from semface.operations.secrets import GATEWAY_COMMANDS
from tests.certificates import Authority
from tests.gateway.enrolled.servers import needs_redis, needs_sentinel, redis_server, sentinel, tls_redis_server, until
from tests.gateway.enrolled.subjects import EVENT, MODEL, embedding, record, store_at
from tests.gateway.gateways import new_ring


async def enrol_search_erase(store: EnrolledStore) -> None:
    """Do with ``store`` all that a gateway does."""
    assert await store.put("default", record(store, "a", 1), EVENT) is True
    assert await store.put_many("default", [record(store, "b", 2), record(store, "c", 3)], EVENT) == [True, True]
    searched = TenantDirectory(store, "default", 1000, None)
    (found,) = await searched.search(embedding(2)[None], MODEL, 0.5, 5, None)
    assert [subject for subject, _ in found.matches] == ["b"]
    records, _ = await store.page("default", b"", 10)
    assert sorted(one.subject for one in records) == ["a", "b", "c"]
    assert await store.remove("default", store.protection("default").pseudonym("b"), AuditEvent("erase", "tests"))
    (found,) = await searched.search(embedding(2)[None], MODEL, 0.5, 5, None)
    assert found.matches == []
    await store.purge("default")
    assert await store.page("default", b"", 10) == ([], None)


@needs_redis
async def test_debians_redis_keeps_the_enrolled_for_a_user_of_least_rights(tmp_path: Path) -> None:
    with redis_server(tmp_path / "redis") as port:
        with redis.Redis(port=port) as admin:
            admin.execute_command("ACL", "SETUSER", "gateway", "on", ">secret", *GATEWAY_COMMANDS.split())
        async with store_at(f"redis://gateway:secret@127.0.0.1:{port}/0", new_ring(tmp_path)) as store:
            await enrol_search_erase(store)
        async with store_at(f"redis://gateway:wrong@127.0.0.1:{port}/0", new_ring(tmp_path)) as store:
            with pytest.raises(SemfaceError) as refused:
                await store.get("default", "a")
            assert refused.value.reason is Reason.BACKEND_AWAY


@needs_redis
async def test_over_tls_both_sides_show_certificates_and_the_user_has_least_rights(tmp_path: Path) -> None:
    ours, theirs = Authority(tmp_path / "ours"), Authority(tmp_path / "theirs")
    gateway, stranger = ours.issue("gateway"), theirs.issue("gateway")
    with tls_redis_server(tmp_path / "redis", ours.issue("redis"), gateway) as port:
        with redis.Redis("127.0.0.1", port, **tls_options(gateway)) as admin:
            admin.execute_command("ACL", "SETUSER", "gateway", "on", ">secret", *GATEWAY_COMMANDS.split())
        place, ring = f"rediss://gateway:secret@127.0.0.1:{port}/0", new_ring(tmp_path)
        async with store_at(f"{place}?{urlencode(tls_options(gateway, ssl=False))}", ring) as store:
            await enrol_search_erase(store)
        # A caller of another authority, one that trusts another authority, one without a certificate, one without TLS.
        trusting_others = tls_options(gateway, ssl=False) | {"ssl_ca_certs": str(stranger.trusted)}
        unknown = tls_options(stranger, ssl=False) | {"ssl_ca_certs": str(gateway.trusted)}
        for wrong in (
            f"{place}?{urlencode(unknown)}",
            f"{place}?{urlencode(trusting_others)}",
            f"{place}?{urlencode({'ssl_ca_certs': str(gateway.trusted)})}",
            place.replace("rediss://", "redis://"),
        ):
            async with store_at(wrong, ring, 2.0) as store:
                with pytest.raises(SemfaceError) as refused:
                    await store.get("default", "a")
                assert refused.value.reason is Reason.BACKEND_AWAY


def tls_options(files: TlsFiles, *, ssl: bool = True) -> dict[str, Any]:
    """Return what redis-py takes of ``files``."""
    told = {"ssl_ca_certs": files.trusted, "ssl_certfile": files.chain, "ssl_keyfile": files.key}
    return {name: str(path) for name, path in told.items()} | ({"ssl": True} if ssl else {})


def test_the_documented_rights_are_those_tested() -> None:
    page = (Path(__file__).resolve().parents[3] / "docs" / "enrollment.md").read_text()
    assert GATEWAY_COMMANDS in " ".join(page.split())


@needs_redis
async def test_a_cluster_keeps_a_tenant_in_one_slot(tmp_path: Path) -> None:
    options = ("--cluster-enabled", "yes", "--cluster-node-timeout", "2000")
    with redis_server(tmp_path / "one", *options) as port, redis.Redis(port=port) as node:
        node.execute_command("CLUSTER", "ADDSLOTSRANGE", "0", "16383")
        until(lambda: b"cluster_state:ok" in node.execute_command("CLUSTER", "INFO"))
        async with store_at(f"redis+cluster://127.0.0.1:{port}", new_ring(tmp_path)) as store:
            await enrol_search_erase(store)
        keys = (*Keyspace("t").buckets, Keyspace("t").audit)
        slots = {node.execute_command("CLUSTER", "KEYSLOT", key) for key in keys}
        assert len(slots) == 1


@pytest.mark.slow
@needs_sentinel
async def test_after_a_failover_the_new_master_is_found(tmp_path: Path) -> None:
    with (
        redis_server(tmp_path / "first") as first,
        redis_server(tmp_path / "second", "--replicaof", "127.0.0.1", str(first)) as second,
        sentinel(tmp_path, first) as watching,
        redis.Redis(port=second) as replica,
        redis.Redis(port=watching) as watcher,
    ):
        url = f"redis+sentinel://127.0.0.1:{watching}/mymaster/0"
        async with store_at(url, new_ring(tmp_path), 2.0) as store:
            await store.put("default", record(store, "a", 1), EVENT)
            until(lambda: replica.dbsize() > 0)
            until(lambda: int(watcher.sentinel_master("mymaster")["num-slaves"]) > 0)
            with redis.Redis(port=first) as master:
                master.shutdown(nosave=True, force=True)
            until(lambda: replica.info("replication")["role"] == "master", 60)
            until(lambda: int(watcher.sentinel_master("mymaster")["port"]) == second, 60)
            assert await patiently(store) is not None


async def patiently(store: EnrolledStore) -> object:
    """Ask for a subject until the store is back; meanwhile it is away, never without the subject."""
    for _ in range(20):
        try:
            return await store.get("default", "a")
        except SemfaceError as away:
            if away.reason is not Reason.BACKEND_AWAY:
                raise
    return None


@needs_redis
async def test_a_server_restarted_empty_is_an_empty_answer_not_an_old_one(tmp_path: Path) -> None:
    ring = new_ring(tmp_path)
    with redis_server(tmp_path / "redis") as port:
        async with store_at(f"redis://127.0.0.1:{port}", ring) as store:
            await store.put("default", record(store, "a", 1), EVENT)
            searched = TenantDirectory(store, "default", 1000, None)
            (found,) = await searched.search(embedding(1)[None], MODEL, 0.5, 5, None)
            assert len(found.matches) == 1
    async with store_at(f"redis://127.0.0.1:{port}", ring, 1.0) as store:
        searched._store = store
        with pytest.raises(SemfaceError) as away:
            await searched.search(embedding(1)[None], MODEL, 0.5, 5, None)
        assert away.value.reason is Reason.BACKEND_AWAY
        with redis_server(tmp_path / "redis", port=port):
            (found,) = await searched.search(embedding(1)[None], MODEL, 0.5, 5, None)
            assert found.matches == []
            assert found.compared == 0


@pytest.mark.parametrize(
    "url",
    ["http://x", "nothing", "redis+sentinel://a:26379", "redis+cluster://", "redis+sentinel://a:b/service"],
)
def test_a_url_of_no_known_form_is_refused(url: str) -> None:
    with pytest.raises(SemfaceError) as refused:
        connect(url, 1.0)
    assert refused.value.reason is Reason.FIELD_INVALID
