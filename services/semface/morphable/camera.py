"""Pose and projection: head coordinates in millimetres to fractions of the face square.

Head coordinates: x to the subject's left (to the right in the picture), y up, z out of the face. The camera is a
pinhole; a head without rotation and translation stands ``DISTANCE`` in front of it, frontal, at the square's centre.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

FOCAL_LENGTH: Final = 4.5
"""Focal length in sides of the face square."""
DISTANCE: Final = 1000.0
"""Distance from the camera to the origin of a head without translation, in millimetres."""

Array = NDArray[np.floating]


def rotation_matrix(rotation: Array) -> Array:
    """Return matrices (N, 3, 3) of ``rotation`` (N, 3) = θ = (pitch, yaw, roll) in radians.

    R = Rz(roll) · Ry(yaw) · Rx(pitch). Pitch > 0 looks down, yaw > 0 turns to the subject's left, roll > 0 tilts the
    head counter-clockwise in the picture.
    """
    (ca, cb, cc), (sa, sb, sc) = np.cos(rotation).T, np.sin(rotation).T
    rows = [
        [cb * cc, sa * sb * cc - ca * sc, ca * sb * cc + sa * sc],
        [cb * sc, sa * sb * sc + ca * cc, ca * sb * sc - sa * cc],
        [-sb, sa * cb, ca * cb],
    ]
    return np.moveaxis(np.array(rows), 2, 0)


def euler_angles(matrix: Array) -> Array:
    """Return θ (N, 3) in radians of rotation matrices (N, 3, 3); the inverse of ``rotation_matrix``."""
    yaw = -np.arcsin(np.clip(matrix[:, 2, 0], -1.0, 1.0))
    pitch = np.arctan2(matrix[:, 2, 1], matrix[:, 2, 2])
    roll = np.arctan2(matrix[:, 1, 0], matrix[:, 0, 0])
    return np.stack([pitch, yaw, roll], axis=1)


def to_camera(vertices: Array, rotation: Array, translation: Array) -> Array:
    """Return ``vertices`` (N, V, 3) in millimetres turned by θ (N, 3) and moved by l (N, 3) millimetres."""
    return vertices @ rotation_matrix(rotation).transpose(0, 2, 1).astype(vertices.dtype) + translation[:, None]


def project(vertices: Array, rotation: Array, translation: Array) -> tuple[Array, Array]:
    """Project ``vertices`` (N, V, 3) and return points (N, V, 2) and depths (N, V).

    Points are fractions of the face square, x to the right and y down; depths are millimetres from the camera.
    """
    camera = to_camera(vertices, rotation, translation)
    depth = DISTANCE - camera[..., 2]
    scaled = FOCAL_LENGTH * camera[..., :2] / depth[..., None]
    return scaled * np.array([1.0, -1.0], scaled.dtype) + np.array(0.5, scaled.dtype), depth
