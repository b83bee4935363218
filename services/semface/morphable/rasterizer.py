"""A z-buffer rasteriser in numpy: small triangles of one size class are filled together."""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

SIZE_CLASSES: Final = (2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048)
"""Triangles are grouped by the side of the smallest of these squares that holds their bounding box, in pixels."""

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
    their back (clockwise in the picture after the y axis is turned) are left out.
    """
    corners = points[triangles]
    low = np.ceil(corners.min(axis=1) - 0.5).astype(np.int64)
    high = np.floor(corners.max(axis=1) - 0.5).astype(np.int64)
    edge_a, edge_b = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    area = edge_a[:, 0] * edge_b[:, 1] - edge_a[:, 1] * edge_b[:, 0]
    inside = (high >= 0).all(axis=1) & (low < [width, height]).all(axis=1)
    drawn = np.flatnonzero((area < 0) & (high >= low).all(axis=1) & inside)
    extent = (high - low).max(axis=1) + 1

    pieces, smaller = [], 0
    for size in SIZE_CLASSES:
        members = drawn[(extent[drawn] > smaller) & (extent[drawn] <= size)]
        smaller = size
        if members.size:
            pieces.append(_fill(corners, area, depth[triangles], low, members, size, height, width))
    triangle = np.full(height * width, -1, np.int32)
    weights = np.zeros((height * width, 3), np.float32)
    if pieces:
        pixel, which, weight, z = (np.concatenate(parts) for parts in zip(*pieces, strict=True))
        far_first = np.argsort(-z, kind="stable")
        pixel = pixel[far_first]
        # Later assignments win, so the nearest fragment of each pixel stays.
        triangle[pixel] = which[far_first]
        weights[pixel] = weight[far_first]
    return Fragments(triangle.reshape(height, width), weights.reshape(height, width, 3))


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
    steps = np.stack(np.meshgrid(np.arange(size), np.arange(size)), axis=-1).reshape(-1, 2)
    pixels = low[members, None] + steps
    offset = pixels + 0.5 - corners[members, None, 0]
    edge_a = (corners[members, 1] - corners[members, 0])[:, None]
    edge_b = (corners[members, 2] - corners[members, 0])[:, None]
    whole = area[members, None]
    second = (offset[..., 0] * edge_b[..., 1] - offset[..., 1] * edge_b[..., 0]) / whole
    third = (edge_a[..., 0] * offset[..., 1] - edge_a[..., 1] * offset[..., 0]) / whole
    first = 1.0 - second - third
    hit = (first >= 0) & (second >= 0) & (third >= 0)
    hit &= (pixels >= 0).all(axis=-1) & (pixels < [width, height]).all(axis=-1)
    row, _ = np.nonzero(hit)
    weights = np.stack([first[hit], second[hit], third[hit]], axis=1)
    which = members[row]
    flat = pixels[hit]
    return flat[:, 1] * width + flat[:, 0], which.astype(np.int32), weights, (weights * depth[which]).sum(axis=1)
