"""Who may call: bearer keys, compared by their digests in constant time."""

import hashlib
import hmac
from collections.abc import Iterable

from fastapi import Request
from pydantic import SecretStr

from semface.errors import Reason, SemfaceError


class KeyGuard:
    """A dependency that lets a request pass only with one of the keys; without keys everything passes."""

    def __init__(self, digests: Iterable[SecretStr]) -> None:
        self._digests = [bytes.fromhex(digest.get_secret_value()) for digest in digests]

    async def __call__(self, request: Request) -> None:
        """Raise ``SemfaceError`` KEY_INVALID unless the request carries a known key."""
        if not self._digests:
            return
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        digest = hashlib.sha256(key.strip().encode()).digest()
        # Every digest is compared, so that the time tells nothing of which one came near.
        known = [hmac.compare_digest(digest, ours) for ours in self._digests]
        if scheme.lower() != "bearer" or not any(known):
            raise SemfaceError(Reason.KEY_INVALID, "send a valid key as 'Authorization: Bearer KEY'")
