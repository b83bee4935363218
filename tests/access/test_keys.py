import json
from pathlib import Path

import pytest

from semface.access import keys
from semface.access.authentication import Authenticator, CallCounts
from semface.access.callers import Caller, Scope
from semface.access.keys import KeyFile
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


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer ", "Bearer wrong", "Basic {key}", "{key}", "Bearer {digest}"])
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


def test_calls_beyond_the_limit_of_a_minute_are_refused() -> None:
    counts, caller = CallCounts(), Caller(calls_per_minute=2)
    reasons = []
    for _ in range(5):
        try:
            counts.count(caller)
        except SemfaceError as refused:
            reasons.append(refused.reason)
    # A minute may end between two counts.
    assert reasons in ([Reason.RATE_LIMITED] * 3, [Reason.RATE_LIMITED] * 2, [Reason.RATE_LIMITED])
