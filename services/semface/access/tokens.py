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
import structlog

from semface.access.callers import Caller, Scope
from semface.errors import Reason, SemfaceError

ALGORITHMS: Final = ("RS256", "PS256", "ES256", "EdDSA")
"""Public keys only: with a shared secret, whoever can check a token could make one."""

HTTPS: Final = "https://"
LEEWAY_SECONDS: Final = 30.0
"""How far the clocks of provider and gateway may be apart."""
KEYS_SECONDS: Final = 300.0
"""How long the provider's keys are taken for current."""
AWAY_SECONDS: Final = 3600.0
"""How long they are trusted while the provider is away."""
LOOK_AGAIN_SECONDS: Final = 10.0
"""Least time between two readings, for a key that is not known or after one that failed."""
FETCH_SECONDS: Final = 5.0
MOST_BYTES: Final = 1 << 20
"""Longest key set that is read."""

_log = structlog.get_logger("semface.access")


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
        """Read the provider's keys when the first token comes. Raises FIELD_INVALID for a URL that is not https."""
        if "://" in rules.keys and not rules.keys.startswith(HTTPS):
            message = "SEMFACE_OIDC_KEYS is a file or an https URL: whoever could change the keys could make tokens"
            raise SemfaceError(Reason.FIELD_INVALID, message, field="oidc_keys")
        self._rules = rules
        self._keys: dict[str, Any] = {}
        self._read_at = self._looked_at = -AWAY_SECONDS
        self._reading = asyncio.Lock()

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
        if key_id in self._keys and time.monotonic() - self._read_at < KEYS_SECONDS:
            return self._keys[key_id]
        # Of many tokens that come at once one has the keys read; the others wait for it.
        async with self._reading:
            now = time.monotonic()
            if now - self._looked_at >= LOOK_AGAIN_SECONDS:
                self._looked_at = now
                await self._read()
        if time.monotonic() - self._read_at >= AWAY_SECONDS:
            raise SemfaceError(Reason.BACKEND_AWAY, "the keys of the token's provider cannot be read")
        if isinstance(key_id, str) and key_id in self._keys:
            return self._keys[key_id]
        raise SemfaceError(Reason.KEY_INVALID, "the token is signed by a key that its provider does not tell")

    async def _read(self) -> None:
        """Read the keys; those of before stay where that fails."""
        try:
            if self._rules.keys.startswith(HTTPS):
                async with asyncio.timeout(FETCH_SECONDS):
                    text = await _fetched(self._rules.keys)
            else:
                text = await asyncio.to_thread(Path(self._rules.keys).read_bytes)
            found = jwt.PyJWKSet.from_dict(json.loads(text)).keys
        except (OSError, ValueError, TypeError, AttributeError, httpx.HTTPError, jwt.PyJWTError) as error:
            _log.warning("key set not read", exception=type(error).__qualname__)
            return
        self._keys = {key.key_id: key.key for key in found if key.key_id}
        self._read_at = time.monotonic()


async def _fetched(url: str) -> bytes:
    """Return what is at ``url``. Raises ValueError for more than a key set can be; no redirection is followed."""
    text = b""
    async with httpx.AsyncClient(timeout=FETCH_SECONDS) as client, client.stream("GET", url) as answer:
        if not answer.is_success:
            raise ValueError(f"answered {answer.status_code}")
        async for part in answer.aiter_bytes():
            text += part
            if len(text) > MOST_BYTES:
                raise ValueError("too long")
    return text


def _short(subject: object) -> bytes:
    return hashlib.sha256(str(subject).encode()).digest()[:9]
