"""What the extraction network is shown for each cached face: ``python -m training.supervision``.

The morphable model is fitted to the dense landmarks, and the photograph's colours are read at some of the fitted head's
vertices. The cache then holds ``supervision/NAME.npz``.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from semface.descriptors import GROUP_SIZES
from semface.morphable.model import MorphableModel
from training.datasets import cache
from training.fitting import fit
from training.registration import sample, seen_vertices

COLOUR_VERTICES: Final = 600
"""How many vertices of the face's skin, in mirror pairs, carry the colour loss."""


def colour_vertices(model: MorphableModel) -> NDArray[np.int64]:
    """Return vertices (about COLOUR_VERTICES) of the face region: some of one side with all their mirror images."""
    region = model.face_region & model.face_region[model.mirror]
    one_side = np.flatnonzero(region & (model.mean_shape[:, 0] >= 0.0))
    chosen = np.random.default_rng(0).choice(one_side, min(COLOUR_VERTICES // 2, len(one_side)), replace=False)
    return np.unique(np.concatenate([chosen, model.mirror[chosen]]))


def build(name: str, model: MorphableModel) -> None:
    """Write the cache file of the data set ``name``."""
    with np.load(cache() / "faces" / f"{name}.npz") as file:
        landmarks = file["landmarks"]
    crops = np.load(cache() / "faces" / f"{name}_crops.npy", mmap_mode="r")
    at_landmarks = [
        model.landmarks(basis) for basis in (model.mean_shape[None], model.shape_basis, model.expression_basis)
    ]
    vertices = colour_vertices(model)
    fields: dict[str, list[NDArray]] = {}
    for start in tqdm(range(0, len(landmarks), 256), desc=name):
        part = slice(start, start + 256)
        fits = fit(landmarks[part], at_landmarks[0][0], np.concatenate(at_landmarks[1:]))
        shape, expression = np.split(fits.coefficients.astype(np.float32), [GROUP_SIZES["shape"]], axis=1)
        heads = model.vertices(shape, expression)
        points, normals, seen = seen_vertices(
            model.normals(heads)[:, vertices], heads[:, vertices], fits.rotation, fits.translation
        )
        found = {
            "shape": shape,
            "expression": expression,
            "rotation": fits.rotation.astype(np.float32),
            "translation": fits.translation.astype(np.float32),
            "error": fits.error.astype(np.float32),
            "colours": sample(crops[part], points).round().astype(np.uint8),
            "normals": np.round(normals * 127.0).astype(np.int8),
            "seen": seen,
        }
        for field, values in found.items():
            fields.setdefault(field, []).append(values)
    folder = cache() / "supervision"
    folder.mkdir(exist_ok=True)
    np.savez(folder / f"{name}.npz", vertices=vertices, **{k: np.concatenate(v) for k, v in fields.items()})


def main() -> None:
    """Build the cache files of the data sets learned from anew: they belong to the morphable model of the moment."""
    model = MorphableModel.load()
    for name in ("lfw", "ferplus_train"):
        build(name, model)


if __name__ == "__main__":
    main()
