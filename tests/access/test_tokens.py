import json
import re
import time
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from semface.access.authentication import Authenticator
from semface.access.callers import Scope
from semface.access.keys import KeyFile
from semface.access.settings import AccessSettings
from semface.errors import Reason, SemfaceError

ISSUER = "https://identity.example"
PRIVATE = ec.generate_private_key(ec.SECP256R1())


@pytest.fixture
def authenticator(tmp_path: Path) -> Authenticator:
    published = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(PRIVATE.public_key()))
    keys = tmp_path / "jwks.json"
    keys.write_text(json.dumps({"keys": [{**published, "kid": "one", "alg": "ES256", "use": "sig"}]}))
    return Authenticator(AccessSettings(oidc_issuer=ISSUER, oidc_keys=str(keys)))


def token(private: Any = PRIVATE, algorithm: str = "ES256", key_id: str | None = "one", **changes: Any) -> str:
    claims = {
        "iss": ISSUER,
        "aud": "semface",
        "sub": "somebody@example",
        "exp": time.time() + 60,
        "semface_tenant": "acme",
        "scope": "openid verify semface:identify",
    } | changes
    said = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode(said, private, algorithm, headers={} if key_id is None else {"kid": key_id})


async def test_a_token_tells_tenant_and_scopes_and_names_nobody(authenticator: Authenticator) -> None:
    caller = await authenticator.caller(f"Bearer {token()}")
    assert (caller.tenant, caller.scopes) == ("acme", {Scope.VERIFY, Scope.IDENTIFY})
    assert re.fullmatch(r"oidc-[A-Za-z0-9_-]{12}", caller.key_id)
    assert "somebody" not in caller.key_id


@pytest.mark.parametrize("seconds", [-20, 20])
async def test_clocks_may_be_a_little_apart(authenticator: Authenticator, seconds: float) -> None:
    now = time.time() + seconds
    await authenticator.caller(f"Bearer {token(exp=now + 1, nbf=now, iat=now)}")


@pytest.mark.parametrize(
    "changes",
    [
        {"exp": time.time() - 120},
        {"nbf": time.time() + 3600},
        {"iss": "https://elsewhere.example"},
        {"aud": "another"},
        {"exp": None},
        {"sub": None},
        {"semface_tenant": None},
        {"semface_tenant": 7},
        {"key_id": "two"},
        {"private": ec.generate_private_key(ec.SECP256R1())},
    ],
)
async def test_a_token_that_is_not_for_us_or_not_true_is_refused(
    authenticator: Authenticator, changes: dict[str, Any]
) -> None:
    with pytest.raises(SemfaceError) as refused:
        await authenticator.caller(f"Bearer {token(**changes)}")
    assert refused.value.reason is Reason.KEY_INVALID


async def test_a_token_signed_with_the_public_key_as_a_secret_is_refused(authenticator: Authenticator) -> None:
    public = PRIVATE.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    forged = [token(None, "none")]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(jwt.algorithms.HMACAlgorithm, "prepare_key", lambda _, key: key)
        forged.append(token(public, "HS256"))
    for one in forged:
        with pytest.raises(SemfaceError) as refused:
            await authenticator.caller(f"Bearer {one}")
        assert refused.value.reason is Reason.KEY_INVALID


async def test_keys_and_tokens_are_taken_side_by_side(authenticator: Authenticator, tmp_path: Path) -> None:
    file = KeyFile(tmp_path / "keys.json")
    _, key = file.create("others", [Scope.READ])
    jwks = str(tmp_path / "jwks.json")
    both = Authenticator(AccessSettings(oidc_issuer=ISSUER, oidc_keys=jwks, keys_file=file.path))
    assert [(await both.caller(f"Bearer {shown}")).tenant for shown in (key, token())] == ["others", "acme"]
    for wrong in ("a", "a.b", "a.b.c", "a.b.c.d"):
        with pytest.raises(SemfaceError) as refused:
            await both.caller(f"Bearer {wrong}")
        assert refused.value.reason is Reason.KEY_INVALID


def test_an_issuer_without_keys_is_said_at_the_start() -> None:
    with pytest.raises(SemfaceError) as refused:
        Authenticator(AccessSettings(oidc_issuer=ISSUER))
    assert (refused.value.reason, refused.value.field) == (Reason.FIELD_INVALID, "oidc_keys")
