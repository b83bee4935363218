"""The templates of one tenant in memory, to be searched exactly: all compared whole, or those that a first pass leaves.

The index is never the source of truth. It holds templates in the tenant's map; what is removed is overwritten.
"""

import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

import numpy as np
from numpy.typing import NDArray

from semface.client import Model
from semface.gateway.enrolled.screening import FITTED_ROWS, Screen
from semface.meaning import EMBEDDING_SIZE

UNLIMITED: Final = sys.maxsize
FIRST_CAPACITY: Final = 1024
FEW: Final = 2048
"""So many are compared whole at once, without asking whether fewer would do."""
FIRST_COMPARED: Final = 256
"""Of more, the cosines of so many of the likeliest tell how high those of the others would have to be."""
PROBES_AT_ONCE: Final = 8
ROWS_AT_ONCE: Final = 16_384
"""What bounds the memory of a search."""

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


Subject = tuple[bytes, str, Model, tuple[str, ...]]
"""Pseudonym, name, model and groups."""


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """A copy of all that is in an index: of N ``subjects`` the ``codes`` (N, 512), ``scales`` (N,) and ends (N,)."""

    subjects: list[Subject]
    codes: Codes
    scales: Vector
    expires: NDArray[np.float64]
    """In seconds since 1970; infinite for those who stay."""


class TemplateIndex:
    """Subjects with their templates; rows move when one is taken out."""

    def __init__(self, exact_limit: int = UNLIMITED) -> None:
        """Start empty; compare whole with up to ``exact_limit`` subjects, beyond it with those whom a screen leaves."""
        self._exact_limit = exact_limit
        self._rows: dict[bytes, int] = {}
        self._entries: list[Subject] = []
        self._codes: Codes = np.zeros((FIRST_CAPACITY, EMBEDDING_SIZE), np.int8)
        self._scales: Vector = np.zeros(FIRST_CAPACITY, np.float32)
        self._expires: NDArray[np.float64] = np.full(FIRST_CAPACITY, np.inf)
        self._groups: dict[str, set[bytes]] = {}
        self._models: dict[Model, int] = {}
        self._screen: Screen | None = None
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
        if self._screen is None and end > self._exact_limit:
            self._begin_screening()
            return
        vectors = self._unpacked(np.arange(first, end))
        if self._screen is not None:
            self._screen.put(first, vectors)
        elif self._vectors is not None:
            self._vectors[first:end] = vectors

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
        return True

    def search(self, probes: Vector, threshold: float, top: int, group: str | None) -> list[list[tuple[str, float]]]:
        """Return for each of ``probes`` (N, 512), mapped unit vectors, the ``top`` subjects from ``threshold`` on.

        Subject and cosine, the best first; only those of ``group`` where one is named, none that has expired.
        """
        if group is not None:
            rows = np.array(sorted(self._rows[pseudonym] for pseudonym in self._groups.get(group, ())), np.intp)
            return [self._best(rows, self._scores(rows, probe), threshold, top) for probe in probes]
        count = len(self._entries)
        if self._vectors is None:
            return [
                self._screened(bounds, probe, threshold, top)
                for some in np.array_split(probes, range(PROBES_AT_ONCE, len(probes), PROBES_AT_ONCE))
                for bounds, probe in zip(self._bounds(some), some, strict=True)
            ]
        scores = self._vectors[:count] @ probes.T
        return [self._best(np.arange(count), scores[:, place], threshold, top) for place in range(len(probes))]

    def compared(self, group: str | None) -> int:
        """Return with how many templates a search compares."""
        return len(self._entries) if group is None else len(self._groups.get(group, ()))

    def snapshot(self) -> Snapshot:
        """Return a copy, which stays as it is whatever happens to the index."""
        end = len(self)
        return Snapshot(
            self._entries.copy(), self._codes[:end].copy(), self._scales[:end].copy(), self._expires[:end].copy()
        )

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
    def screened(self) -> bool:
        """Whether a first pass leaves out who cannot be among the best, because the subjects are many."""
        return self._screen is not None

    def _begin_screening(self) -> None:
        """Find the directions of those who are there; a second for 100,000, which is spent once."""
        count = len(self._entries)
        sample = np.linspace(0, count - 1, min(count, FITTED_ROWS)).astype(np.intp)
        screen = Screen.fitted(self._unpacked(sample), len(self._scales))
        for start in range(0, count, ROWS_AT_ONCE):
            screen.put(start, self._unpacked(np.arange(start, min(start + ROWS_AT_ONCE, count))))
        self._screen, self._vectors = screen, None

    def _bounds(self, probes: Vector) -> Vector:
        assert self._screen is not None
        return self._screen.bounds(len(self._entries), probes)

    def _screened(self, bounds: Vector, probe: Vector, threshold: float, top: int) -> list[tuple[str, float]]:
        """Return the best of all subjects, whose cosines are at most ``bounds``."""
        rows = np.flatnonzero(bounds >= threshold)
        if len(rows) > FEW:
            count = min(FIRST_COMPARED + top, len(rows) - 1)
            first = rows[np.argpartition(-bounds[rows], count)[:count]]
            best = self._best(first, self._scores(first, probe), threshold, top)
            if len(best) == top:
                rows = rows[bounds[rows] >= best[-1][1]]
        return self._best(rows, self._scores(rows, probe), threshold, top)

    def _scores(self, rows: NDArray[np.intp], probe: Vector) -> Vector:
        if self._vectors is not None:
            return self._vectors[rows] @ probe
        parts = (rows[start : start + ROWS_AT_ONCE] for start in range(0, len(rows), ROWS_AT_ONCE))
        return np.concatenate([np.zeros(0, np.float32), *(self._unpacked(part) @ probe for part in parts)])

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
        if self._screen is not None:
            return [*columns, *self._screen.columns()]
        return columns if self._vectors is None else [*columns, self._vectors]

    def _reserve(self, count: int) -> None:
        capacity = len(self._scales)
        if count <= capacity:
            return
        more = max(count, capacity + capacity // 2) - capacity
        self._codes = np.concatenate([self._codes, np.zeros((more, EMBEDDING_SIZE), np.int8)])
        self._scales = np.concatenate([self._scales, np.zeros(more, np.float32)])
        self._expires = np.concatenate([self._expires, np.full(more, np.inf)])
        if self._screen is not None:
            self._screen.reserve(more)
        if self._vectors is not None:
            self._vectors = np.concatenate([self._vectors, np.zeros((more, EMBEDDING_SIZE), np.float32)])


def _unit_scales(codes: Codes) -> Vector:
    """Return the scales (N,) that make ``codes`` (N, 512) unit vectors."""
    return np.asarray(1.0 / np.linalg.norm(codes.astype(np.float32), axis=1), np.float32)
