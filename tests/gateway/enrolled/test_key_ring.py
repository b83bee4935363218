"""The file of wrapped keys: what it refuses, and what a rotation keeps."""

import base64
import json
from pathlib import Path

import pytest

from semface.errors import Reason, SemfaceError
from semface.gateway.enrolled import key_ring
from semface.gateway.enrolled.key_ring import KEY_BYTES, KeyRing, open_key_ring
from tests.gateway.gateways import MASTER_KEY, new_ring


@pytest.fixture
def ring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> KeyRing:
    """A ring that looks at its file each time."""
    monkeypatch.setattr(key_ring, "LOOK_SECONDS", 0.0)
    return new_ring(tmp_path)


@pytest.mark.parametrize(
    "master_key",
    ["", "no base64!", *(base64.b64encode(bytes(size)).decode() for size in (KEY_BYTES - 1, KEY_BYTES + 1))],
)
def test_a_master_key_that_is_none_is_refused(tmp_path: Path, master_key: str) -> None:
    with pytest.raises(SemfaceError) as refused:
        open_key_ring(tmp_path / "ring.json", master_key)
    assert (refused.value.reason, refused.value.field) == (Reason.FIELD_INVALID, "master_key")


@pytest.mark.parametrize("content", ["no JSON", "{}", '{"version": 2, "tenants": {}, "erased": {}}'])
def test_a_file_that_is_no_ring_of_this_version_is_refused_and_left_as_it_is(ring: KeyRing, content: str) -> None:
    ring.path.write_text(content)
    for call in (ring.tenants, ring.erased, lambda: ring.create("acme"), lambda: ring.keys("acme")):
        with pytest.raises(SemfaceError) as refused:
            call()
        assert (refused.value.reason, refused.value.field) == (Reason.FIELD_INVALID, "key_ring")
    assert ring.path.read_text() == content


def test_a_ring_that_cannot_be_written_says_where_to_make_the_tenant(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    ring = open_key_ring(tmp_path / "file" / "ring.json", MASTER_KEY)
    with pytest.raises(SemfaceError) as refused:
        ring.create("acme")
    assert (refused.value.reason, refused.value.field) == (Reason.FIELD_INVALID, "key_ring")
    assert "semface tenants create" in refused.value.message


def test_an_unknown_tenant_is_neither_rotated_nor_erased(ring: KeyRing) -> None:
    for call in (ring.renew, ring.erase, ring.in_use, lambda name: ring.retire(name, destroy=True)):
        with pytest.raises(SemfaceError) as refused:
            call("nobody")
        assert (refused.value.reason, refused.value.field) == (Reason.FIELD_INVALID, "tenant")
    assert ring.tenants() == []


def test_a_retired_key_still_opens_and_a_destroyed_one_is_gone(ring: KeyRing) -> None:
    first = ring.keys("acme").data[1]
    assert ring.renew("acme") == 2
    assert ring.in_use("acme") == [1, 2]
    assert ring.retire("acme", destroy=False) == [1]
    assert ring.in_use("acme") == [2]
    kept = ring.keys("acme")
    assert (kept.data[1], kept.active) == (first, 2)
    assert ring.retire("acme", destroy=True) == [1]
    assert set(ring.keys("acme").data) == {2}
    assert json.loads(ring.path.read_text())["tenants"]["acme"]["retired"] == {}
    assert ring.renew("acme") == 3


def test_a_wrapped_key_moved_to_another_tenant_or_number_opens_nothing(ring: KeyRing) -> None:
    for tenant in ("acme", "others"):
        ring.create(tenant)
    ring.renew("acme")
    whole = ring.path.read_text()
    for tenant, number in (("others", "1"), ("acme", "2")):
        content = json.loads(whole)
        content["tenants"]["acme"]["data"]["1"] = content["tenants"][tenant]["data"][number]
        ring.path.write_text(json.dumps(content))
        with pytest.raises(SemfaceError, match="master key"):
            ring.keys("acme")
    ring.path.write_text(whole)
    assert set(ring.keys("acme").data) == {1, 2}


def test_another_process_sees_a_new_tenant_and_an_erased_one(ring: KeyRing) -> None:
    other = open_key_ring(ring.path, MASTER_KEY)
    ring.create("acme")
    ring.create("acme")
    assert other.tenants() == ["acme"]
    ring.erase("acme")
    assert (other.tenants(), other.erased()) == ([], ["acme"])
