"""The cached faces that the morphable model is learned from: those of people who are in no verification fold."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from training.datasets import cache, people_in_folds, person

PRESENCE: Final = 12.0
"""Least presence logit of a face whose landmarks are trusted."""

Array = NDArray[np.floating]


@dataclass(frozen=True)
class Faces:
    """Cached faces of one data set: landmarks (N, 468, 3) in square fractions, crops (N, S, S, 3).

    ``embeddings`` (N, 1024) are the identity teacher's, not centred.
    """

    names: NDArray[np.str_]
    landmarks: Array
    crops: NDArray[np.uint8]
    embeddings: Array

    def __getitem__(self, where: NDArray) -> "Faces":
        index = np.flatnonzero(where) if where.dtype == bool else where
        return Faces(self.names[index], self.landmarks[index], self.crops[index], self.embeddings[index])


def read_faces(name: str) -> Faces:
    """Read the cached faces whose landmarks are trusted."""
    with np.load(cache() / "faces" / f"{name}.npz") as file:
        good = file["detected"] & (file["presence"] > PRESENCE)
        crops = np.load(cache() / "faces" / f"{name}_crops.npy", mmap_mode="r")
        with np.load(cache() / "teachers" / f"{name}.npz") as teacher:
            embeddings = teacher["embedding"]
        return Faces(file["names"], file["landmarks"].astype(float), crops, embeddings)[good]


def basis_photographs() -> Faces:
    """Return the LFW photographs that the basis may learn from: of people in no verification fold."""
    faces = read_faces("lfw")
    in_folds = people_in_folds(frozenset(range(1, 9)))
    return faces[np.array([person(str(name)) not in in_folds for name in faces.names])]
