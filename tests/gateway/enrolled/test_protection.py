import json
from pathlib import Path

import numpy as np
import pytest

from semface.client import Model
from semface.errors import Reason, SemfaceError
from semface.gateway.enrolled.key_ring import KeyRing, TenantKeys, new_master_key, open_key_ring
from semface.gateway.enrolled.protection import TenantProtection
from semface.gateway.enrolled.record import Details, make_record, open_record, reseal, seal_record
from tests.gateway.enrolled.subjects import MODEL, embedding
from tests.gateway.gateways import MASTER_KEY, new_ring

GOLDEN_ROW = [0.004143, -0.028312, 0.033146, -0.028312]


@pytest.fixture
def ring(tmp_path: Path) -> KeyRing:
    return new_ring(tmp_path)


def protection(ring: KeyRing, tenant: str = "default") -> TenantProtection:
    return TenantProtection(ring.keys(tenant))


def sealed(of: TenantProtection, subject: str = "a", model: Model = MODEL) -> bytes:
    return seal_record(make_record(subject, embedding(1), model, Details(1.5e9), of), of)


def test_a_record_comes_back_as_it_was(ring: KeyRing) -> None:
    ours = protection(ring)
    details = Details(1.5e9, 1.6e9, 3, "contract 7", ("blue", "grün"), ("staff",))
    value = seal_record(make_record("a", embedding(1), MODEL, details, ours), ours)
    found = open_record(value, ours.pseudonym("a"), ours)
    assert (found.subject, found.model, found.details) == ("a", MODEL, details)
    assert found.embedding(ours) @ embedding(1) > 0.999
    assert b"contract" not in value
    assert len(value) < 800


def test_every_changed_byte_is_refused(ring: KeyRing) -> None:
    ours = protection(ring)
    value = sealed(ours)
    for place in range(len(value)):
        changed = bytearray(value)
        changed[place] ^= 1
        with pytest.raises(SemfaceError) as refused:
            open_record(bytes(changed), ours.pseudonym("a"), ours)
        assert refused.value.reason is Reason.BACKEND_AWAY


def test_a_record_in_another_place_is_refused(ring: KeyRing) -> None:
    ours, theirs = protection(ring), protection(ring, "others")
    for name, place in ((ours.pseudonym("b"), ours), (theirs.pseudonym("a"), theirs)):
        with pytest.raises(SemfaceError):
            open_record(sealed(ours), name, place)


def test_the_map_keeps_angles_and_hides_them_between_tenants(ring: KeyRing) -> None:
    ours, theirs = protection(ring), protection(ring, "others")
    one, other = embedding(1), embedding(2)
    assert ours.mapped(one, 1) @ ours.mapped(other, 1) == pytest.approx(float(one @ other), abs=1e-5)
    # One person's templates of two tenants are as unlike as two people's.
    scores = [float(ours.mapped(embedding(seed), 1) @ theirs.mapped(embedding(seed), 1)) for seed in range(200)]
    assert np.abs(scores).max() < 5 / np.sqrt(512)
    assert np.std(scores) == pytest.approx(1 / np.sqrt(512), rel=0.25)


def test_the_map_is_orthogonal_and_goes_back(ring: KeyRing) -> None:
    ours, every = protection(ring), np.eye(512, dtype=np.float32)
    mapped = ours.mapped(every, 1)
    assert np.abs(mapped @ mapped.T - every).max() < 1e-5
    assert np.abs(ours.unmapped(mapped, 1) - every).max() < 1e-5
    assert np.abs(ours.mapped(embedding(1), 1) - embedding(1) @ mapped).max() < 1e-6


def test_the_map_of_a_key_is_the_same_on_every_machine() -> None:
    keys = TenantKeys("default", bytes(32), {1: bytes(range(32))}, 1)
    drawn = TenantProtection(keys).mapped(np.eye(512, dtype=np.float32), 1)
    assert [round(float(value), 6) for value in drawn[0, :4]] == GOLDEN_ROW


def test_pseudonyms_differ_between_tenants_and_stay_over_a_rotation(ring: KeyRing) -> None:
    before = protection(ring).pseudonym("a")
    assert before != protection(ring, "others").pseudonym("a")
    ring.renew("default")
    assert protection(ring).pseudonym("a") == before


def test_a_resealed_record_lies_under_the_new_key_in_the_new_map(ring: KeyRing) -> None:
    before = protection(ring)
    value = sealed(before)
    ring.renew("default")
    after = protection(ring)
    fresh = reseal(value, after.pseudonym("a"), after)
    assert fresh is not None
    assert reseal(fresh, after.pseudonym("a"), after) is None
    found = open_record(fresh, after.pseudonym("a"), after)
    assert found.key == 2
    assert found.embedding(after) @ embedding(1) > 0.999
    with pytest.raises(SemfaceError):
        open_record(fresh, before.pseudonym("a"), before)


def test_a_record_is_sealed_under_no_key_but_the_one_whose_map_it_lies_in(ring: KeyRing) -> None:
    made = make_record("a", embedding(1), MODEL, Details(1.5e9), protection(ring))
    ring.renew("default")
    with pytest.raises(ValueError, match="map"):
        seal_record(made, protection(ring))


def test_a_ring_holds_no_key_in_the_clear_and_opens_with_its_master_key_only(tmp_path: Path, ring: KeyRing) -> None:
    keys = ring.keys("default")
    text = ring.path.read_text()
    assert keys.data[1].hex() not in text
    assert (ring.path.stat().st_mode & 0o777) == 0o600
    with pytest.raises(SemfaceError, match="master key"):
        open_key_ring(ring.path, new_master_key()).keys("default")
    again = open_key_ring(ring.path, MASTER_KEY).keys("default")
    assert again.data == keys.data
    assert "naming" not in repr(again)


def test_two_rings_of_one_file_agree_on_a_new_tenant(tmp_path: Path, ring: KeyRing) -> None:
    other = open_key_ring(ring.path, MASTER_KEY)
    assert ring.keys("shared").data == other.keys("shared").data


def test_an_erased_tenant_has_no_keys_and_never_gets_any(ring: KeyRing) -> None:
    ring.keys("gone")
    ring.erase("gone")
    assert ring.erased() == ["gone"]
    assert "gone" not in json.loads(ring.path.read_text())["tenants"]
    for call in (ring.keys, ring.create):
        with pytest.raises(SemfaceError) as refused:
            call("gone")
        assert refused.value.reason is Reason.KEY_INVALID


@pytest.mark.parametrize("name", ["", "A", "a b", "-a", "a*", "{a}", "a" * 64, "ä"])
def test_a_tenants_name_means_nothing_to_redis(ring: KeyRing, name: str) -> None:
    with pytest.raises(SemfaceError) as refused:
        ring.keys(name)
    assert refused.value.reason is Reason.FIELD_INVALID
