"""A first pass over a few numbers of each template, which leaves out only who cannot be among the best.

A unit vector is its part ``a`` in some directions and a rest of length ``r = √(1 − |a|²)``. The cosine of a template
and a probe is ``a·b`` and the product of their rests, which is at most ``r·s`` (Cauchy and Schwarz). So ``a·b + r·s``
is the most that the cosine can be. In the directions in which the enrolled differ most, of 512 some 100, the rests are
short and few templates have to be compared whole. Whatever the directions, nobody is missed.
"""

from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

FITTED_ROWS: Final = 20_000
"""Templates of which the directions are found."""
ENERGY: Final = 0.92
"""Share of the templates' squared length that lies in the directions."""
FEWEST_DIRECTIONS: Final = 32
MOST_DIRECTIONS: Final = 256
SLACK: Final = 1e-4
"""More than rounding can take from a bound."""

Array = NDArray[np.float32]


class Screen:
    """The parts of many templates in a few directions, and the lengths of their rests."""

    def __init__(self, directions: Array, capacity: int) -> None:
        """Have room for ``capacity`` templates; ``directions`` (512, K) are orthonormal."""
        self._directions = directions
        self._parts: Array = np.zeros((capacity, directions.shape[1]), np.float32)
        self._rests: Array = np.zeros(capacity, np.float32)

    @classmethod
    def fitted(cls, vectors: Array, capacity: int) -> Self:
        """Return an empty screen with the directions in which the unit ``vectors`` (N, 512) are longest."""
        energies, directions = np.linalg.eigh(vectors.T @ vectors / np.float32(len(vectors)))
        shares = np.cumsum(energies[::-1]) / energies.sum()
        count = int(np.clip(np.searchsorted(shares, ENERGY) + 1, FEWEST_DIRECTIONS, MOST_DIRECTIONS))
        return cls(np.ascontiguousarray(directions[:, ::-1][:, :count], np.float32), capacity)

    def put(self, first: int, vectors: Array) -> None:
        """Let the unit ``vectors`` (N, 512) be the templates from row ``first`` on."""
        end = first + len(vectors)
        self._parts[first:end], self._rests[first:end] = self._split(vectors)

    def bounds(self, count: int, probes: Array) -> Array:
        """Return the most (P, ``count``) that the cosines of unit ``probes`` (P, 512) with the first rows can be."""
        parts, rests = self._split(probes)
        bounds: Array = parts @ self._parts[:count].T
        bounds += rests[:, None] * self._rests[:count] + np.float32(SLACK)
        return bounds

    def columns(self) -> list[Any]:
        """Return what holds a value for each row."""
        return [self._parts, self._rests]

    def reserve(self, more: int) -> None:
        """Make room for ``more`` templates."""
        self._parts = np.concatenate([self._parts, np.zeros((more, self._parts.shape[1]), np.float32)])
        self._rests = np.concatenate([self._rests, np.zeros(more, np.float32)])

    def _split(self, vectors: Array) -> tuple[Array, Array]:
        parts: Array = vectors @ self._directions
        rests = np.maximum(1 - np.square(parts).sum(axis=1), 0)
        # A root makes much of a small error: the rest is rather taken for too long.
        return parts, np.sqrt(rests + np.float32(1e-6)).astype(np.float32)
