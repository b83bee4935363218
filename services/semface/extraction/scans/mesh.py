"""A scan as a mesh, and what is done to any mesh: cut out a part, join what lies together, turn it right side out."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from semface.errors import Reason, SemfaceError

MAXIMUM_VERTICES: Final = 2_000_000
MAXIMUM_TRIANGLES: Final = 4_000_000
MINIMUM_TRIANGLES: Final = 200
"""A face of fewer triangles says nothing of its expression."""

Array = NDArray[np.floating]
Triangles = NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Scan:
    """A mesh of V vertices and T triangles.

    ``vertices`` (V, 3) are in any unit and any axes; ``triangles`` (T, 3) are vertex indices; ``colours`` (V, 3) are
    sRGB from 0 to 255, or None for a scan without texture.
    """

    vertices: NDArray[np.float32]
    triangles: Triangles
    colours: NDArray[np.float32] | None = None


def check_scan(scan: Scan) -> None:
    """Raise the error that says why ``scan`` cannot be a face.

    SCAN_TOO_LARGE beyond ``MAXIMUM_VERTICES`` or ``MAXIMUM_TRIANGLES``, LOW_QUALITY below ``MINIMUM_TRIANGLES``,
    NOT_FINITE for a vertex that is NaN or infinite, SCAN_UNDECODABLE for triangles of vertices that are not there.
    """
    vertices, triangles = len(scan.vertices), len(scan.triangles)
    if vertices > MAXIMUM_VERTICES or triangles > MAXIMUM_TRIANGLES:
        raise SemfaceError(
            Reason.SCAN_TOO_LARGE,
            f"the scan has {vertices:,} vertices and {triangles:,} triangles; at most {MAXIMUM_VERTICES:,} and "
            f"{MAXIMUM_TRIANGLES:,} are taken, so simplify it first",
            field="scan",
        )
    if triangles < MINIMUM_TRIANGLES:
        raise SemfaceError(
            Reason.LOW_QUALITY,
            f"the scan has {triangles} triangle{'s' * (triangles != 1)}; a face needs {MINIMUM_TRIANGLES} at least",
            field="scan",
        )
    lost = vertices - int(np.isfinite(scan.vertices).all(axis=1).sum())
    if lost:
        raise SemfaceError(
            Reason.NOT_FINITE,
            f"{lost:,} of the scan's {vertices:,} vertices are NaN or infinite; remove them with their triangles",
            field="scan",
        )
    if scan.triangles.min() < 0 or scan.triangles.max() >= vertices:
        raise SemfaceError(
            Reason.SCAN_UNDECODABLE, "the scan's triangles name vertices that are not there", field="scan"
        )


def part(scan: Scan, kept: NDArray[np.bool_]) -> Scan:
    """Return the vertices that are ``kept`` (V,) and the triangles between them."""
    number = np.cumsum(kept, dtype=np.int32) - 1
    triangles = scan.triangles[kept[scan.triangles].all(axis=1)]
    colours = None if scan.colours is None else scan.colours[kept]
    return Scan(scan.vertices[kept], number[triangles], colours)


def joined(scan: Scan, cell: float = 0.0) -> Scan:
    """Return ``scan`` with the vertices of each cube of side ``cell`` joined in their middle.

    With 0 only vertices of exactly the same place are joined, as along the seams of a texture. Triangles that lose a
    corner are left out. Source: Rossignac and Borrel, 1993 (vertex clustering).
    """
    if not len(scan.vertices):
        return scan
    cluster, count = _clusters(scan.vertices, cell)
    if count == len(scan.vertices):
        return scan
    members = np.bincount(cluster, minlength=count)

    def middle(values: Array) -> NDArray[np.float32]:
        sums = [np.bincount(cluster, values[:, axis], count) for axis in range(values.shape[1])]
        return (np.stack(sums, axis=1) / members[:, None]).astype(np.float32)

    triangles = cluster[scan.triangles]
    a, b, c = triangles.T
    triangles = triangles[(a != b) & (b != c) & (c != a)].astype(np.int32)
    return Scan(middle(scan.vertices), triangles, None if scan.colours is None else middle(scan.colours))


def _clusters(vertices: Array, cell: float) -> tuple[NDArray[np.intp], int]:
    """Return the cluster of each vertex (V,) and how many there are."""
    if cell:
        # 21 bits for each axis; a finer grid than the extent over two million would serve no face.
        places = np.minimum((vertices - vertices.min(axis=0)) / cell, float((1 << 21) - 1)).astype(np.int64)
        keys = (places[:, 0] << 42) | (places[:, 1] << 21) | places[:, 2]
    else:
        # Adding zero makes one of the two zeros of floating point.
        bits = (vertices.astype(np.float32) + np.float32(0.0)).view(np.uint32).astype(np.uint64)
        keys = (bits[:, 0] * np.uint64(0x9E3779B97F4A7C15)) ^ (bits[:, 1] * np.uint64(0xC2B2AE3D27D4EB4F))
        keys = (keys >> np.uint64(29) ^ keys) * np.uint64(0xBF58476D1CE4E5B9) + bits[:, 2] * np.uint64(
            0x94D049BB133111EB
        )
    unique, cluster = np.unique(keys, return_inverse=True)
    return cluster, len(unique)


def outward(scan: Scan) -> Scan:
    """Return ``scan`` with all triangles turned over when most of its surface faces its own middle."""
    a, b, c = (scan.vertices[scan.triangles[:, corner]].astype(np.float64) for corner in range(3))
    areas = np.cross(b - a, c - a)
    middles = (a + b + c) / 3.0
    weights = np.linalg.norm(areas, axis=1)
    centre = (middles * weights[:, None]).sum(axis=0) / max(float(weights.sum()), 1e-30)
    if np.einsum("tc,tc->", middles - centre, areas) >= 0.0:
        return scan
    return Scan(scan.vertices, np.ascontiguousarray(scan.triangles[:, [0, 2, 1]]), scan.colours)
