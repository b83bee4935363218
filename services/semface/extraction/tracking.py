"""Which face of a frame is which of the frames before: by where it should be now, and by who it looks like."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from semface.descriptors import PORTION_SLICES, Descriptors, Portion

REACH: Final = 0.7
"""How far, in sizes of its box, a face may be from where it should be."""

REACH_PER_FRAME: Final = 0.2
"""By how much that grows with each frame, in sizes of the box: a face that is not seen may do what it likes."""

LIKE_SIZE: Final = 2.0
"""Factor by which the box of a face may grow or shrink between two sights of it."""

LEAST_LIKENESS: Final = 0.2
"""Cosine of shape and texture from which a face that was away is taken for itself."""

LONGEST_ABSENCE: Final = 12
"""Frames that a face may be missing, half a second at 25 frames a second, and still come back as itself."""

NEWEST_SHARE: Final = 0.5
"""Weight of the newest frame in what is remembered of a face's motion and looks."""

Box = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class _Sight:
    """One face of one frame."""

    frame: int
    centre: NDArray[np.float64]
    """(2,) of its box, in pixels."""
    size: float
    """Longer side of its box, in pixels."""
    looks: NDArray[np.float32]
    """Unit vector (160,) of shape and texture."""

    @classmethod
    def of(cls, frame: int, box: Box, descriptors: Descriptors) -> Self:
        corners = box.astype(np.float64).reshape(2, 2)
        looks = _unit(descriptors[PORTION_SLICES[Portion.IDENTITY]])
        return cls(frame, corners.mean(axis=0), max(float(np.ptp(corners, axis=0).max()), 1.0), looks)


@dataclass(slots=True)
class _Track:
    number: int
    last: _Sight
    motion: NDArray[np.float64] = field(default_factory=lambda: np.zeros(2))
    """(2,) pixels by which the centre moves from frame to frame."""

    def score(self, sight: _Sight) -> float:
        """Return how well ``sight`` fits: nearness (0 to 1) plus likeness; minus infinity where it cannot be it."""
        away = sight.frame - self.last.frame
        near = 1.0 - self._distance(sight, away) / ((REACH + REACH_PER_FRAME * away) * self.last.size)
        likeness = float(self.last.looks @ sight.looks)
        grown = max(sight.size / self.last.size, self.last.size / sight.size)
        if near <= 0 or grown > LIKE_SIZE or (away > 1 and likeness < LEAST_LIKENESS):
            return -np.inf
        return near + likeness

    def _distance(self, sight: _Sight, away: int) -> float:
        """Return the pixels from ``sight`` to the way that the face has gone, if it went on for long or stopped."""
        way, offset = away * self.motion, sight.centre - self.last.centre
        length = float(way @ way)
        gone = float(np.clip(offset @ way / length, 0.0, 1.0)) if length > 0 else 0.0
        return float(np.linalg.norm(offset - gone * way))

    def follow(self, sight: _Sight) -> None:
        """Remember where and how the face is now."""
        moved = (sight.centre - self.last.centre) / (sight.frame - self.last.frame)
        self.motion += NEWEST_SHARE * (moved - self.motion)
        looks = _unit(self.last.looks + NEWEST_SHARE * (sight.looks - self.last.looks))
        self.last = replace(sight, looks=looks)


class Tracker:
    """Numbers the faces of a moving picture, from 1 on; a number is never used again.

    A face takes the number of the one that it fits best, in the sum of two measures: how near its box is to the way
    that the other's last motion leads, and the cosine of their shape and texture. Near is less than 0.7 sizes of the
    box, and 0.2 more for each frame; a face that was missing, for up to 12 frames, also has to look like itself (a
    cosine of at least 0.2).
    """

    def __init__(self) -> None:
        """Start without any face."""
        self._tracks: list[_Track] = []
        self._frame = 0
        self._numbers = 0

    def assign(self, boxes: Sequence[Box], descriptors: Sequence[Descriptors]) -> list[int]:
        """Return the number of each face of the next frame, from its box (4,) and descriptors (257,), in any order."""
        self._frame += 1
        self._tracks = [track for track in self._tracks if self._frame - track.last.frame <= LONGEST_ABSENCE + 1]
        sights = [_Sight.of(self._frame, box, row) for box, row in zip(boxes, descriptors, strict=True)]
        fits = sorted(
            (-track.score(sight), place, index)
            for place, track in enumerate(self._tracks)
            for index, sight in enumerate(sights)
        )
        taken: dict[int, _Track] = {}
        for cost, place, index in fits:
            track = self._tracks[place]
            if np.isfinite(cost) and index not in taken and track.last.frame != self._frame:
                track.follow(sights[index])
                taken[index] = track
        for index, sight in enumerate(sights):
            if index not in taken:
                self._numbers += 1
                taken[index] = _Track(self._numbers, sight)
                self._tracks.append(taken[index])
        return [taken[index].number for index in range(len(sights))]


def _unit(vector: NDArray[np.float32]) -> NDArray[np.float32]:
    return vector / max(float(np.linalg.norm(vector)), 1e-6)
