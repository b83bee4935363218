"""Request ids: what is sent again under its id is answered, not done, again; another request is refused."""

import json
from dataclasses import dataclass
from typing import Any, Final

from semface.errors import Reason, SemfaceError
from semface.gateway.enrolled.connection import as_store_errors
from semface.gateway.enrolled.keyspace import Keyspace
from semface.gateway.enrolled.store import EnrolledStore

REMEMBERED_SECONDS: Final = 86_400
REQUEST_ID_PATTERN: Final = r"^[A-Za-z0-9._:-]{1,128}$"


@dataclass(frozen=True, slots=True)
class Request:
    """A request under an id; both are kept as keyed hashes only."""

    store: EnrolledStore
    tenant: str
    key: str
    fingerprint: str

    @classmethod
    def of(cls, store: EnrolledStore, tenant: str, request_id: str, content: bytes) -> "Request":
        """Return the request that ``content`` (method, path and body) makes under ``request_id``."""
        protection = store.protection(tenant)
        key = Keyspace(tenant).request(protection.keyed_hash(b"request id", request_id.encode())[:16])
        return cls(store, tenant, key, protection.keyed_hash(b"request", content)[:16].hex())

    async def answered(self) -> dict[str, Any] | None:
        """Return what was answered under this id, or None. Raises REQUEST_ID_REUSED where it was another request."""
        with as_store_errors():
            kept = await self.store.redis.get(self.key)
        if kept is None:
            return None
        told: dict[str, Any] = json.loads(kept)
        if told.pop("of") != self.fingerprint:
            raise SemfaceError(
                Reason.REQUEST_ID_REUSED, "this request id was used for another request", field="Request-Id"
            )
        return told

    async def done(self, answer: dict[str, Any]) -> None:
        """Remember ``answer``, which holds neither face data nor a subject id, for a day."""
        kept = json.dumps({"of": self.fingerprint, **answer})
        with as_store_errors():
            await self.store.redis.set(self.key, kept, ex=REMEMBERED_SECONDS)
