"""Which face of a frame is which of the frames before."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

LEAST_OVERLAP: Final = 0.3
"""Intersection over union from which two boxes are taken for one face."""

LONGEST_ABSENCE: Final = 12
"""Frames that a face may be missing, half a second at 25 frames a second, and still come back as itself."""


@dataclass(slots=True)
class _Track:
    number: int
    box: NDArray[np.float32]
    last_seen: int


class Tracker:
    """Numbers the faces of a moving picture, from 1 on, by the overlap of their boxes; a number is never used again."""

    def __init__(self) -> None:
        """Start without any face."""
        self._tracks: list[_Track] = []
        self._frame = 0
        self._numbers = 0

    def assign(self, boxes: Sequence[NDArray[np.float32]]) -> list[int]:
        """Return the number of each of a frame's ``boxes`` (4,): that of the face it overlaps most, or a new one."""
        self._frame += 1
        self._tracks = [track for track in self._tracks if self._frame - track.last_seen <= LONGEST_ABSENCE + 1]
        pairs = [
            (overlap(track.box, box), place, index)
            for place, track in enumerate(self._tracks)
            for index, box in enumerate(boxes)
        ]
        taken: dict[int, _Track] = {}
        for share, place, index in sorted(pairs, reverse=True):
            track = self._tracks[place]
            if share >= LEAST_OVERLAP and index not in taken and track.last_seen != self._frame:
                taken[index] = track
                track.box, track.last_seen = boxes[index], self._frame
        for index in range(len(boxes)):
            if index not in taken:
                self._numbers += 1
                taken[index] = _Track(self._numbers, boxes[index], self._frame)
                self._tracks.append(taken[index])
        return [taken[index].number for index in range(len(boxes))]


def overlap(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    """Return the intersection over union (0 to 1) of two boxes (x0, y0, x1, y1)."""
    common = _area(np.concatenate([np.maximum(first[:2], second[:2]), np.minimum(first[2:], second[2:])]))
    whole = _area(first) + _area(second) - common
    return common / whole if whole > 0 else 0.0


def _area(box: NDArray[np.float32]) -> float:
    width, height = np.maximum(box[2:] - box[:2], 0.0)
    return float(width * height)
