"""Arithmetic of geometry: errors of points, and correspondence between two meshes."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

OUTER_EYES_68: Final = (36, 45)
"""Outer corners of the eyes among the 68 landmarks."""
OUTER_EYES_468: Final = (33, 263)
"""Outer corners of the eyes among the 468 landmarks."""

NEAR_TRIANGLES: Final = 16
"""Triangles, by the distance of their middle, in which the surface's nearest point is sought."""

Array = NDArray[np.floating]


def carry(points: Array, source: Array, target: Array) -> Array:
    """Return ``points`` (P, 3) carried along with ``source`` (K, 3), which go to ``target`` (K, 3) exactly.

    Of all smooth maps it is the one that bends least: the thin-plate spline of three dimensions, which is an affine map
    and a sum of distances (Bookstein, 1989).
    """
    count = len(source)
    system = np.zeros((count + 4, count + 4))
    system[:count, :count] = np.linalg.norm(source[:, None] - source, axis=2)
    system[:count, count:] = np.column_stack([np.ones(count), source])
    system[count:, :count] = system[:count, count:].T
    bend, affine = np.split(np.linalg.solve(system, np.concatenate([target - source, np.zeros((4, 3))])), [count])
    distances = np.linalg.norm(points[:, None] - source, axis=2)
    return points + distances @ bend + np.column_stack([np.ones(len(points)), points]) @ affine


def mean_distance(points: Array, truth: Array) -> float:
    """Return the mean Euclidean distance between ``points`` (K, D) and ``truth`` (K, D)."""
    return float(np.linalg.norm(points - truth, axis=1).mean())


def normalised_mean_error(points: Array, truth: Array, outer_eyes: tuple[int, int]) -> float:
    """Return the mean distance of ``points`` (K, 2) from ``truth`` (K, 2) over that of its ``outer_eyes`` corners."""
    first, second = outer_eyes
    return mean_distance(points, truth) / float(np.linalg.norm(truth[first] - truth[second]))


def identity_ratio(shape: Array) -> float | None:
    """Return how much α moves with the expression, over how much it differs between people; None for one person.

    ``shape`` (P, E, 80) is α of P people in E expressions. The mean Euclidean distance between two pictures of one
    person, over that between two pictures of two people; all pairs count, whatever their expressions.
    """
    people, expressions, size = shape.shape
    if people < 2 or expressions < 2:
        return None
    flat = shape.reshape(-1, size).astype(np.float64)
    # One row at a time: all differences together would take hundreds of megabytes.
    distances = np.stack([np.linalg.norm(flat - row, axis=1) for row in flat])
    person = np.repeat(np.arange(people), expressions)
    same = person[:, None] == person
    between = float(distances[~same].mean())
    return float(distances[same & ~np.eye(len(flat), dtype=bool)].mean()) / between if between else None


def nearest_on_surface(
    points: Array, vertices: Array, triangles: NDArray[np.int32]
) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """Return the corners (K, 3) and barycentric weights (K, 3) of the surface's place next to each point (K, 3).

    The surface is a mesh of ``vertices`` (V, 3) and ``triangles`` (T, 3). Weights outside a triangle are clipped, which
    is exact inside and off by less than a triangle's size at its edges.
    """
    middles = vertices[triangles].mean(axis=1)
    corners = np.empty((len(points), 3), np.int32)
    weights = np.empty((len(points), 3))
    for row, point in enumerate(points):
        near = np.argpartition(np.square(middles - point).sum(axis=1), NEAR_TRIANGLES)[:NEAR_TRIANGLES]
        candidates = vertices[triangles[near]]
        places = _weights_within(candidates, point)
        distances = np.square((places[:, None] @ candidates)[:, 0] - point).sum(axis=1)
        best = int(distances.argmin())
        corners[row], weights[row] = triangles[near[best]], places[best]
    return corners, weights


def _weights_within(candidates: Array, point: Array) -> Array:
    """Return barycentric weights (K, 3), none negative, of ``point`` (3,) dropped onto triangles (K, 3, 3)."""
    first, second = candidates[:, 1] - candidates[:, 0], candidates[:, 2] - candidates[:, 0]
    offset = point - candidates[:, 0]
    aa, ab, bb = (first * first).sum(1), (first * second).sum(1), (second * second).sum(1)
    ao, bo = (first * offset).sum(1), (second * offset).sum(1)
    determinant = np.maximum(aa * bb - ab * ab, 1e-12)
    v, w = (bb * ao - ab * bo) / determinant, (aa * bo - ab * ao) / determinant
    weights = np.maximum(np.stack([1.0 - v - w, v, w], axis=1), 0.0)
    return weights / weights.sum(axis=1, keepdims=True)
