"""From an ``Authorization`` header to a caller, or a refusal."""

import time
from collections import defaultdict
from typing import Final

from semface.access.callers import ANONYMOUS, Caller
from semface.access.keys import ApiKey, KeyFile, find_key, plain_keys
from semface.access.settings import AccessSettings
from semface.access.tokens import TokenRules, TokenVerifier
from semface.errors import Reason, SemfaceError

TOKEN_DOTS: Final = 2
"""A signed token has three parts; a key of ours has no dot."""


class Authenticator:
    """Lets callers in by key or token; everybody where neither is set."""

    def __init__(self, settings: AccessSettings) -> None:
        """Take keys and issuer from ``settings``. Raises FIELD_INVALID for a file of keys that cannot be read."""
        self.asks = settings.asks_for_keys
        self._plain: list[ApiKey] = plain_keys(key.get_secret_value() for key in settings.api_keys)
        self._file = KeyFile(settings.keys_file) if settings.keys_file else None
        if self._file:
            self._file.keys()
        self._tokens = None
        if settings.oidc_issuer:
            if not settings.oidc_keys:
                raise SemfaceError(Reason.FIELD_INVALID, "an issuer needs SEMFACE_OIDC_KEYS", field="oidc_keys")
            rules = TokenRules(
                settings.oidc_issuer, settings.oidc_audience, settings.oidc_keys, settings.oidc_tenant_claim
            )
            self._tokens = TokenVerifier(rules)

    async def caller(self, authorization: str) -> Caller:
        """Return who sent the header ``authorization``. Raises KEY_INVALID."""
        if not self.asks:
            return ANONYMOUS
        scheme, _, presented = authorization.partition(" ")
        presented = presented.strip()
        if scheme.lower() != "bearer" or not presented:
            raise SemfaceError(Reason.KEY_INVALID, "send a valid key as 'Authorization: Bearer KEY'")
        if self._tokens is not None and presented.count(".") == TOKEN_DOTS:
            return await self._tokens.caller(presented)
        found = find_key([*self._plain, *(self._file.keys() if self._file else [])], presented)
        if found is None:
            raise SemfaceError(Reason.KEY_INVALID, "send a valid key as 'Authorization: Bearer KEY'")
        return found


class CallCounts:
    """Calls of each key in this process, for limits by the minute."""

    def __init__(self) -> None:
        """Start with none."""
        self._minute = 0
        self._counts: defaultdict[str, int] = defaultdict(int)

    def count(self, caller: Caller) -> None:
        """Count a call. Raises RATE_LIMITED beyond the caller's limit."""
        if caller.calls_per_minute is None:
            return
        minute = int(time.time() // 60)
        if minute != self._minute:
            self._minute = minute
            self._counts.clear()
        self._counts[caller.key_id] += 1
        if self._counts[caller.key_id] > caller.calls_per_minute:
            raise too_many_calls(caller)


def too_many_calls(caller: Caller) -> SemfaceError:
    """Return the refusal of a call beyond the limit of ``caller``."""
    return SemfaceError(
        Reason.RATE_LIMITED, f"the key may call {caller.calls_per_minute} times a minute; come again later"
    )
