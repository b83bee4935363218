"""The order in which the faces of a picture are told: as a page is read."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

ROW_REACH: Final = 0.5
"""Heights of the smaller face by which the centres of two faces in one row may differ."""


def reading_order(boxes: Sequence[NDArray[np.float32]]) -> list[int]:
    """Return the indices of ``boxes`` (x0, y0, x1, y1) in rows from top to bottom, in each row from left to right.

    The highest face left, by its centre, begins a row; to it belong all whose centres lie less than half the height of
    the smaller of the two below it. So faces at nearly the same height stand from left to right, however the detector
    wavers. The order does not depend on the one given.
    """
    centres = [((box[0] + box[2]) / 2, (box[1] + box[3]) / 2) for box in boxes]
    heights = [box[3] - box[1] for box in boxes]
    left = sorted(range(len(boxes)), key=lambda i: (centres[i][1], centres[i][0], *boxes[i].tolist()))
    order: list[int] = []
    while left:
        first = left[0]
        row = [
            i
            for i in left
            if i == first or centres[i][1] - centres[first][1] < ROW_REACH * min(heights[i], heights[first])
        ]
        order += sorted(row, key=lambda i: (centres[i], *boxes[i].tolist()))
        left = [i for i in left if i not in row]
    return order
