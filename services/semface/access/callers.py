"""A caller that was let in, and what it may do."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from semface.errors import Reason, SemfaceError

DEFAULT_TENANT: Final = "default"


class Scope(StrEnum):
    """What a key may be used for."""

    FACES = "faces"
    """Everything that keeps nothing: extract, encode, decode, expression, render; all gRPC services."""
    ENROLL = "enroll"
    """Enrol, change and erase subjects, import them."""
    READ = "read"
    """Show and list subjects."""
    VERIFY = "verify"
    """Compare a face with one subject."""
    IDENTIFY = "identify"
    """Look a face up among all subjects."""
    EXPORT = "export"
    """Export all subjects with their embeddings, which are face data; read the audit trail."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Whose call it is: the tenant, the id of the key for limits and audit, its scopes and its limit."""

    tenant: str = DEFAULT_TENANT
    key_id: str = "none"
    scopes: frozenset[Scope] = frozenset(Scope)
    calls_per_minute: int | None = None

    def require(self, *scopes: Scope) -> None:
        """Raise SCOPE_MISSING unless every one of ``scopes`` is there."""
        missing = [scope for scope in scopes if scope not in self.scopes]
        if missing:
            raise SemfaceError(Reason.SCOPE_MISSING, f"the key lacks the scope {' and '.join(missing)}")


ANONYMOUS: Final = Caller()
"""Everybody, where no keys are set: then only this machine can call."""
