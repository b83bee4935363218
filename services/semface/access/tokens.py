"""Signed tokens of an OpenID Connect provider: who it says the caller is, checked by the provider's public keys."""

import asyncio
import hashlib
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx
import jwt

from semface.access.callers import Caller, Scope
from semface.errors import Reason, SemfaceError

ALGORITHMS: Final = ("RS256", "PS256", "ES256", "EdDSA")
"""Public keys only: with a shared secret, whoever can check a token could make one."""

LEEWAY_SECONDS: Final = 30.0
"""How far the clocks of provider and gateway may be apart."""
KEYS_SECONDS: Final = 300.0
"""How long the provider's keys are taken for current."""
LOOK_AGAIN_SECONDS: Final = 10.0
"""Least time between two readings for a key that is not known."""
FETCH_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class TokenRules:
    """What a token has to say. ``keys`` is the file or https URL of the provider's JSON Web Key Set."""

    issuer: str
    audience: str
    keys: str
    tenant_claim: str


class TokenVerifier:
    """Lets tokens in that the provider signed for this audience."""

    def __init__(self, rules: TokenRules) -> None:
        """Read the provider's keys when the first token comes."""
        self._rules = rules
        self._keys: dict[str, Any] = {}
        self._read_at = -KEYS_SECONDS

    async def caller(self, token: str) -> Caller:
        """Return whom ``token`` names. Raises KEY_INVALID for one not to be trusted, BACKEND_AWAY without keys."""
        try:
            header = jwt.get_unverified_header(token)
            key = await self._key(header.get("kid"))
            claims = jwt.decode(
                token,
                key,
                algorithms=list(ALGORITHMS),
                audience=self._rules.audience,
                issuer=self._rules.issuer,
                leeway=LEEWAY_SECONDS,
                options={"require": ["exp", "iss", "aud", "sub"]},
            )
        except jwt.PyJWTError as error:
            raise SemfaceError(Reason.KEY_INVALID, "the token is not valid here, or no longer") from error
        tenant = claims.get(self._rules.tenant_claim)
        if not isinstance(tenant, str) or not tenant:
            raise SemfaceError(Reason.KEY_INVALID, f"the token has no claim {self._rules.tenant_claim} with a tenant")
        asked = str(claims.get("scope", "")).split()
        scopes = frozenset(scope for scope in Scope if scope in asked or f"semface:{scope}" in asked)
        # The audit trail gets an id that says nothing of the person behind the token.
        return Caller(tenant, f"oidc-{jwt.utils.base64url_encode(_short(claims['sub'])).decode()}", scopes)

    async def _key(self, key_id: object) -> Any:
        age = time.monotonic() - self._read_at
        if age >= KEYS_SECONDS or (key_id not in self._keys and age >= LOOK_AGAIN_SECONDS):
            await self._read()
        if isinstance(key_id, str) and key_id in self._keys:
            return self._keys[key_id]
        raise SemfaceError(Reason.KEY_INVALID, "the token is signed by a key that its provider does not tell")

    async def _read(self) -> None:
        try:
            if self._rules.keys.startswith("https://"):
                async with httpx.AsyncClient(timeout=FETCH_SECONDS) as client:
                    text = (await client.get(self._rules.keys)).raise_for_status().text
            else:
                text = await asyncio.to_thread(Path(self._rules.keys).read_text, encoding="utf-8")
            found = jwt.PyJWKSet.from_dict(json.loads(text)).keys
        except (OSError, ValueError, httpx.HTTPError, jwt.PyJWTError) as error:
            if self._keys:
                return
            raise SemfaceError(Reason.BACKEND_AWAY, "the keys of the token's provider cannot be read") from error
        self._keys = {key.key_id: key.key for key in found if key.key_id}
        self._read_at = time.monotonic()


def _short(subject: object) -> bytes:
    return hashlib.sha256(str(subject).encode()).digest()[:9]
