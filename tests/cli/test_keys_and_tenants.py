import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from semface.cli.embedded_store import embedded_store
from semface.gateway.enrolled.key_ring import open_key_ring
from semface.gateway.enrolled.store import AuditEvent
from tests.cli.conftest import Run
from tests.gateway.enrolled.subjects import record, store_at


@pytest.fixture
def environment(tmp_path: Path, run: Run) -> Iterator[dict[str, str]]:
    """Return the settings of a gateway with an embedded Valkey and a key ring."""
    master_key = run("tenants", "master-key").stdout.strip()
    with embedded_store(None) as url:
        yield {
            "SEMFACE_REDIS_URL": url,
            "SEMFACE_KEY_RING": str(tmp_path / "ring.json"),
            "SEMFACE_MASTER_KEY": master_key,
        }


async def enroll(environment: dict[str, str], tenant: str, count: int) -> list[str]:
    """Enrol ``count`` subjects and return the ids of all who are there."""
    ring = open_key_ring(Path(environment["SEMFACE_KEY_RING"]), environment["SEMFACE_MASTER_KEY"])
    async with store_at(environment["SEMFACE_REDIS_URL"], ring) as store:
        records = [record(store, f"s{number}", number, tenant) for number in range(count)]
        if records:
            await store.put_many(tenant, records, AuditEvent("import", "tests"))
        found, _ = await store.page(tenant, b"", 1000)
    return sorted(one.subject for one in found)


def test_a_key_is_shown_once_listed_without_itself_and_revoked(run: Run, tmp_path: Path) -> None:
    file = {"SEMFACE_KEYS_FILE": str(tmp_path / "keys.json")}
    made = json.loads(run("keys", "create", "--tenant", "acme", "--scope", "verify", "--json", **file).stdout)
    listed = run("keys", "list", "--json", **file).stdout
    (entry,) = json.loads(listed)["keys"]
    assert (entry["id"], entry["tenant"], entry["scopes"]) == (made["id"], "acme", ["verify"])
    assert made["key"] not in listed
    assert "digest" not in entry
    assert run("keys", "revoke", made["id"], **file).returncode == 0
    assert json.loads(run("keys", "list", "--json", **file).stdout) == {"keys": []}
    assert run("keys", "revoke", made["id"], **file).returncode == 1


def test_a_tenant_is_made_rotated_audited_and_erased(run: Run, environment: dict[str, str]) -> None:
    assert run("tenants", "create", "acme", **environment).returncode == 0
    names = asyncio.run(enroll(environment, "acme", 5))
    rotated = json.loads(run("tenants", "rotate", "acme", "--settle", "0", "--json", **environment).stdout)
    assert rotated == {"key": 2, "resealed": 5, "old_keys": [1], "destroyed": False}
    assert asyncio.run(enroll(environment, "acme", 0)) == names
    audited = run("tenants", "audit", "acme", "--subject", "s3", "--json", **environment).stdout
    assert [entry["did"] for entry in json.loads(audited)["entries"]] == ["import"]
    assert run("tenants", "erase", "acme", "--yes", **environment).returncode == 0
    assert json.loads(run("tenants", "list", "--json", **environment).stdout) == {"tenants": [], "erased": ["acme"]}
    refused = run("tenants", "create", "acme", **environment)
    assert (refused.returncode, "erased" in refused.stderr) == (1, True)
