"""Noise that fits a network, to try whether it runs."""

from collections.abc import Iterable
from typing import Final

import numpy as np

from semface.inference.engine import Arrays, ModelMetadata

FREE_SIDE: Final = 48
"""Size tried for an axis that may have any size."""


def example_shape(shape: Iterable[int]) -> tuple[int, ...]:
    """Return ``shape`` with a size for each axis that may have any."""
    return tuple(FREE_SIDE if side == -1 else side for side in shape)


def example_inputs(model: ModelMetadata, rows: int, seed: int = 0) -> Arrays:
    """Return ``rows`` rows of noise that fit ``model``: bytes over their whole range, floats standard normal."""
    random = np.random.default_rng(seed)
    arrays = {}
    for tensor in model.inputs:
        shape = (rows, *example_shape(tensor.shape))
        if np.issubdtype(tensor.dtype, np.integer):
            arrays[tensor.name] = random.integers(0, 256, shape).astype(tensor.dtype)
        else:
            arrays[tensor.name] = random.normal(size=shape).astype(tensor.dtype)
    return arrays
