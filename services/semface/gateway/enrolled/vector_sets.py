"""Search by Redis 8 in vector sets, in place of an index in each gateway.

Redis then holds mapped templates that are not sealed. A set holds those of one data key and one model; they are put in
and taken out in the same step as their records. Redis proposes candidates; their records are read and opened, so scores
are exact, and who was erased is not found. Before each search the sets are counted: where they do not hold as many as
there are records, they are filled.
"""

import asyncio
from collections.abc import Sequence
from typing import Any, Final

from semface.client import Model
from semface.errors import Reason, SemfaceError
from semface.gateway.enrolled.connection import as_store_errors
from semface.gateway.enrolled.index import Found, Vector
from semface.gateway.enrolled.keyspace import Keyspace
from semface.gateway.enrolled.record import Record, open_record
from semface.gateway.enrolled.scripts import FILL, VECTOR_COUNTS
from semface.gateway.enrolled.store import EnrolledStore, group_hash, vector_of

FILL_BATCH: Final = 500
CANDIDATES_AT_LEAST: Final = 32
"""Candidates that Redis hands to the exact scores."""
EXPANSION_SEARCH: Final = 512
"""How many of its neighbours a search keeps in view."""

Sizes = dict[tuple[int, int], int]
"""How many templates the set of each data key and model hash holds."""


class VectorSetDirectory:
    """The vector sets of one tenant."""

    def __init__(self, store: EnrolledStore, tenant: str) -> None:
        """Search what ``store`` puts into vector sets."""
        self._store = store
        self._tenant = tenant
        self._keys = Keyspace(tenant)
        self._filling = asyncio.Lock()

    async def search(self, probes: Vector, model: Model, threshold: float, top: int, group: str | None) -> list[Found]:
        """See :meth:`semface.gateway.enrolled.directories.Directory.search`."""
        sizes = await self._filled()
        foreign = sum(size for (_, model_hash), size in sizes.items() if model_hash != model.hash)
        if foreign:
            message = f"{foreign} templates were made by another model than {model}; enrol those subjects again"
            raise SemfaceError(Reason.MODEL_MISMATCH, message)
        proposed = await self._candidates(probes, sizes, max(4 * top, CANDIDATES_AT_LEAST), group)
        pseudonyms = list(dict.fromkeys(pseudonym for found in proposed for pseudonym in found))
        records = await self._store.get_pseudonyms(self._tenant, pseudonyms)
        compared = sum(sizes.values())
        return [
            Found(self._best(probe, [records[name] for name in found if name in records], threshold, top), compared)
            for probe, found in zip(probes, proposed, strict=True)
        ]

    async def refresh(self) -> None:
        """Erase who has expired."""
        await self._store.remove_expired(self._tenant)

    async def save(self) -> None:
        """Do nothing: Redis keeps the sets."""

    async def _candidates(self, probes: Vector, sizes: Sizes, count: int, group: str | None) -> list[list[bytes]]:
        """Return for each of ``probes`` the pseudonyms that Redis takes for the nearest."""
        protection = self._store.protection(self._tenant)
        options: list[Any] = ["COUNT", count, "EF", max(count, EXPANSION_SEARCH)]
        if group is not None:
            # A group is compared whole: a walk through the graph could pass a small one by.
            options += ["TRUTH", "FILTER", f'"{group_hash(group, protection)}" in .groups']
        with as_store_errors():
            async with self._store.redis.pipeline(transaction=False) as pipeline:
                for key, model_hash in sizes:
                    for mapped in protection.mapped(probes, key).astype("<f4"):
                        name = self._keys.vector_set(f"{key}:{model_hash:016x}")
                        pipeline.execute_command("VSIM", name, "FP32", mapped.tobytes(), *options)
                answers = await pipeline.execute()
        return [[name for answer in answers[place :: len(probes)] for name in answer] for place in range(len(probes))]

    def _best(self, probe: Vector, records: Sequence[Record], threshold: float, top: int) -> list[tuple[str, float]]:
        protection = self._store.protection(self._tenant)
        mapped = {record.key: protection.mapped(probe, record.key) for record in records}
        scored = [
            (record.subject, float(record.vector(protection, record.key) @ mapped[record.key])) for record in records
        ]
        return sorted(((name, score) for name, score in scored if score >= threshold), key=lambda one: -one[1])[:top]

    async def _filled(self) -> Sizes:
        """Return the sizes of sets that hold every record; fill them first where they do not."""
        records, sizes = await self._counts()
        if records == sum(sizes.values()):
            return sizes
        async with self._filling:
            records, sizes = await self._counts()
            if records != sum(sizes.values()):
                if records < sum(sizes.values()):
                    await self._drop(sizes)
                await self._fill()
                records, sizes = await self._counts()
        if records != sum(sizes.values()):
            message = "the vector sets do not hold what is enrolled; is a gateway running without SEMFACE_VECTOR_SETS?"
            raise SemfaceError(Reason.BACKEND_AWAY, message)
        return sizes

    async def _counts(self) -> tuple[int, Sizes]:
        buckets = self._keys.buckets
        with as_store_errors():
            records, *told = await self._store.redis.eval(VECTOR_COUNTS, 1 + len(buckets), self._keys.vectors, *buckets)
        names = [name.decode().split(":") for name in told[::2]]
        return records, {(int(key), int(model, 16)): size for (key, model), size in zip(names, told[1::2], strict=True)}

    async def _fill(self) -> None:
        protection = self._store.protection(self._tenant)
        async for values in self._store.values(self._tenant):
            for start in range(0, len(values), FILL_BATCH):
                with as_store_errors():
                    async with self._store.redis.pipeline(transaction=False) as pipeline:
                        for pseudonym, value in values[start : start + FILL_BATCH]:
                            vector = vector_of(open_record(value, pseudonym, protection), protection)
                            named = self._keys.bucket(pseudonym), self._keys.vectors
                            pipeline.eval(FILL, len(named), *named, pseudonym, value, *vector)
                        await pipeline.execute()

    async def _drop(self, sizes: Sizes) -> None:
        with as_store_errors():
            for key, model_hash in sizes:
                await self._store.redis.unlink(self._keys.vector_set(f"{key}:{model_hash:016x}"))
