"""Faces drawn from our morphable model, whose pose is known."""

import numpy as np

from semface.descriptors import DESCRIPTOR_SIZE, GROUPS, Descriptors
from semface.morphable import render
from tests.extraction.conftest import Pixels

SQUARE = 160
MARGIN = 40
BACKGROUND = (110, 125, 140)


def posed_face(pitch: float = 0.0, yaw: float = 0.0, roll: float = 0.0, person: int = 0) -> Descriptors:
    """Return the numbers (257,) of a person turned by these degrees; each ``person`` has a head and skin of its own."""
    values = np.zeros(DESCRIPTOR_SIZE, np.float32)
    random = np.random.default_rng(person)
    for group in ("shape", "texture"):
        where = GROUPS[group]
        values[where] = 0.7 * random.standard_normal(where.stop - where.start)
    values[GROUPS["rotation"]] = np.radians([pitch, yaw, roll])
    return values


def drawn_face(pitch: float = 0.0, yaw: float = 0.0, roll: float = 0.0, person: int = 0) -> Pixels:
    """Return the picture of ``posed_face`` before a plain background, RGB uint8 (240, 240, 3)."""
    picture = np.empty((SQUARE + 2 * MARGIN, SQUARE + 2 * MARGIN, 3), np.uint8)
    picture[:] = BACKGROUND
    inner = slice(MARGIN, MARGIN + SQUARE)
    picture[inner, inner] = render(posed_face(pitch, yaw, roll, person), SQUARE, BACKGROUND)
    return picture
