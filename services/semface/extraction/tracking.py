"""Which face of a frame is which of the frames before: by where it should be now, and by who it looks like."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from semface.descriptors import PORTION_SLICES, Descriptors, Portion

LEAST_OVERLAP: Final = 0.3
"""Intersection over union from which two boxes may be one face."""

LEAST_LIKENESS: Final = 0.2
"""Cosine of shape and texture from which a face that was away is taken for itself."""

LONGEST_ABSENCE: Final = 12
"""Frames that a face may be missing, half a second at 25 frames a second, and still come back as itself."""

NEWEST_SHARE: Final = 0.5
"""Weight of the newest frame in what is remembered of a face's motion and looks."""

Box = NDArray[np.float32]


@dataclass(slots=True)
class _Track:
    number: int
    box: Box
    looks: NDArray[np.float32]
    """Unit vector (160,) of shape and texture."""
    last_seen: int
    motion: NDArray[np.float32]
    """(4,): pixels by which each side of the box moves from frame to frame."""

    def score(self, box: Box, looks: NDArray[np.float32], frame: int) -> float:
        """Return how well a face of ``frame`` fits: overlap plus likeness; minus infinity where it cannot be it."""
        away = frame - self.last_seen
        # It may have gone on as before, or stopped.
        share = max(overlap(self.box + away * self.motion, box), overlap(self.box, box))
        likeness = float(self.looks @ looks)
        if share < LEAST_OVERLAP or (away > 1 and likeness < LEAST_LIKENESS):
            return -np.inf
        return share + likeness

    def follow(self, box: Box, looks: NDArray[np.float32], frame: int) -> None:
        """Remember where and how the face is in ``frame``."""
        self.motion += NEWEST_SHARE * ((box - self.box) / (frame - self.last_seen) - self.motion)
        self.looks = _unit(self.looks + NEWEST_SHARE * (looks - self.looks))
        self.box, self.last_seen = box, frame


class Tracker:
    """Numbers the faces of a moving picture, from 1 on; a number is never used again.

    A face takes the number of the one that it fits best, in the sum of two measures: how much its box overlaps that
    one's last box, or the box carried on by its motion (at least 0.3), and the cosine of their shape and texture. A
    face that was missing for up to 12 frames also has to look like itself (a cosine of at least 0.2).
    """

    def __init__(self) -> None:
        """Start without any face."""
        self._tracks: list[_Track] = []
        self._frame = 0
        self._numbers = 0

    def assign(self, boxes: Sequence[Box], descriptors: Sequence[Descriptors]) -> list[int]:
        """Return the number of each face of the next frame, from its box (4,) and descriptors (257,), in any order."""
        self._frame += 1
        self._tracks = [track for track in self._tracks if self._frame - track.last_seen <= LONGEST_ABSENCE + 1]
        looks = [_unit(row[PORTION_SLICES[Portion.IDENTITY]]) for row in descriptors]
        fits = sorted(
            (-track.score(box, looks[index], self._frame), place, index)
            for place, track in enumerate(self._tracks)
            for index, box in enumerate(boxes)
        )
        taken: dict[int, _Track] = {}
        for cost, place, index in fits:
            track = self._tracks[place]
            if np.isfinite(cost) and index not in taken and track.last_seen != self._frame:
                track.follow(boxes[index], looks[index], self._frame)
                taken[index] = track
        for index, box in enumerate(boxes):
            if index not in taken:
                self._numbers += 1
                taken[index] = _Track(self._numbers, box, looks[index], self._frame, np.zeros(4, np.float32))
                self._tracks.append(taken[index])
        return [taken[index].number for index in range(len(boxes))]


def overlap(first: Box, second: Box) -> float:
    """Return the intersection over union (0 to 1) of two boxes (x0, y0, x1, y1)."""
    common = _area(np.concatenate([np.maximum(first[:2], second[:2]), np.minimum(first[2:], second[2:])]))
    whole = _area(first) + _area(second) - common
    return common / whole if whole > 0 else 0.0


def _area(box: Box) -> float:
    width, height = np.maximum(box[2:] - box[:2], 0.0)
    return float(width * height)


def _unit(vector: NDArray[np.float32]) -> NDArray[np.float32]:
    return vector / max(float(np.linalg.norm(vector)), 1e-6)
