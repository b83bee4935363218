"""A z-buffer rasteriser in numpy: small triangles of one size class are filled together."""

from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from semface.errors import Reason, SemfaceError

SMALLEST_CLASS: Final = 2
"""Triangles are grouped by the smallest square of this side, or of it doubled, that holds them, in pixels."""

CANDIDATES_AT_ONCE: Final = 1 << 18
"""Pixels of such squares that are looked at together, which bounds the memory."""

CANDIDATES_FOR_EACH_PIXEL: Final = 32
"""Squares that may cover a pixel of the picture in the mean, which bounds the time; a face needs some ten."""

Array = NDArray[np.floating]


class Fragments(NamedTuple):
    """What is seen at each pixel."""

    triangle: NDArray[np.int32]
    """(H, W) index of the nearest triangle, −1 where there is none."""
    weights: NDArray[np.float32]
    """(H, W, 3) barycentric weights within it."""


def rasterize(points: Array, depth: Array, triangles: NDArray[np.int32], height: int, width: int) -> Fragments:
    """Find the triangle nearest to the camera at each pixel's centre.

    ``points`` (V, 2) are pixels, x right and y down; ``depth`` (V,) grows away from the camera; triangles that show
    their back (clockwise in the picture after the y axis is turned) are left out. Raises FIELD_INVALID, before any is
    drawn, for so many large triangles as no face has.
    """
    corners = points[triangles]
    limit = np.array([width, height])
    # Only what lies in the picture is looked at, however large a triangle is.
    low = np.clip(np.ceil(corners.min(axis=1) - 0.5), 0, limit).astype(np.int64)
    high = np.clip(np.floor(corners.max(axis=1) - 0.5), -1, limit - 1).astype(np.int64)
    edge_a, edge_b = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    area = edge_a[:, 0] * edge_b[:, 1] - edge_a[:, 1] * edge_b[:, 0]
    drawn = np.flatnonzero((area < 0) & (high >= low).all(axis=1))
    extent = (high[drawn] - low[drawn]).max(axis=1) + 1

    triangle = np.full(height * width, -1, np.int32)
    weights = np.zeros((height * width, 3), np.float32)
    nearest = np.full(height * width, np.inf)
    for members, size in _batches(drawn, extent, height * width):
        pixel, which, weight, z = _fill(corners, area, depth[triangles], low, members, size, height, width)
        far_first = np.argsort(-z, kind="stable")
        seen = far_first[z[far_first] <= nearest[pixel[far_first]]]
        # Later assignments win, so the nearest fragment of each pixel stays.
        nearest[pixel[seen]] = z[seen]
        triangle[pixel[seen]] = which[seen]
        weights[pixel[seen]] = weight[seen]
    return Fragments(triangle.reshape(height, width), weights.reshape(height, width, 3))


def _batches(drawn: NDArray[np.intp], extent: NDArray[np.int64], pixels: int) -> Iterator[tuple[NDArray[np.intp], int]]:
    """Yield triangles of one size class with the side of its square, few enough to be filled together."""
    doublings = np.ceil(np.log2(np.maximum(extent, SMALLEST_CLASS) / SMALLEST_CLASS)).astype(np.int64)
    sides = SMALLEST_CLASS << doublings
    # Each triangle may cost its smallest square, whatever the size of the picture.
    if (sides**2).sum() > CANDIDATES_FOR_EACH_PIXEL * pixels + SMALLEST_CLASS**2 * len(drawn):
        raise SemfaceError(
            Reason.FIELD_INVALID, "the face is too near or too distorted to be drawn", field="descriptors"
        )
    for side in np.unique(sides).tolist():
        members = drawn[sides == side]
        together = max(1, CANDIDATES_AT_ONCE // side**2)
        for start in range(0, len(members), together):
            yield members[start : start + together], side


def _fill(
    corners: Array,
    area: Array,
    depth: Array,
    low: NDArray[np.int64],
    members: NDArray[np.int64],
    size: int,
    height: int,
    width: int,
) -> tuple[NDArray[np.int64], NDArray[np.int32], Array, Array]:
    """Return flat pixel, triangle, weights and depth of every fragment of the ``members``."""
    # Columns and rows apart: sums over a last axis of two or three would take most of the time.
    x = low[members, 0, None] + np.tile(np.arange(size), size)
    y = low[members, 1, None] + np.repeat(np.arange(size), size)
    start = corners[members, 0]
    edge_a, edge_b = (corners[members, 1] - start)[..., None], (corners[members, 2] - start)[..., None]
    right, down = x + 0.5 - start[:, 0, None], y + 0.5 - start[:, 1, None]
    whole = area[members, None]
    second = (right * edge_b[:, 1] - down * edge_b[:, 0]) / whole
    third = (edge_a[:, 0] * down - edge_a[:, 1] * right) / whole
    first = 1.0 - second - third
    hit = (first >= 0) & (second >= 0) & (third >= 0) & (x < width) & (y < height)
    row, _ = np.nonzero(hit)
    weights = np.stack([first[hit], second[hit], third[hit]], axis=1)
    which = members[row]
    flat = y[hit] * width + x[hit]
    return flat, which.astype(np.int32), weights, np.einsum("kc,kc->k", weights, depth[which])
