import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest

from semface.access import authentication, keys
from semface.access.authentication import Authenticator, CallCounts
from semface.access.callers import Caller, Scope
from semface.access.keys import ApiKey, KeyFile, find_key
from semface.access.settings import AccessSettings
from semface.errors import Reason, SemfaceError


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> KeyFile:
    monkeypatch.setattr(keys, "LOOK_SECONDS", 0.0)
    return KeyFile(tmp_path / "keys.json")


async def refusal(authenticator: Authenticator, header: str) -> Reason:
    with pytest.raises(SemfaceError) as refused:
        await authenticator.caller(header)
    return refused.value.reason


async def test_a_key_tells_tenant_scopes_and_limit_and_is_kept_as_a_digest(file: KeyFile) -> None:
    key_id, key = file.create("acme", [Scope.VERIFY], 60)
    text = file.path.read_text()
    assert key not in text
    assert (file.path.stat().st_mode & 0o777) == 0o600
    authenticator = Authenticator(AccessSettings(keys_file=file.path))
    caller = await authenticator.caller(f"Bearer {key}")
    assert caller == Caller("acme", key_id, frozenset({Scope.VERIFY}), 60)
    caller.require(Scope.VERIFY)
    with pytest.raises(SemfaceError) as refused:
        caller.require(Scope.VERIFY, Scope.ENROLL)
    assert refused.value.reason is Reason.SCOPE_MISSING
    assert "enroll" in refused.value.message


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer ", "Bearer wrong", "Basic {key}", "Token {key}", "{key}", "Bearer {digest}"]
)
async def test_anything_but_the_key_is_refused(file: KeyFile, header: str) -> None:
    _, key = file.create("acme", [Scope.VERIFY])
    digest = json.loads(file.path.read_text())["keys"][0]["digest"]
    authenticator = Authenticator(AccessSettings(keys_file=file.path))
    assert await refusal(authenticator, header.format(key=key, digest=digest)) is Reason.KEY_INVALID


async def test_a_revoked_and_an_expired_key_are_refused_without_a_restart(file: KeyFile) -> None:
    key_id, key = file.create("acme", [Scope.VERIFY])
    _, short = file.create("acme", [Scope.VERIFY], days=-1)
    authenticator = Authenticator(AccessSettings(keys_file=file.path))
    assert await refusal(authenticator, f"Bearer {short}") is Reason.KEY_INVALID
    assert (await authenticator.caller(f"Bearer {key}")).key_id == key_id
    file.revoke(key_id)
    assert await refusal(authenticator, f"Bearer {key}") is Reason.KEY_INVALID


def test_a_file_that_is_none_is_said_at_the_start(tmp_path: Path) -> None:
    for content in (None, "no JSON", '{"keys": [{"id": "x"}]}'):
        path = tmp_path / "keys.json"
        if content:
            path.write_text(content)
        with pytest.raises(SemfaceError) as refused:
            Authenticator(AccessSettings(keys_file=path))
        assert refused.value.reason is Reason.FIELD_INVALID


def test_a_file_that_is_half_written_leaves_the_keys_of_before(file: KeyFile) -> None:
    file.create("acme", [Scope.VERIFY])
    before = file.keys()
    whole = file.path.read_text()
    file.path.write_text(whole[: len(whole) // 2])
    assert file.keys() == before
    file.path.write_text(whole)
    file.create("acme", [Scope.READ])
    assert len(file.keys()) == 2


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self, now: float = 0.0) -> None:
        self.now = now

    def time(self) -> float:
        return self.now

    monotonic = time


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    standing = Clock(600.0)
    monkeypatch.setattr(authentication, "time", standing)
    monkeypatch.setattr(keys, "time", standing)
    return standing


def test_calls_beyond_the_limit_of_a_minute_are_refused_until_the_next_one(clock: Clock) -> None:
    counts, caller, other = CallCounts(), Caller(key_id="a", calls_per_minute=2), Caller(key_id="b", calls_per_minute=1)
    reasons = set[Reason]()

    def allowed(who: Caller) -> bool:
        try:
            counts.count(who)
        except SemfaceError as refused:
            reasons.add(refused.reason)
            return False
        return True

    # The clock may be put back too.
    for minute in (600.0, 660.0, 540.0):
        clock.now = minute
        assert [allowed(caller) for _ in range(3)] == [True, True, False]
        clock.now = minute + 59.9
        assert not allowed(caller)
        assert [allowed(other), allowed(other)] == [True, False]
        assert all(allowed(Caller(key_id="c")) for _ in range(100))
    assert reasons == {Reason.RATE_LIMITED}


def test_a_key_expires_after_its_days_and_not_before(file: KeyFile, clock: Clock) -> None:
    _, key = file.create("acme", [Scope.VERIFY], days=2)
    for now, found in ((600.0, True), (600.0 + 2 * 86_400 - 0.1, True), (600.0 + 2 * 86_400, False)):
        clock.now = now
        assert (find_key(file.keys(), key) is not None) is found


def test_a_changed_file_is_seen_after_a_second_and_an_unchanged_one_is_not_read_again(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, reads = keys._read, list[Path]()

    def counted(path: Path) -> list[dict[str, Any]]:
        reads.append(path)
        return read(path)

    KeyFile(tmp_path / "keys.json").create("acme", [Scope.VERIFY])
    clock.now = 0.0
    looked_at = KeyFile(tmp_path / "keys.json")
    monkeypatch.setattr(keys, "_read", counted)
    assert (len(looked_at.keys()), len(reads)) == (1, 1)
    KeyFile(tmp_path / "keys.json").create("acme", [Scope.READ])
    reads.clear()
    clock.now = 0.9
    assert (len(looked_at.keys()), len(reads)) == (1, 0)
    clock.now = 1.0
    assert (len(looked_at.keys()), len(reads)) == (2, 1)
    clock.now = 5.0
    assert (len(looked_at.keys()), len(reads)) == (2, 1)


def test_what_is_changed_here_is_seen_at_once(tmp_path: Path, clock: Clock) -> None:
    clock.now = 0.0
    changed = KeyFile(tmp_path / "folder" / "below" / "keys.json")
    assert changed.entries() == []
    first, _ = changed.create("acme", [Scope.VERIFY])
    assert len(changed.keys()) == 1
    second, _ = changed.create("acme", [Scope.READ])
    third, _ = changed.create("others", [Scope.READ])
    changed.revoke(second)
    assert [entry["id"] for entry in changed.entries()] == [first, third]
    kept = changed.keys()
    assert {key.caller.key_id for key in kept} == {first, third}


def test_a_key_that_is_not_there_cannot_be_revoked(file: KeyFile) -> None:
    key_id, _ = file.create("acme", [Scope.VERIFY])
    with pytest.raises(SemfaceError) as refused:
        file.revoke("zzzzzzzz")
    assert (refused.value.reason, refused.value.field) == (Reason.FIELD_INVALID, "id")
    assert [entry["id"] for entry in file.entries()] == [key_id]


def test_a_key_is_32_random_bytes_behind_its_prefix(file: KeyFile) -> None:
    made = [file.create("acme", [Scope.VERIFY]) for _ in range(3)]
    assert len({key for _, key in made}) == len({key_id for key_id, _ in made}) == 3
    for key_id, key in made:
        assert re.fullmatch(r"semface_[A-Za-z0-9_-]{43}", key)
        assert re.fullmatch(r"[0-9a-f]{8}", key_id)


async def test_a_key_of_the_settings_is_the_default_tenants_and_may_do_all() -> None:
    digest = hashlib.sha256(b"key").hexdigest()
    authenticator = Authenticator(AccessSettings(api_keys=digest.upper()))
    caller = await authenticator.caller("bearer  key ")
    assert caller == Caller("default", digest[:8], frozenset(Scope), None)


async def test_without_keys_everybody_is_the_default_tenant_and_may_do_all() -> None:
    caller = await Authenticator(AccessSettings()).caller("")
    assert caller == Caller("default", "none", frozenset(Scope), None)


def test_a_file_without_tenant_limit_and_expiry_is_of_the_default_tenant_for_ever(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    path.write_text(json.dumps({"keys": [{"id": "abcd1234", "digest": "00" * 32, "scopes": ["read"]}]}))
    (kept,) = KeyFile(path).keys()
    assert kept == ApiKey(bytes(32), Caller("default", "abcd1234", frozenset({Scope.READ}), None), None)


@pytest.mark.parametrize(
    "change", [{"id": "abcd123"}, {"id": "ABCD1234"}, {"id": None}, {"scopes": ["fly"]}, {"digest": "no hex"}]
)
def test_an_entry_that_is_none_is_refused_by_name(tmp_path: Path, change: dict[str, Any]) -> None:
    path = tmp_path / "keys.json"
    entry = {"id": "abcd1234", "digest": "00" * 32, "scopes": ["read"]} | change
    path.write_text(json.dumps({"keys": [entry]}))
    with pytest.raises(SemfaceError) as refused:
        KeyFile(path).keys()
    assert (refused.value.reason, refused.value.field) == (Reason.FIELD_INVALID, "keys_file")


def test_every_scope_that_is_missing_is_named_and_none_that_is_there() -> None:
    caller = Caller(scopes=frozenset({Scope.READ}))
    caller.require()
    caller.require(Scope.READ)
    with pytest.raises(SemfaceError, match=r"scope enroll and export$") as refused:
        caller.require(Scope.ENROLL, Scope.READ, Scope.EXPORT)
    assert refused.value.reason is Reason.SCOPE_MISSING
