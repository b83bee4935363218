"""Meshes of surfaces whose normals and curvatures are known in closed form."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def mesh(
    surface: Callable[[Floats, Floats], tuple[Floats, Floats, Floats]], side: int = 40
) -> tuple[Floats, NDArray[np.int32], NDArray[np.bool_], Floats, Floats]:
    """Return vertices, triangles, which vertices lie well inside, and the parameters u and v, -1 to 1, of each."""
    u, v = np.meshgrid(*(np.linspace(-1.0, 1.0, side),) * 2, indexing="ij")
    u, v = u.ravel(), v.ravel()
    number = np.arange(side * side).reshape(side, side)
    a, b, c, d = number[:-1, :-1].ravel(), number[1:, :-1].ravel(), number[1:, 1:].ravel(), number[:-1, 1:].ravel()
    triangles = np.concatenate([np.stack([a, b, c], axis=1), np.stack([a, c, d], axis=1)]).astype(np.int32)
    inside = np.zeros((side, side), bool)
    inside[3:-3, 3:-3] = True
    return np.stack(surface(u, v), axis=1), triangles, inside.ravel(), u, v


def plane(u: Floats, v: Floats) -> tuple[Floats, Floats, Floats]:
    """Of normal (1, 1, 3)."""
    return 60 * u, 60 * v, -20 * u - 20 * v


def sphere(u: Floats, v: Floats) -> tuple[Floats, Floats, Floats]:
    """Of radius 50 around the origin."""
    return 50 * np.sin(u) * np.cos(v), 50 * np.sin(v), 50 * np.cos(u) * np.cos(v)


def cylinder(u: Floats, v: Floats) -> tuple[Floats, Floats, Floats]:
    """Of radius 40 around the y axis."""
    return 40 * np.sin(u), 50 * v, 40 * np.cos(u)


def saddle(u: Floats, v: Floats) -> tuple[Floats, Floats, Floats]:
    """z = (x² − y²) / 100."""
    x, y = 50 * u, 50 * v
    return x, y, (x * x - y * y) / 100


def torus(u: Floats, v: Floats) -> tuple[Floats, Floats, Floats]:
    """Of radii 80 and 30 around the y axis, its outer half."""
    around = 80 + 30 * np.cos(v)
    return around * np.sin(u), 30 * np.sin(v), around * np.cos(u)
