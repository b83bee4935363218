"""The morphable model itself: mean head, bases and correspondences, read from one file.

Geometry: mean + Σ αᵢ shapeᵢ + Σ δⱼ expressionⱼ; albedo: mean + Σ βᵢ textureᵢ. Coefficients are in standard
deviations of the registered photographs that the model was learned from (see the model's card in ``docs``).
"""

from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from semface.descriptors import GROUP_SIZES

MODEL_FILE: Final = Path(__file__).parent / "data" / "head.npz"

Array = NDArray[np.floating]


@dataclass(frozen=True)
class MorphableModel:
    """A linear 3-D face model with V vertices and T triangles."""

    mean_shape: NDArray[np.float32]
    """(V, 3) the neutral mean head in millimetres."""
    shape_basis: NDArray[np.float32]
    """(80, V, 3) millimetres for one standard deviation."""
    expression_basis: NDArray[np.float32]
    """(64, V, 3) millimetres for one standard deviation."""
    mean_albedo: NDArray[np.float32]
    """(V, 3) RGB, 0 to 255."""
    texture_basis: NDArray[np.float32]
    """(80, V, 3) RGB for one standard deviation."""
    triangles: NDArray[np.int32]
    """(T, 3) vertex indices, counter-clockwise seen from outside."""
    mirror: NDArray[np.int32]
    """(V,) the vertex on the other side of the face for each vertex."""
    landmark_corners: NDArray[np.int32]
    """(468, 3) corners of the triangle in which each dense landmark lies."""
    landmark_weights: NDArray[np.float32]
    """(468, 3) barycentric weights of each dense landmark."""
    landmark_mirror: NDArray[np.int32]
    """(468,) the landmark on the other side of the face for each dense landmark."""
    landmarks68: NDArray[np.int32]
    """(68,) vertex of each of the 68 landmarks of the multi-PIE scheme."""
    face_region: NDArray[np.bool_]
    """(V,) whether a vertex belongs to the visible face, the eyes and the inside of the mouth left out."""

    @classmethod
    def load(cls, path: Path = MODEL_FILE) -> Self:
        """Read the model that ships with the package, or the one at ``path``."""
        with np.load(path) as file:
            widened = {k: v.astype(np.float32) if v.dtype == np.float16 else v for k, v in file.items()}
        return cls(**widened)

    @classmethod
    @cache
    def shipped(cls) -> Self:
        """Return the model that ships with the package, read once for each process."""
        return cls.load()

    def vertices(self, shape: Array, expression: Array) -> Array:
        """Return heads (N, V, 3) in millimetres of α (N, 80) and δ (N, 64)."""
        flat = shape @ self._flat(self.shape_basis) + expression @ self._flat(self.expression_basis)
        return self.mean_shape + flat.reshape(-1, *self.mean_shape.shape)

    def landmarks(self, vertices: Array) -> Array:
        """Return the 468 dense landmarks (N, 468, 3) on heads (N, V, 3)."""
        return (vertices[:, self.landmark_corners] * self.landmark_weights[..., None]).sum(axis=2)

    def albedo(self, texture: Array) -> Array:
        """Return the colours (N, V, 3), RGB from 0 to 255, of β (N, 80)."""
        flat = texture @ self._flat(self.texture_basis)
        return np.clip(self.mean_albedo + flat.reshape(-1, *self.mean_albedo.shape), 0.0, 255.0)

    def normals(self, vertices: Array) -> Array:
        """Return the unit normals (N, V, 3), pointing outwards, of heads (N, V, 3)."""
        corners = vertices[:, self.triangles]
        faces = np.cross(corners[:, :, 1] - corners[:, :, 0], corners[:, :, 2] - corners[:, :, 0])
        padded = np.concatenate([faces, np.zeros_like(faces[:, :1])], axis=1)
        normals = padded[:, self._triangles_of_vertex].sum(axis=2)
        return normals / np.maximum(np.linalg.norm(normals, axis=-1, keepdims=True), 1e-9)

    @cached_property
    def _triangles_of_vertex(self) -> NDArray[np.int32]:
        """(V, most) the triangles around each vertex, filled up with T."""
        corner_vertex = self.triangles.ravel()
        order = np.argsort(corner_vertex, kind="stable")
        counts = np.bincount(corner_vertex, minlength=len(self.mean_shape))
        table = np.full((len(counts), counts.max()), len(self.triangles), np.int32)
        starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
        column = np.arange(corner_vertex.size) - np.repeat(starts, counts)
        table[corner_vertex[order], column] = order // 3
        return table

    @staticmethod
    def _flat(basis: NDArray[np.float32]) -> NDArray[np.float32]:
        return basis.reshape(len(basis), -1)

    def __post_init__(self) -> None:
        sizes = {"shape": self.shape_basis, "texture": self.texture_basis, "expression": self.expression_basis}
        for group, basis in sizes.items():
            if basis.shape != (GROUP_SIZES[group], *self.mean_shape.shape):
                raise ValueError(f"{group} basis has shape {basis.shape}, which does not fit the head")


def vertex_normals(vertices: Array, triangles: NDArray[np.int32]) -> Array:
    """Return unit normals (V, 3), pointing outwards, of one mesh."""
    corners = vertices[triangles]
    faces = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals = np.zeros_like(vertices)
    for corner in range(3):
        np.add.at(normals, triangles[:, corner], faces)
    return normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-9)
