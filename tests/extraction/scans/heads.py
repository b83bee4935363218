"""Scans made of the morphable model's head: real geometry that every checkout has."""

from functools import cache

import numpy as np

from semface.descriptors import GROUP_SIZES
from semface.extraction.scans.mesh import Scan
from semface.morphable.camera import rotation_matrix
from semface.morphable.model import MorphableModel


@cache
def head(smile: float = 0.0) -> Scan:
    """The mean head in millimetres with its mean skin; ``smile`` moves it along its first mode of expression."""
    model = MorphableModel.shipped()
    expression = np.zeros((1, GROUP_SIZES["expression"]), np.float32)
    expression[0, 0] = smile
    vertices = model.vertices(np.zeros((1, GROUP_SIZES["shape"]), np.float32), expression)[0]
    return Scan(vertices.astype(np.float32), model.triangles, model.mean_albedo)


def turned(scan: Scan, pitch: float = 0.0, yaw: float = 0.0, roll: float = 0.0) -> Scan:
    """``scan`` turned by angles in degrees."""
    turn = rotation_matrix(np.radians([[pitch, yaw, roll]]))[0].astype(np.float32)
    return Scan(scan.vertices @ turn.T, scan.triangles, scan.colours)


def ball(side: int = 60) -> Scan:
    """A sphere that shows no face."""
    u, v = np.meshgrid(np.linspace(0, 2 * np.pi, side), np.linspace(0.01, np.pi - 0.01, side), indexing="ij")
    places = np.stack([np.sin(v) * np.sin(u), np.cos(v), np.sin(v) * np.cos(u)], axis=-1).reshape(-1, 3)
    number = np.arange(side * side).reshape(side, side)
    a, b, c, d = number[:-1, :-1].ravel(), number[1:, :-1].ravel(), number[1:, 1:].ravel(), number[:-1, 1:].ravel()
    triangles = np.concatenate([np.stack([a, c, b], axis=1), np.stack([a, d, c], axis=1)]).astype(np.int32)
    return Scan(100 * places.astype(np.float32), triangles)
