"""Light as 9 real spherical harmonics for each colour (27 numbers γ), in the camera's frame.

Order of the harmonics: 1 · y, z, x · xy, yz, 3z² − 1, xz, x² − y² (bands 0, 1, 2), each with its usual constant divided
by that of band 0, so that γ = 0 is even white light and γ₀ = 0.5 makes everything 1.5 times as bright.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

HARMONICS: Final = 9
CHANNELS: Final = 3

Array = NDArray[np.floating]

_BAND_1 = np.sqrt(3.0)
_BAND_2 = np.sqrt(15.0)
_BAND_2_ZONAL = np.sqrt(5.0) / 2.0


def harmonics(normals: Array) -> Array:
    """Return the harmonics (..., 9) at unit ``normals`` (..., 3)."""
    x, y, z = normals[..., 0], normals[..., 1], normals[..., 2]
    return np.stack(
        [
            np.ones_like(x),
            _BAND_1 * y,
            _BAND_1 * z,
            _BAND_1 * x,
            _BAND_2 * x * y,
            _BAND_2 * y * z,
            _BAND_2_ZONAL * (3.0 * z * z - 1.0),
            _BAND_2 * x * z,
            _BAND_2 / 2.0 * (x * x - y * y),
        ],
        axis=-1,
    )


def shading(normals: Array, illumination: Array) -> Array:
    """Return the light (N, V, 3) that falls on unit ``normals`` (N, V, 3) under γ (N, 27); at least 0."""
    weights = illumination.reshape(-1, CHANNELS, HARMONICS)
    return np.maximum(1.0 + np.einsum("nvh,nch->nvc", harmonics(normals), weights), 0.0)
