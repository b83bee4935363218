"""Registered photographs: the colours that photographs show at the head's vertices, and their light."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from semface.morphable.camera import project, rotation_matrix
from semface.morphable.illumination import harmonics
from training.faces import CROP_MARGIN

FACING: Final = 0.25
"""A vertex is taken as seen when its normal's part towards the camera is at least this."""
LIGHT_PRIOR: Final = 4.0
"""Weight of the prior γ ~ N(0, 1) against the colours of all vertices."""

Array = NDArray[np.floating]


def sample(crops: NDArray[np.uint8], points: Array) -> Array:
    """Return the bilinear colours (N, V, 3) of cached ``crops`` (N, S, S, 3) at ``points`` (N, V, 2) of the square."""
    size = crops.shape[1]
    pixels = np.clip((points + (CROP_MARGIN - 1.0) / 2.0) * size / CROP_MARGIN - 0.5, 0.0, size - 1.001)
    low = pixels.astype(int)
    part = (pixels - low)[..., None]
    face = np.arange(len(crops))[:, None]
    x, y, dx, dy = low[..., 0], low[..., 1], part[..., 0, :], part[..., 1, :]
    top = crops[face, y, x] * (1.0 - dx) + crops[face, y, x + 1] * dx
    bottom = crops[face, y + 1, x] * (1.0 - dx) + crops[face, y + 1, x + 1] * dx
    return top * (1.0 - dy) + bottom * dy


def seen_vertices(normals: Array, vertices: Array, rotation: Array, translation: Array) -> tuple[Array, Array, Array]:
    """Return points (N, V, 2), normals in the camera's frame (N, V, 3) and whether each vertex is seen (N, V)."""
    points, _ = project(vertices, rotation, translation)
    turned = normals @ rotation_matrix(rotation).transpose(0, 2, 1)
    inside = (np.abs(points - 0.5) < CROP_MARGIN / 2.0 - 0.01).all(axis=-1)
    return points, turned, (turned[..., 2] > FACING) & inside


def estimate_light(colours: Array, albedo: Array, normals: Array, weights: Array) -> Array:
    """Return γ (N, 27), the ridge solution of colours = albedo × (1 + Y·γ) under ``weights`` (N, V)."""
    basis = harmonics(normals)
    answer = []
    for channel in range(3):
        design = basis * albedo[..., channel, None] / 255.0
        wanted = (colours[..., channel] - albedo[..., channel]) / 255.0
        weighted = (design * weights[..., None]).transpose(0, 2, 1)
        normal = weighted @ design + LIGHT_PRIOR * np.eye(basis.shape[-1])
        answer.append(np.linalg.solve(normal, weighted @ wanted[..., None])[..., 0])
    return np.concatenate(answer, axis=1)
