"""A picture at several scales, laid on one canvas, so that one call of a network sees them all."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import sqrt
from typing import Final

from PIL import Image

PYRAMID_FACTOR: Final = sqrt(0.5)
"""From one scale to the next the picture's area halves, so from the one before that each side does."""

LEVEL_MARGIN: Final = 4
"""Pixels of grey around each scale: a third of the window, so that a face cut by the picture's edge is found."""

SURROUNDINGS: Final = (127, 127, 127)
"""What lies around the picture: the grey that the networks see as zero."""

SHRINKING: Final = Image.Resampling.BOX
"""By less than two: a third quicker than the next better filter, and no face is lost by it."""

Size = tuple[int, int]
"""Width and height in pixels."""


class Halved:
    """A picture, and the same halved once, twice and so on, each drawn when it is first asked for.

    Halving is the quickest way to shrink; whatever is wanted much smaller is made from one of these.
    """

    def __init__(self, image: Image.Image) -> None:
        """Begin with ``image`` alone."""
        self.size: Size = image.size
        self._images = [image]

    def times(self, count: int) -> Image.Image:
        """Return the picture halved ``count`` times. Where a side is odd, its last pixels stand for half of one."""
        while len(self._images) <= count:
            self._images.append(self._images[-1].reduce(2))
        return self._images[count]

    def within(self, shrinking: float) -> int:
        """Return how often the picture may be halved where it is to be shrunk by ``shrinking`` in all."""
        return max(int(shrinking).bit_length() - 1, 0)


@dataclass(frozen=True, slots=True)
class Level:
    """One scale of the picture: its size, and where its frame, the picture with the margin, lies on the canvas.

    A face of ``face`` pixels in the picture fills the window. ``scale`` is across and down, over the picture's own.
    """

    face: float
    scale: tuple[float, float]
    size: Size
    frame: Size
    left: int
    top: int


# Most pictures are of few sizes.
@lru_cache(maxsize=16)
def lay_out(size: Size, window: int, smallest: float, largest: float) -> tuple[Level, ...]:
    """Return the levels at which faces of ``smallest`` to ``largest`` pixels in a picture of ``size`` fill ``window``.

    From fine to coarse. No two frames share a pixel, and each begins at an even place, since the network pools by two.
    """
    faces: list[float] = []
    scales: list[tuple[float, float]] = []
    sizes: list[Size] = []
    face = smallest
    while face <= largest:
        if len(faces) < 2:
            shrunk = max(round(size[0] * window / face), 1), max(round(size[1] * window / face), 1)
            scale = shrunk[0] / size[0], shrunk[1] / size[1]
        else:
            shrunk = (sizes[-2][0] + 1) // 2, (sizes[-2][1] + 1) // 2
            scale = scales[-2][0] / 2, scales[-2][1] / 2
        faces.append(face)
        scales.append(scale)
        sizes.append(shrunk)
        face /= PYRAMID_FACTOR
    if not faces:
        return ()
    frames = [(_framed(width, window), _framed(height, window)) for width, height in sizes]
    corners = _columns(frames, frames[0][1])
    return tuple(
        Level(face, scale, shrunk, frame, left, top)
        for face, scale, shrunk, frame, (left, top) in zip(faces, scales, sizes, frames, corners, strict=True)
    )


def canvas_size(levels: Sequence[Level]) -> Size:
    """Return the size of the canvas on which ``levels`` lie."""
    width = max(level.left + level.frame[0] for level in levels)
    return width, max(level.top + level.frame[1] for level in levels)


def draw(picture: Halved, levels: Sequence[Level]) -> Image.Image:
    """Return the canvas with ``picture`` at every one of ``levels``, grey elsewhere."""
    canvas = Image.new("RGB", canvas_size(levels), SURROUNDINGS)
    drawn: list[Image.Image] = []
    for level in levels:
        drawn.append(drawn[-2].reduce(2) if len(drawn) > 1 else _shrunk(picture, level, drawn))
        canvas.paste(drawn[-1], (level.left + LEVEL_MARGIN, level.top + LEVEL_MARGIN))
    return canvas


def _shrunk(picture: Halved, level: Level, drawn: Sequence[Image.Image]) -> Image.Image:
    """Return the picture at one of the two finest levels, the second from the first."""
    if drawn:
        return drawn[0].resize(level.size, SHRINKING)
    times = picture.within(1 / max(level.scale))
    box = 0, 0, picture.size[0] / 2**times, picture.size[1] / 2**times
    enlarged = max(level.scale) > 1
    return picture.times(times).resize(level.size, Image.Resampling.BILINEAR if enlarged else SHRINKING, box)


def _framed(side: int, window: int) -> int:
    framed = max(side + 2 * LEVEL_MARGIN, window)
    return framed + framed % 2


def _columns(frames: Sequence[Size], height: int) -> list[tuple[int, int]]:
    """Return left and top of each frame, put into the first column of ``height`` that has room under it."""
    columns: list[tuple[int, int, int]] = []  # left, width, height used
    corners = []
    for width, height_needed in frames:
        fitting = (
            number
            for number, (_, column_width, used) in enumerate(columns)
            if width <= column_width and used + height_needed <= height
        )
        number = next(fitting, len(columns))
        if number == len(columns):
            columns.append((sum(column_width for _, column_width, _ in columns), width, 0))
        left, column_width, used = columns[number]
        corners.append((left, used))
        columns[number] = (left, column_width, used + height_needed)
    return corners
