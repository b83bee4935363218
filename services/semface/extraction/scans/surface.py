"""Normals and curvature of a mesh, at its vertices (AMDFN, equations 3 to 7).

Principal curvatures come from fitting a cubic to the neighbours and their normals in each vertex's tangent frame
(Goldfeather and Interrante, 2004). Many vertices are fitted together: arrays run over vertices last, so that each step
is one operation on long rows.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from semface.extraction.scans.mesh import Array, Triangles

RING: Final = 8
"""Neighbours of a vertex that are looked at, at most; of a regular mesh it has six."""
SECOND_RING: Final = 3
"""Neighbours' neighbours for each, which make the fit steady against noise."""
FLAT: Final = 1e-4
"""A surface that bends less, in both directions, over the neighbours' distance is a plane."""
STEEPEST: Final = 0.2
"""Neighbours whose normal has less than this along the vertex's own do not belong to its surface."""
BLOCK: Final = 1024
"""Vertices that are fitted together: so many that what belongs to them stays in a core's cache."""
COEFFICIENTS: Final = 7
RIDGE: Final = 1e-5
"""Added to the equations' diagonal, which keeps them solvable where there are few neighbours."""

Rows = NDArray[np.float32]
Columns = tuple[list[tuple[float, int, int]], ...]


def vertex_normals(vertices: Array, triangles: Triangles) -> Rows:
    """Return the unit normal (V, 3) of each vertex: the mean of its triangles' unit normals; zero without any."""
    corners = np.ascontiguousarray(vertices.T, np.float32)[:, triangles.T]
    (ax, ay, az), (bx, by, bz) = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    faces = np.stack([ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx])
    faces /= np.maximum(np.sqrt(np.einsum("ct,ct->t", faces, faces)), np.float32(1e-20))
    owner = triangles.ravel()
    sums = [np.bincount(owner, np.repeat(faces[axis], 3), len(vertices)) for axis in range(3)]
    normals = np.stack(sums, axis=1).astype(np.float32)
    return normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), np.float32(1e-12))


def principal_curvatures(vertices: Array, triangles: Triangles, normals: Rows) -> tuple[Rows, Rows, Rows]:
    """Return k1 ≥ k2 (V,), one over the unit of ``vertices`` (V, 3), and the neighbours' mean distance (V,).

    ``normals`` (V, 3) are those of ``vertex_normals``. A surface bulging towards its normals has negative curvatures.
    """
    neighbours = _neighbours(triangles, len(vertices))
    places, directions = _planes(vertices - vertices.mean(axis=0)), _planes(normals)
    blocks = [slice(start, start + BLOCK) for start in range(0, len(vertices), BLOCK)]
    fits = [_fit(places, directions, neighbours[:, block], block) for block in blocks]
    first, second, spacing = (np.concatenate(rows) for rows in zip(*fits, strict=True))
    return first, second, spacing


def _fit(places: Rows, directions: Rows, neighbours: NDArray[np.int32], block: slice) -> tuple[Rows, Rows, Rows]:
    """Return k1, k2 and mean distance (B,) of the vertices in ``block``; the others are looked up in (3, V)."""
    x, y, z, weight, spacing = _local_places(places, directions, neighbours, block)
    slope_x, slope_y, weight = _local_slopes(directions, neighbours, weight, block)
    fitted = _solve(*_equations(x, y, z, slope_x, slope_y, weight))
    # W = [[A, B], [B, C]]: equation 7 of the paper is misprinted.
    a, b, c = fitted[0] / spacing, fitted[1] / spacing, fitted[2] / spacing
    mean, radius = (a + c) / 2, np.hypot((a - c) / 2, b)
    return mean + radius, mean - radius, spacing


def shape_index(vertices: Array, triangles: Triangles, normals: Rows) -> Rows:
    """Return the shape index (V,), 0 to 1: a bulge 1, a ridge 3/4, saddle or plane 1/2, a valley 1/4, a hollow 0.

    Equation 5, 1/2 − arctan((k1 + k2) / (k1 − k2)) / π, with the arctangent of two arguments: a sphere has one.
    """
    first, second, spacing = principal_curvatures(vertices, triangles, normals)
    index = 0.5 - np.arctan2(first + second, first - second) / np.float32(np.pi)
    flat = np.maximum(np.abs(first), np.abs(second)) * spacing < FLAT
    return np.where(flat, np.float32(0.5), index).astype(np.float32)


def _neighbours(triangles: Triangles, count: int) -> NDArray[np.int32]:
    """Return up to ``RING`` neighbours of each vertex and some of theirs, (K, V); filled up with the vertex itself."""
    start, end = triangles.T.ravel(), triangles[:, [1, 2, 0]].T.ravel()
    # Numbers of 16 bits are sorted several times as fast.
    order = np.argsort(start.astype(np.uint16) if count < 1 << 16 else start, kind="stable")
    start, end = start[order], end[order]
    first = np.searchsorted(start, np.arange(count))
    column = np.arange(len(start)) - first[start]
    ring = np.tile(np.arange(count, dtype=np.int32), (RING, 1))
    within = column < RING
    ring[column[within], start[within]] = end[within]
    # Every second neighbour of a neighbour: together they go around the vertex.
    further = [ring[number][ring] for number in range(0, 2 * SECOND_RING, 2)]
    return np.concatenate([ring, *further])


def _planes(points: Array) -> Rows:
    return np.ascontiguousarray(points.T, np.float32)


def _tangents(normals: Rows) -> tuple[Rows, Rows]:
    """Return two unit vectors (3, B) each that make a frame with ``normals`` (3, B). Source: Duff et al., 2017."""
    nx, ny, nz = normals
    sign = np.where(nz >= 0, np.float32(1), np.float32(-1))
    a = -1.0 / (sign + nz)
    b = nx * ny * a
    return np.stack([1 + sign * nx * nx * a, sign * b, -sign * nx]), np.stack([b, sign + ny * ny * a, -ny])


def _in_frame(vectors: list[Rows], normals: Rows) -> list[Rows]:
    """Return the components (K, B) of three of ``vectors`` along both tangents and the normal (3, B)."""
    (x, y, z) = vectors
    return [x * axis[0] + y * axis[1] + z * axis[2] for axis in (*_tangents(normals), normals)]


def _local_places(
    places: Rows, directions: Rows, neighbours: NDArray[np.int32], block: slice
) -> tuple[Rows, Rows, Rows, Rows, Rows]:
    """Return x, y, z and weight (K, B) of the neighbours in each vertex's frame, and the mean distance (B,).

    x, y and z are in mean distances, so that all powers of them are of one size.
    """
    x, y, z = _in_frame([plane[neighbours] - plane[block] for plane in places], directions[:, block])
    own = np.arange(places.shape[1], dtype=np.int32)[block]
    others = (neighbours != own).astype(np.float32)
    spacing = np.sqrt(x * x + y * y).sum(axis=0) / np.maximum(others.sum(axis=0), 1)
    spacing = np.maximum(spacing, np.float32(1e-12))
    return x / spacing, y / spacing, z / spacing, others, spacing


def _local_slopes(
    directions: Rows, neighbours: NDArray[np.int32], weight: Rows, block: slice
) -> tuple[Rows, Rows, Rows]:
    """Return ∂z/∂x and ∂z/∂y (K, B) that the neighbours' normals tell, and the weights less those that turn away."""
    x, y, z = _in_frame([plane[neighbours] for plane in directions], directions[:, block])
    upright = z > STEEPEST
    z = np.where(upright, z, np.float32(1))
    return -x / z, -y / z, weight * upright


# Each unknown's column in the three equations of a neighbour (equation 6): lists of factor and powers of x and y.
_HEIGHT: Final[Columns] = (
    [(0.5, 2, 0)],
    [(1, 1, 1)],
    [(0.5, 0, 2)],
    [(1, 3, 0)],
    [(1, 2, 1)],
    [(1, 1, 2)],
    [(1, 0, 3)],
)
_SLOPE_X: Final[Columns] = ([(1, 1, 0)], [(1, 0, 1)], [], [(3, 2, 0)], [(2, 1, 1)], [(1, 0, 2)], [])
_SLOPE_Y: Final[Columns] = ([], [(1, 1, 0)], [(1, 0, 1)], [], [(1, 2, 0)], [(2, 1, 1)], [(3, 0, 2)])


def _equations(
    x: Rows, y: Rows, z: Rows, slope_x: Rows, slope_y: Rows, weight: Rows
) -> tuple[list[list[Array]], list[Array]]:
    """Return the normal equations: a symmetric matrix, 7 × 7 of rows (V,), and the right side, 7 rows (V,).

    Every entry is a sum of moments Σ w xᵖ yᑫ over the neighbours.
    """
    powers = {(0, 0): weight}
    for degree in range(1, 7):
        for of_y in range(degree + 1):
            of_x = degree - of_y
            powers[of_x, of_y] = powers[of_x - 1, of_y] * x if of_x else powers[0, of_y - 1] * y
    moments = {power: values.sum(axis=0) for power, values in powers.items() if sum(power) >= 2}

    def observed(values: Rows, powers_of: int) -> dict[tuple[int, int], Rows]:
        return {power: np.einsum("kv,kv->v", powers[power], values) for power in powers if 1 <= sum(power) <= powers_of}

    sides = ((_HEIGHT, observed(z, 3)), (_SLOPE_X, observed(slope_x, 2)), (_SLOPE_Y, observed(slope_y, 2)))
    zero = np.zeros(x.shape[1], np.float32)
    matrix: list[list[Array]] = [[zero] * COEFFICIENTS for _ in range(COEFFICIENTS)]
    right: list[Array] = [zero] * COEFFICIENTS
    for columns, seen in sides:
        for row in range(COEFFICIENTS):
            for factor, p, q in columns[row]:
                right[row] = right[row] + np.float32(factor) * seen[p, q]
                for column in range(row + 1):
                    for other, r, s in columns[column]:
                        term = np.float32(factor * other) * moments[p + r, q + s]
                        matrix[row][column] = matrix[row][column] + term
    return matrix, right


def _solve(matrix: list[list[Array]], right: list[Array]) -> list[Array]:
    """Return the solution, rows (V,), of the symmetric equations, by Cholesky's decomposition of all at once."""
    trace = np.add.reduce([matrix[row][row] for row in range(COEFFICIENTS)])
    ridge = np.float32(RIDGE) * (trace + np.float32(1e-6))
    lower: list[list[Array]] = [[] for _ in range(COEFFICIENTS)]
    for row in range(COEFFICIENTS):
        for column in range(row + 1):
            rest = matrix[row][column] + (ridge if row == column else np.float32(0))
            for inner in range(column):
                rest = rest - lower[row][inner] * lower[column][inner]
            if row == column:
                lower[row].append(np.sqrt(np.maximum(rest, ridge)))
            else:
                lower[row].append(rest / lower[column][column])
    values: list[Array] = []
    for row in range(COEFFICIENTS):
        rest = right[row]
        for inner in range(row):
            rest = rest - lower[row][inner] * values[inner]
        values.append(rest / lower[row][row])
    for row in reversed(range(COEFFICIENTS)):
        rest = values[row]
        for inner in range(row + 1, COEFFICIENTS):
            rest = rest - lower[inner][row] * values[inner]
        values[row] = rest / lower[row][row]
    return values
