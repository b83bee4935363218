"""A picture at several scales, laid on one canvas, so that one call of a network sees them all."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from PIL import Image

PYRAMID_FACTOR: Final = 0.709
"""From one scale to the next the picture's area halves."""

LEVEL_MARGIN: Final = 4
"""Pixels of grey around each scale: a third of the window, so that a face cut by the picture's edge is found."""

SURROUNDINGS: Final = (127, 127, 127)
"""What lies around the picture: the grey that the networks see as zero."""

Size = tuple[int, int]
"""Width and height in pixels."""


@dataclass(frozen=True, slots=True)
class Level:
    """One scale of the picture: its size, and where its frame, the picture with the margin, lies on the canvas.

    A face of ``face`` pixels in the picture fills the window.
    """

    face: float
    size: Size
    frame: Size
    left: int
    top: int


def lay_out(size: Size, window: int, smallest: float, largest: float) -> list[Level]:
    """Return the levels at which faces of ``smallest`` to ``largest`` pixels in a picture of ``size`` fill ``window``.

    From fine to coarse. No two frames share a pixel, and each begins at an even place, since the network pools by two.
    """
    faces, sizes, frames = [], [], []
    face = smallest
    while face <= largest:
        shrunk = max(round(size[0] * window / face), 1), max(round(size[1] * window / face), 1)
        faces.append(face)
        sizes.append(shrunk)
        frames.append((_framed(shrunk[0], window), _framed(shrunk[1], window)))
        face /= PYRAMID_FACTOR
    if not faces:
        return []
    corners = _columns(frames, frames[0][1])
    return [
        Level(face, shrunk, frame, left, top)
        for face, shrunk, frame, (left, top) in zip(faces, sizes, frames, corners, strict=True)
    ]


def draw(image: Image.Image, levels: Sequence[Level]) -> Image.Image:
    """Return the canvas with ``image`` at every one of ``levels``, grey elsewhere."""
    width = max(level.left + level.frame[0] for level in levels)
    height = max(level.top + level.frame[1] for level in levels)
    canvas = Image.new("RGB", (width, height), SURROUNDINGS)
    for level in levels:
        # From the level before: shrinking step by step is quicker than each time from the whole picture.
        image = image.resize(level.size, Image.Resampling.BILINEAR)
        canvas.paste(image, (level.left + LEVEL_MARGIN, level.top + LEVEL_MARGIN))
    return canvas


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
