"""Faces drawn from the world of the tiny networks."""

import numpy as np
from numpy.typing import NDArray

from semface.descriptors import DESCRIPTOR_SIZE, GROUPS
from tests.tiny_models import SPREADS


def spread() -> NDArray[np.float32]:
    """The deviation of each of the 257 numbers."""
    values = np.empty(DESCRIPTOR_SIZE, np.float32)
    for name, where in GROUPS.items():
        values[where] = SPREADS[name]
    return values


def faces(count: int, seed: int = 0) -> NDArray[np.float32]:
    """Return ``count`` faces (N, 257)."""
    return np.random.default_rng(seed).normal(size=(count, DESCRIPTOR_SIZE)).astype(np.float32) * spread()
