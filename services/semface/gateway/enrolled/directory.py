"""The index of a tenant in this process, brought up to date with Redis before every search.

Redis keeps a trimmed stream of what changed. Each search first asks for what came after the last change seen, and that
this change is still there: where it is not (trimmed away, a server that was emptied, or a snapshot that was
restored) everything is read anew. So a search never misses what was acknowledged before it, and while Redis is away
there is no answer.
"""

import asyncio
import time
from typing import Final

import numpy as np
import structlog

from semface.client import Model
from semface.errors import Reason, SemfaceError
from semface.gateway.enrolled.connection import as_store_errors
from semface.gateway.enrolled.index import Entry, Found, TemplateIndex, Vector
from semface.gateway.enrolled.keyspace import Keyspace
from semface.gateway.enrolled.protection import TenantProtection
from semface.gateway.enrolled.record import Record, make_record, open_record
from semface.gateway.enrolled.saved_index import SavedIndexes
from semface.gateway.enrolled.store import EnrolledStore

CHANGES_AT_ONCE: Final = 1000
SAVE_SECONDS: Final = 60.0

_log = structlog.get_logger("semface.gateway")


class TenantDirectory:
    """The index of one tenant and how far it has followed the stream of changes."""

    def __init__(self, store: EnrolledStore, tenant: str, exact_limit: int, saved: SavedIndexes | None) -> None:
        """Know nothing yet; the first search reads the saved index or all of Redis."""
        self._store = store
        self._tenant = tenant
        self._exact_limit = exact_limit
        self._saved = saved
        self._lock = asyncio.Lock()
        self._index = TemplateIndex(exact_limit)
        self._position: str | None = None
        self._key = 0
        self._loaded = False
        self._unsaved = False
        self._saved_at = 0.0
        self._saving = asyncio.Lock()
        self._erasures = 0
        """How often the saved index was dropped: what was copied before must not become it."""

    @property
    def index(self) -> TemplateIndex:
        """The index as it was after the last search."""
        return self._index

    async def search(self, probes: Vector, model: Model, threshold: float, top: int, group: str | None) -> list[Found]:
        """Compare unit embeddings (N, 512) of ``model``. Raises MODEL_MISMATCH where a template is another model's."""
        async with self._lock:
            protection = await self._catch_up()
            foreign = self._index.foreign(model)
            if foreign:
                message = f"{foreign} templates were made by another model than {model}; enrol those subjects again"
                raise SemfaceError(Reason.MODEL_MISMATCH, message)
            mapped = protection.mapped(probes, self._key)
            found = await asyncio.to_thread(self._index.search, mapped, threshold, top, group)
            compared = self._index.compared(group)
        return [Found(matches, compared) for matches in found]

    async def refresh(self) -> None:
        """Bring the index up to date, take out what has expired, and save it from time to time."""
        async with self._lock:
            await self._catch_up()
            await self._store.remove_expired(self._tenant)
        if time.monotonic() - self._saved_at >= SAVE_SECONDS:
            await self.save()

    async def save(self) -> None:
        """Save the index where it changed since. Searches go on meanwhile: of a million, a save takes seconds."""
        if self._saved is None:
            return
        async with self._saving:
            async with self._lock:
                protection, position = self._store.protection(self._tenant), self._position
                if not self._unsaved or position is None or self._key != protection.active:
                    return
                snapshot, erasures = await asyncio.to_thread(self._index.snapshot), self._erasures
                self._unsaved, self._saved_at = False, time.monotonic()
            writing = asyncio.create_task(asyncio.to_thread(self._saved.write, protection, snapshot, position))
            try:
                written = await asyncio.shield(writing)
                async with self._lock:
                    if erasures == self._erasures:
                        self._saved.keep(self._tenant, written)
                    else:
                        written.unlink()
            except BaseException:
                # A thread cannot be stopped, and the next save writes where this one does.
                await asyncio.wait([writing])
                self._unsaved = True
                raise

    def _drop_saved(self) -> None:
        if self._saved is not None:
            self._saved.drop(self._tenant)
            self._erasures += 1

    async def _catch_up(self) -> TenantProtection:
        protection = self._store.protection(self._tenant)
        if not self._loaded and self._saved is not None:
            kept = await asyncio.to_thread(self._saved.read, protection, self._exact_limit)
            if kept is not None:
                self._index, self._position = kept
                self._key = protection.active
        self._loaded = True
        while self._position is not None and self._key == protection.active:
            changes = await self._changes(self._position)
            if changes is None:
                break
            await self._apply([pseudonym for _, pseudonym in changes], protection)
            if changes:
                self._position, self._unsaved = changes[-1][0], True
            if len(changes) < CHANGES_AT_ONCE:
                return protection
        await self._read_all(protection)
        return protection

    async def _changes(self, position: str) -> list[tuple[str, bytes]] | None:
        """Return the changes after ``position``, at most some, or None where the stream does not go on from there."""
        with as_store_errors():
            entries = await self._store.redis.xrange(
                Keyspace(self._tenant).changes, min=position, count=CHANGES_AT_ONCE + 1
            )
        if not entries or entries[0][0].decode() != position:
            return None
        return [(number.decode(), fields[b"s"]) for number, fields in entries[1:]]

    async def _apply(self, changed: list[bytes], protection: TenantProtection) -> None:
        pseudonyms = list(dict.fromkeys(pseudonym for pseudonym in changed if pseudonym))
        if not pseudonyms:
            return
        records = await self._store.get_pseudonyms(self._tenant, pseudonyms)
        gone = [self._index.remove(pseudonym) for pseudonym in pseudonyms if pseudonym not in records]
        if any(gone):
            # What was erased may not stay in the file either; it is written again soon.
            self._drop_saved()
        entries = [self._entry(pseudonym, record, protection) for pseudonym, record in records.items()]
        # Where the subjects become many with these, that takes a second.
        await asyncio.to_thread(self._index.add, entries)

    async def _read_all(self, protection: TenantProtection) -> None:
        started, keys = time.perf_counter(), Keyspace(self._tenant)
        position = await self._last_change(keys)
        index = TemplateIndex(self._exact_limit)
        self._key = protection.active
        async for values in self._store.values(self._tenant):
            entries = await asyncio.to_thread(self._opened, values, protection)
            await asyncio.to_thread(index.add, entries)
        self._drop_saved()
        self._index, self._position, self._unsaved = index, position, True
        _log.info("index read", subjects=len(index), seconds=round(time.perf_counter() - started, 3))

    async def _last_change(self, keys: Keyspace) -> str | None:
        """Return the last change of the stream; one is made where it is empty, so that a later loss is seen.

        None on a full server: then every search reads all.
        """
        with as_store_errors():
            last = await self._store.redis.xrevrange(keys.changes, count=1)
            if last:
                return str(last[0][0].decode())
        try:
            with as_store_errors():
                made: bytes = await self._store.redis.xadd(keys.changes, {b"s": b""})
        except SemfaceError as error:
            if error.reason is not Reason.STORE_FULL:
                raise
            return None
        return made.decode()

    def _opened(self, values: list[tuple[bytes, bytes]], protection: TenantProtection) -> list[Entry]:
        now, entries = time.time(), list[Entry]()
        for pseudonym, value in values:
            record = open_record(value, pseudonym, protection)
            if not record.details.expired(now):
                entries.append(self._entry(pseudonym, record, protection))
        return entries

    def _entry(self, pseudonym: bytes, record: Record, protection: TenantProtection) -> Entry:
        if record.key != self._key:
            # Sealed before a rotation that is still going on: bring it into the map of the others.
            embedding = record.embedding(protection)
            record = make_record(record.subject, embedding, record.model, record.details, protection)
        details = record.details
        return Entry(
            pseudonym, record.subject, record.model, record.codes, record.scale, details.expires_at, details.groups
        )


def unit(vectors: Vector) -> Vector:
    """Return ``vectors`` (N, 512) at length one."""
    return np.asarray(vectors / np.linalg.norm(vectors, axis=-1, keepdims=True), np.float32)
