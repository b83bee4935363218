"""Who may call: bearer keys, compared by their digests in constant time."""

import hashlib
import hmac
from collections.abc import Callable, Sequence
from typing import Any

from fastapi import Request
from fastapi.security import HTTPBearer
from pydantic import SecretStr

from semface.errors import Reason, SemfaceError


def key_guards(digests: Sequence[SecretStr]) -> list[Callable[..., Any]]:
    """Return the dependencies that let a request pass only with one of the keys; none where there are no keys."""
    if not digests:
        return []
    documented = HTTPBearer(auto_error=False, description="One of the keys whose digests are in SEMFACE_API_KEYS.")
    return [documented, KeyGuard(digests)]


class KeyGuard:
    """A dependency that lets a request pass only with one of the keys."""

    def __init__(self, digests: Sequence[SecretStr]) -> None:
        self._digests = [bytes.fromhex(digest.get_secret_value()) for digest in digests]

    async def __call__(self, request: Request) -> None:
        """Raise ``SemfaceError`` KEY_INVALID unless the request carries a known key."""
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        digest = hashlib.sha256(key.strip().encode()).digest()
        # Every digest is compared, so that the time tells nothing of which one came near.
        known = [hmac.compare_digest(digest, ours) for ours in self._digests]
        if scheme.lower() != "bearer" or not any(known):
            raise SemfaceError(Reason.KEY_INVALID, "send a valid key as 'Authorization: Bearer KEY'")
