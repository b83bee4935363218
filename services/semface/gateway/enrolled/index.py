"""The templates of one tenant in memory, to be searched: exactly, or beyond a limit approximately with exact scores.

The index is never the source of truth. It holds templates in the tenant's map; what is removed is overwritten.
"""

import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, Final, cast

import numpy as np
from numpy.typing import NDArray

from semface.client import Model
from semface.meaning import EMBEDDING_SIZE

UNLIMITED: Final = sys.maxsize
FIRST_CAPACITY: Final = 1024
CANDIDATES_AT_LEAST: Final = 32
"""Candidates that the approximate search hands to the exact scores."""
CONNECTIVITY: Final = 16
EXPANSION_ADD: Final = 96
EXPANSION_SEARCH: Final = 512
EXPANSION_CHECK: Final = 64
CHECKED: Final = 4
"""Among how many a vector looks for itself: some people may be enrolled twice."""

Vector = NDArray[np.float32]
Codes = NDArray[np.int8]


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """One subject of an index: its template as ``codes`` (512,) times ``scale``, and what a search has to know."""

    pseudonym: bytes
    subject: str
    model: Model
    codes: Codes
    scale: float
    expires_at: float | None = None
    groups: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Found:
    """The subjects that reach the threshold with their cosines, best first, and with how many was compared."""

    matches: list[tuple[str, float]]
    compared: int


class TemplateIndex:
    """Subjects with their templates; rows move when one is taken out."""

    def __init__(self, exact_limit: int = UNLIMITED) -> None:
        """Start empty; search exactly up to ``exact_limit`` subjects, beyond it through usearch if installed."""
        self._exact_limit = exact_limit
        self._rows: dict[bytes, int] = {}
        self._entries: list[tuple[bytes, str, Model, tuple[str, ...]]] = []
        self._codes: Codes = np.zeros((FIRST_CAPACITY, EMBEDDING_SIZE), np.int8)
        self._scales: Vector = np.zeros(FIRST_CAPACITY, np.float32)
        self._expires: NDArray[np.float64] = np.full(FIRST_CAPACITY, np.inf)
        self._groups: dict[str, set[bytes]] = {}
        self._models: dict[Model, int] = {}
        self._graph: NeighbourGraph | None = None
        self._vectors: Vector | None = np.zeros((FIRST_CAPACITY, EMBEDDING_SIZE), np.float32)

    def __len__(self) -> int:
        """Return how many subjects there are."""
        return len(self._entries)

    def foreign(self, model: Model) -> int:
        """Return how many templates another model than ``model`` made."""
        return sum(count for other, count in self._models.items() if other != model)

    def add(self, entries: Sequence[Entry]) -> None:
        """Put ``entries`` in, each in place of the one of the same pseudonym."""
        for entry in entries:
            self.remove(entry.pseudonym)
        if not entries:
            return
        first, end = len(self._entries), len(self._entries) + len(entries)
        self._reserve(end)
        self._codes[first:end] = [entry.codes for entry in entries]
        self._scales[first:end] = _unit_scales(self._codes[first:end])
        self._expires[first:end] = [np.inf if entry.expires_at is None else entry.expires_at for entry in entries]
        for row, entry in enumerate(entries, first):
            self._rows[entry.pseudonym] = row
            self._entries.append((entry.pseudonym, entry.subject, entry.model, entry.groups))
            self._models[entry.model] = self._models.get(entry.model, 0) + 1
            for group in entry.groups:
                self._groups.setdefault(group, set()).add(entry.pseudonym)
        if self._graph is not None:
            self._graph.add([entry.pseudonym for entry in entries], self._unpacked(np.arange(first, end)))
        elif end > self._exact_limit and NeighbourGraph.available():
            # The graph is built at the first search, over everybody that a reading of Redis brings.
            self._vectors = None
        elif self._vectors is not None:
            self._vectors[first:end] = self._unpacked(np.arange(first, end))

    def remove(self, pseudonym: bytes) -> bool:
        """Take out the subject of ``pseudonym`` and overwrite its template; return whether it was there."""
        row = self._rows.pop(pseudonym, None)
        if row is None:
            return False
        _, _, model, groups = self._entries[row]
        for group in groups:
            self._groups[group].discard(pseudonym)
            if not self._groups[group]:
                del self._groups[group]
        self._models[model] -= 1
        if not self._models[model]:
            del self._models[model]
        last = len(self._entries) - 1
        moved = self._entries.pop()
        if row != last:
            self._entries[row], self._rows[moved[0]] = moved, row
        for column in self._columns():
            column[row] = column[last]
            column[last] = 0
        if self._graph is not None:
            self._graph.remove(pseudonym)
        return True

    def search(self, probes: Vector, threshold: float, top: int, group: str | None) -> list[list[tuple[str, float]]]:
        """Return for each of ``probes`` (N, 512), mapped unit vectors, the ``top`` subjects from ``threshold`` on.

        Subject and cosine, the best first; only those of ``group`` where one is named, none that has expired.
        """
        if group is not None:
            rows = np.array(sorted(self._rows[pseudonym] for pseudonym in self._groups.get(group, ())), np.intp)
            return [self._best(rows, self._scores(rows, probe), threshold, top) for probe in probes]
        if self._vectors is None:
            graph = self._graph = self._graph or self._built_graph()
            return [self._approximate(graph, probe, threshold, top) for probe in probes]
        count = len(self._entries)
        scores = self._vectors[:count] @ probes.T
        return [self._best(np.arange(count), scores[:, place], threshold, top) for place in range(len(probes))]

    def compared(self, group: str | None) -> int:
        """Return with how many templates a search compares."""
        return len(self._entries) if group is None else len(self._groups.get(group, ()))

    def entries(self) -> list[Entry]:
        """Return everything that is in the index."""
        return self._entries_of(range(len(self)))

    def entries_in_parts(self, size: int) -> Iterator[list[Entry]]:
        """Yield everything that is in the index, ``size`` entries at a time."""
        for start in range(0, len(self), size):
            yield self._entries_of(range(start, min(start + size, len(self))))

    def _entries_of(self, rows: range) -> list[Entry]:
        return [
            Entry(
                pseudonym,
                subject,
                model,
                self._codes[row],
                float(self._scales[row]),
                None if np.isinf(self._expires[row]) else float(self._expires[row]),
                groups,
            )
            for row, (pseudonym, subject, model, groups) in zip(
                rows, self._entries[rows.start : rows.stop], strict=True
            )
        ]

    @property
    def graph(self) -> "NeighbourGraph | None":
        """The approximate search, where the subjects are many."""
        return self._graph

    def take_graph(self, graph: "NeighbourGraph") -> None:
        """Use ``graph``, which was kept beside these very entries, in place of building one."""
        self._graph, self._vectors = graph, None

    def _approximate(
        self, graph: "NeighbourGraph", probe: Vector, threshold: float, top: int
    ) -> list[tuple[str, float]]:
        found = graph.nearest(probe, max(4 * top, CANDIDATES_AT_LEAST))
        rows = np.array([self._rows[pseudonym] for pseudonym in found if pseudonym in self._rows], np.intp)
        return self._best(rows, self._scores(rows, probe), threshold, top)

    def _scores(self, rows: NDArray[np.intp], probe: Vector) -> Vector:
        vectors = self._unpacked(rows) if self._vectors is None else self._vectors[rows]
        return vectors @ probe

    def _best(self, rows: NDArray[np.intp], scores: Vector, threshold: float, top: int) -> list[tuple[str, float]]:
        reaching = np.flatnonzero(scores >= threshold)
        reaching = reaching[self._expires[rows[reaching]] > time.time()]
        if len(reaching) > top:
            # To sort all that reach a low threshold would take longer than to compare them.
            reaching = reaching[np.argpartition(-scores[reaching], top - 1)[:top]]
        best = reaching[np.argsort(-scores[reaching], kind="stable")]
        return [(self._entries[rows[place]][1], float(scores[place])) for place in best]

    def _unpacked(self, rows: NDArray[np.intp]) -> Vector:
        return cast(Vector, self._codes[rows] * self._scales[rows, None])

    def _columns(self) -> list[Any]:
        columns: list[Any] = [self._codes, self._scales, self._expires]
        return columns if self._vectors is None else [*columns, self._vectors]

    def _reserve(self, count: int) -> None:
        capacity = len(self._scales)
        if count <= capacity:
            return
        more = max(count, capacity + capacity // 2) - capacity
        self._codes = np.concatenate([self._codes, np.zeros((more, EMBEDDING_SIZE), np.int8)])
        self._scales = np.concatenate([self._scales, np.zeros(more, np.float32)])
        self._expires = np.concatenate([self._expires, np.full(more, np.inf)])
        if self._vectors is not None:
            self._vectors = np.concatenate([self._vectors, np.zeros((more, EMBEDDING_SIZE), np.float32)])

    def _built_graph(self) -> "NeighbourGraph":
        graph = NeighbourGraph(_new_graph(), {}, 0)
        graph.build([entry[0] for entry in self._entries], self._unpacked(np.arange(len(self._entries))))
        return graph


class NeighbourGraph:
    """Approximate nearest neighbours by usearch (HNSW, half precision)."""

    def __init__(self, graph: Any, keys: dict[bytes, int], following: int) -> None:
        """Keep ``graph`` with the ``keys`` by which it knows pseudonyms, and the next free key."""
        self._graph = graph
        self._keys = keys
        self._pseudonyms = {key: pseudonym for pseudonym, key in keys.items()}
        self._following = following

    @classmethod
    def available(cls) -> bool:
        """Return whether usearch (the extra ``index``) is installed."""
        return find_spec("usearch") is not None

    def build(self, pseudonyms: Sequence[bytes], vectors: Vector) -> None:
        """Add many unit ``vectors`` (N, 512) of new ``pseudonyms``, on all cores."""
        keys = self._new_keys(len(pseudonyms))
        self._graph.add(keys, vectors)
        # Threads that add at once may leave a vector to which no path leads: it is added again, alone.
        self._graph.expansion_search = EXPANSION_CHECK
        found = self._graph.search(vectors, CHECKED).keys.reshape(len(keys), -1)
        self._graph.expansion_search = EXPANSION_SEARCH
        lost = np.flatnonzero((found != keys[:, None]).all(axis=1))
        for key in keys[lost].tolist():
            self._graph.remove(key)
        keys[lost] = self._new_keys(len(lost))
        self._graph.add(keys[lost], vectors[lost], threads=1)
        self._know(pseudonyms, keys)

    def add(self, pseudonyms: Sequence[bytes], vectors: Vector) -> None:
        """Add the unit ``vectors`` (N, 512) of new ``pseudonyms``, one after the other."""
        if not pseudonyms:
            return
        keys = self._new_keys(len(pseudonyms))
        self._graph.add(keys, vectors, threads=1)
        self._know(pseudonyms, keys)

    def _new_keys(self, count: int) -> NDArray[np.uint64]:
        self._following += count
        return np.arange(self._following - count, self._following, dtype=np.uint64)

    def _know(self, pseudonyms: Sequence[bytes], keys: NDArray[np.uint64]) -> None:
        for pseudonym, key in zip(pseudonyms, keys.tolist(), strict=True):
            self._keys[pseudonym], self._pseudonyms[key] = key, pseudonym

    def remove(self, pseudonym: bytes) -> None:
        """Take ``pseudonym`` out; noise takes the place of its vector, which would else stay in memory."""
        key = self._keys.pop(pseudonym)
        del self._pseudonyms[key]
        self._graph.remove(key)
        noise = np.random.default_rng().normal(size=(1, EMBEDDING_SIZE)).astype(np.float32)
        (other,) = keys = self._new_keys(1)
        self._graph.add(keys, noise / np.linalg.norm(noise))
        self._graph.remove(int(other))

    def nearest(self, probe: Vector, count: int) -> list[bytes]:
        """Return the pseudonyms of about the ``count`` nearest vectors."""
        found = self._graph.search(probe, count).keys.tolist()
        return [self._pseudonyms[key] for key in found if key in self._pseudonyms]

    def dump(self) -> tuple[bytes, dict[bytes, int], int]:
        """Return all that ``load`` needs."""
        return bytes(self._graph.save()), self._keys, self._following

    @classmethod
    def load(cls, data: bytes, keys: dict[bytes, int], following: int) -> "NeighbourGraph | None":
        """Return what ``dump`` told, or None where usearch is not installed."""
        if not cls.available():
            return None
        graph = _new_graph()
        graph.load(data)
        return cls(graph, keys, following)


def _unit_scales(codes: Codes) -> Vector:
    """Return the scales (N,) that make ``codes`` (N, 512) unit vectors."""
    return np.asarray(1.0 / np.linalg.norm(codes.astype(np.float32), axis=1), np.float32)


def _new_graph() -> Any:
    from usearch.index import Index

    return Index(
        ndim=EMBEDDING_SIZE,
        metric="ip",
        dtype="f16",
        connectivity=CONNECTIVITY,
        expansion_add=EXPANSION_ADD,
        expansion_search=EXPANSION_SEARCH,
    )
