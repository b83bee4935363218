"""Principal directions of faces, each symmetric or antisymmetric."""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]


def principal(
    offsets: Array, mirror: NDArray[np.int32], flip: Array, count: int, where: NDArray[np.intp] | None = None
) -> Array:
    """Return ``count`` directions (count, V, 3), each the size of one standard deviation, by falling size.

    ``offsets`` (N, V, 3) are centred. Each direction is symmetric or antisymmetric: the mirror image of a face has the
    values of the mirror vertices times ``flip`` (3,). Size counts at the vertices ``where``, everywhere by default.
    """
    turned = offsets[:, mirror] * flip
    modes = []
    for part in ((offsets + turned) / 2.0, (offsets - turned) / 2.0):
        seen = part if where is None else part[:, where]
        flat, whole = (values.reshape(len(part), -1).astype(np.float32) for values in (seen, part))
        energy, vectors = np.linalg.eigh((flat @ flat.T).astype(float))
        sizes = np.sqrt(np.maximum(energy[::-1][:count], 1e-9))
        shares = vectors[:, ::-1][:, :count]
        modes += list(zip(sizes, shares.T @ whole, strict=True))
    modes.sort(key=lambda mode: -mode[0])
    return np.array([mode for _, mode in modes[:count]]).reshape(count, *offsets.shape[1:]) / np.sqrt(len(offsets))
