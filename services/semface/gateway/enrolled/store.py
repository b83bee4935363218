"""The enrolled in Redis, the one source of truth: sealed records, the stream of changes, the audit trail.

Every method raises BACKEND_AWAY or STORE_FULL when Redis cannot, and never takes an unreadable record for none.
"""

import json
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from semface.gateway.enrolled.connection import as_store_errors, connect
from semface.gateway.enrolled.key_ring import KeyRing, TenantKeys
from semface.gateway.enrolled.keyspace import Keyspace
from semface.gateway.enrolled.protection import PSEUDONYM_BYTES, TenantProtection
from semface.gateway.enrolled.record import Record, open_record, seal_record
from semface.gateway.enrolled.scripts import PUT, REMOVE

BATCH: Final = 500
BUCKETS_AT_ONCE: Final = 16
SCAN_COUNT: Final = 1000
PUT_KEYS: Final = 5


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """What the audit trail tells beside the time and the pseudonym: what was done, and with which API key."""

    action: str
    key_id: str

    def fields(self, pseudonym: bytes) -> list[str | bytes]:
        """Return the entry of the trail for the subject of ``pseudonym``."""
        return ["did", self.action, "key", self.key_id, "subject", pseudonym]


EXPIRY: Final = AuditEvent("expire", "")


@dataclass(frozen=True, slots=True)
class StreamLengths:
    """How long the streams of a tenant grow, in entries; Redis trims whole blocks, so a little more stays."""

    changes: int
    audit: int


class EnrolledStore:
    """Keeps the records of every tenant."""

    def __init__(
        self, url: str, timeout_seconds: float, ring: KeyRing, streams: StreamLengths, *, vector_sets: bool = False
    ) -> None:
        """Connect to ``url`` at the first command; each may take ``timeout_seconds``.

        With ``vector_sets`` every template is put into one of Redis 8 too, in the same step as its record.
        """
        self.redis = connect(url, timeout_seconds)
        self.ring = ring
        self.streams = streams
        self.vector_sets = vector_sets
        self._protections: dict[str, tuple[TenantKeys, TenantProtection]] = {}

    def protection(self, tenant: str) -> TenantProtection:
        """Return what protects the templates of ``tenant`` now. Raises KEY_INVALID for an erased tenant."""
        keys = self.ring.keys(tenant)
        known = self._protections.get(tenant)
        if known is None or known[0] is not keys:
            known = self._protections[tenant] = (keys, TenantProtection(keys))
        return known[1]

    async def ping(self) -> None:
        """Ask whether the server is there."""
        with as_store_errors():
            await self.redis.ping()

    async def put(
        self, tenant: str, record: Record, event: AuditEvent | None, replacing: bytes | None = None
    ) -> bool | None:
        """Keep ``record`` in place of any before and return whether the subject is new.

        Where ``replacing`` is given, the record is kept only in place of that value; else None is returned.
        """
        protection = self.protection(tenant)
        pseudonym = protection.pseudonym(record.subject)
        arguments = self._put_arguments(tenant, pseudonym, seal_record(record, protection), record, event, replacing)
        with as_store_errors():
            answer = await self.redis.eval(PUT, PUT_KEYS, *arguments)
        return None if answer < 0 else bool(answer)

    async def put_many(self, tenant: str, records: Sequence[Record], event: AuditEvent) -> list[bool]:
        """Keep ``records``, and return for each whether the subject is new; each is kept whole or not at all."""
        protection = self.protection(tenant)
        with as_store_errors():
            async with self.redis.pipeline(transaction=False) as pipeline:
                for record in records:
                    pseudonym, value = protection.pseudonym(record.subject), seal_record(record, protection)
                    pipeline.eval(PUT, PUT_KEYS, *self._put_arguments(tenant, pseudonym, value, record, event, None))
                return [bool(answer) for answer in await pipeline.execute()]

    async def replace_value(self, tenant: str, pseudonym: bytes, old: bytes, new: bytes) -> bool:
        """Put ``new`` in the place of ``old``, the same template; return whether ``old`` was still there."""
        record = open_record(new, pseudonym, self.protection(tenant))
        arguments = self._put_arguments(tenant, pseudonym, new, record, None, old)
        with as_store_errors():
            return bool(await self.redis.eval(PUT, PUT_KEYS, *arguments) >= 0)

    async def get(self, tenant: str, subject: str) -> tuple[Record, bytes] | None:
        """Return the record of ``subject`` and its value, or None where it is absent or expired."""
        pseudonym = self.protection(tenant).pseudonym(subject)
        with as_store_errors():
            value = await self.redis.hget(Keyspace(tenant).bucket(pseudonym), pseudonym)
        return self.read(tenant, pseudonym, value)

    def read(self, tenant: str, pseudonym: bytes, value: bytes | None) -> tuple[Record, bytes] | None:
        """Return the record that ``value`` is, or None where there is none or it has expired."""
        if value is None:
            return None
        record = open_record(value, pseudonym, self.protection(tenant))
        return None if record.details.expired(time.time()) else (record, value)

    async def get_pseudonyms(self, tenant: str, pseudonyms: Sequence[bytes]) -> dict[bytes, Record]:
        """Return the records of ``pseudonyms`` that are there and have not expired."""
        keys, found = Keyspace(tenant), {}
        for start in range(0, len(pseudonyms), BATCH):
            batch = pseudonyms[start : start + BATCH]
            with as_store_errors():
                async with self.redis.pipeline(transaction=False) as pipeline:
                    for pseudonym in batch:
                        pipeline.hget(keys.bucket(pseudonym), pseudonym)
                    values = await pipeline.execute()
            for pseudonym, value in zip(batch, values, strict=True):
                if (read := self.read(tenant, pseudonym, value)) is not None:
                    found[pseudonym] = read[0]
        return found

    async def remove(self, tenant: str, pseudonym: bytes, event: AuditEvent) -> bool:
        """Erase everything about the subject of ``pseudonym``; return whether there was anything."""
        keys, counts = Keyspace(tenant), self.streams
        every_key = [keys.bucket(pseudonym), keys.expiries, keys.changes, keys.audit, keys.vectors]
        every_key += [keys.failures(pseudonym), keys.attempts(pseudonym)]
        arguments = [pseudonym, counts.changes, counts.audit, *event.fields(pseudonym)]
        with as_store_errors():
            return bool(await self.redis.eval(REMOVE, len(every_key), *every_key, *arguments))

    async def values(self, tenant: str) -> AsyncIterator[list[tuple[bytes, bytes]]]:
        """Yield pseudonyms and values of all records, some buckets at a time; what changes meanwhile may be either."""
        buckets = Keyspace(tenant).buckets
        for start in range(0, len(buckets), BUCKETS_AT_ONCE):
            with as_store_errors():
                async with self.redis.pipeline(transaction=False) as pipeline:
                    for bucket in buckets[start : start + BUCKETS_AT_ONCE]:
                        pipeline.hgetall(bucket)
                    found = await pipeline.execute()
            yield [item for bucket in found for item in bucket.items()]

    async def page(self, tenant: str, after: bytes, limit: int) -> tuple[list[Record], bytes | None]:
        """Return at most ``limit`` records whose pseudonym follows ``after``, and where to go on, None at the end.

        The order is that of pseudonyms, which tells nothing of the ids.
        """
        keys, wanted = Keyspace(tenant), list[bytes]()
        first = after[0] if after else 0
        for start in range(first, len(keys.buckets), BUCKETS_AT_ONCE):
            with as_store_errors():
                async with self.redis.pipeline(transaction=False) as pipeline:
                    for bucket in keys.buckets[start : start + BUCKETS_AT_ONCE]:
                        pipeline.hkeys(bucket)
                    found = await pipeline.execute()
            wanted += sorted(pseudonym for bucket in found for pseudonym in bucket if pseudonym > after)
            if len(wanted) > limit:
                break
        records = await self.get_pseudonyms(tenant, wanted[:limit])
        return list(records.values()), wanted[limit - 1] if len(wanted) > limit else None

    async def note(self, tenant: str, pseudonym: bytes, event: AuditEvent) -> None:
        """Add ``event`` to the audit trail."""
        keys = Keyspace(tenant)
        fields = event.fields(pseudonym)
        entry: dict[Any, Any] = dict(zip(fields[::2], fields[1::2], strict=True))
        with as_store_errors():
            await self.redis.xadd(keys.audit, entry, maxlen=self.streams.audit, approximate=True)

    async def audit_trail(self, tenant: str, count: int) -> list[tuple[str, dict[str, str]]]:
        """Return the newest ``count`` entries of the trail, newest first: id (milliseconds since 1970) and fields."""
        with as_store_errors():
            entries = await self.redis.xrevrange(Keyspace(tenant).audit, count=count)
        return [(number.decode(), _readable(fields)) for number, fields in entries]

    async def remove_expired(self, tenant: str) -> None:
        """Erase the subjects whose time to live is over."""
        for pseudonym in await self.expired(tenant, time.time()):
            await self.remove(tenant, pseudonym, EXPIRY)

    async def expired(self, tenant: str, now: float) -> list[bytes]:
        """Return the pseudonyms whose time to live was over at ``now``."""
        with as_store_errors():
            found: list[bytes] = await self.redis.zrangebyscore(Keyspace(tenant).expiries, "-inf", now)
        return found

    async def purge(self, tenant: str) -> None:
        """Delete every key of ``tenant``."""
        keys = Keyspace(tenant)
        await self._unlink_known(tenant)
        with as_store_errors():
            async for key in self.redis.scan_iter(match=f"{keys.prefix}*", count=SCAN_COUNT):
                await self.redis.unlink(key)

    async def purge_erased(self) -> None:
        """Delete what a restored snapshot brought back of the tenants that were erased."""
        for tenant in self.ring.erased():
            await self._unlink_known(tenant)

    async def _unlink_known(self, tenant: str) -> None:
        keys = Keyspace(tenant)
        with as_store_errors():
            sets = [keys.vector_set(name.decode()) for name in await self.redis.smembers(keys.vectors)]
            for key in (*keys.buckets, *sets, keys.vectors, keys.changes, keys.audit, keys.expiries):
                await self.redis.unlink(key)

    async def close(self) -> None:
        """Close the connections."""
        await self.redis.aclose()

    def _put_arguments(
        self, tenant: str, pseudonym: bytes, value: bytes, record: Record, event: AuditEvent | None, old: bytes | None
    ) -> list[Any]:
        keys, counts = Keyspace(tenant), self.streams
        expiry = "" if record.details.expires_at is None else repr(record.details.expires_at)
        vector = vector_of(record, self.protection(tenant)) if self.vector_sets else ("", b"", "")
        arguments = [pseudonym, value, expiry, old or "", counts.changes, counts.audit, *vector]
        noted = event.fields(pseudonym) if event else []
        named = [keys.bucket(pseudonym), keys.expiries, keys.changes, keys.audit, keys.vectors]
        return [*named, *arguments, *noted]


def vector_of(record: Record, protection: TenantProtection) -> tuple[str, bytes, str]:
    """Return the vector set of ``record``, named by data key and model, its mapped template, and its attributes.

    Groups are told as keyed hashes.
    """
    groups = [group_hash(group, protection) for group in record.details.groups]
    vector = record.vector(protection, record.key).astype("<f4").tobytes()
    return f"{record.key}:{record.model.hash:016x}", vector, json.dumps({"groups": groups})


def group_hash(group: str, protection: TenantProtection) -> str:
    """Return what stands for ``group`` among the attributes of a vector set."""
    return protection.keyed_hash(b"group", group.encode())[:PSEUDONYM_BYTES].hex()


def _readable(fields: dict[bytes, bytes]) -> dict[str, str]:
    return {name.decode(): value.hex() if name == b"subject" else value.decode() for name, value in fields.items()}
