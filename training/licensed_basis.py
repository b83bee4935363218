"""Bring a licence holder's own Basel Face Model 2009 into the form of ours: ``python -m training.licensed_basis``.

The Basel Face Model may not be passed on, so this reads the holder's files: ``BFM_model_front.mat`` as
Deep3DFaceReconstruction makes it (in decimetres), or the folder of the files that it is made from (in micrometres):
``01_MorphableModel.mat``, ``Exp_Pca.bin``, ``std_exp.txt``, ``BFM_front_idx.mat``, ``BFM_exp_idx.mat`` and
``facemodel_info.mat``. The real files were never at hand: what is tested is their form.
"""

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.io import loadmat
from scipy.spatial import cKDTree

from semface.descriptors import GROUP_SIZES
from semface.errors import Reason, SemfaceError
from semface.evaluation.geometry_measures import nearest_on_surface
from semface.morphable.model import MorphableModel
from semface.morphable.similarity import move, similarity
from training.morphable_model import save

DECIMETRE: Final = 100.0
MICROMETRE: Final = 1e-3
"""Units of length in millimetres."""
REGION_REACH: Final = 12.0
"""A vertex this near to our face region, in millimetres, belongs to theirs."""

Array = NDArray[np.floating]


@dataclass(frozen=True)
class LicensedBasis:
    """A basis as it was read: V vertices in millimetres, colours 0 to 255, each direction one standard deviation."""

    mean: Array
    shape: Array
    expression: Array
    albedo: Array
    texture: Array
    triangles: NDArray[np.int32]
    landmarks68: NDArray[np.int32]


def read_basis(path: Path) -> LicensedBasis:
    """Read ``BFM_model_front.mat``, or the folder of the files that it is made from.

    Raises FIELD_INVALID for files that are absent or of another form.
    """
    try:
        return _read_folder(path) if path.is_dir() else _read_front(_matlab(path))
    except FileNotFoundError as error:
        message = f"there is no file {error.filename}; name BFM_model_front.mat or the folder of the original files"
    except KeyError as error:
        message = f"{path} lacks the array {error.args[0]!r}; it is no basis of Deep3DFaceReconstruction's form"
    except (ValueError, NotImplementedError, OSError, IndexError):
        message = f"{path} cannot be read as a basis of Deep3DFaceReconstruction's form"
    raise SemfaceError(Reason.FIELD_INVALID, message)


def _matlab(path: Path) -> dict[str, Any]:
    # Opened here: loadmat tells an absent file from a damaged one in words only.
    with path.open("rb") as file:
        return loadmat(file)


def _read_front(file: dict[str, Any]) -> LicensedBasis:
    landmarks = file["kp_inds"] if "kp_inds" in file else file["keypoints"]
    return LicensedBasis(
        _points(file["meanshape"])[0] * DECIMETRE,
        _points(file["idBase"].T) * DECIMETRE,
        _points(file["exBase"].T) * DECIMETRE,
        _points(file["meantex"])[0],
        _points(file["texBase"].T),
        _indices(file["tri"]).reshape(-1, 3),
        _indices(landmarks).ravel(),
    )


def _read_folder(folder: Path) -> LicensedBasis:
    original = _matlab(folder / "01_MorphableModel.mat")
    about = _matlab(folder / "facemodel_info.mat")
    front = _indices(_matlab(folder / "BFM_front_idx.mat")["idx"]).ravel()
    # Expressions are given on some of the model's vertices, and of these the front of the face is kept.
    trimmed = _indices(_matlab(folder / "BFM_exp_idx.mat")["trimIndex"]).ravel()
    kept = trimmed[front]
    expression = (
        _read_expressions(folder / "Exp_Pca.bin", len(trimmed))
        * np.array((folder / "std_exp.txt").read_text().split(), float)[:, None]
    )
    shape, texture = (original[f"{name}PC"] * original[f"{name}EV"].reshape(-1) for name in ("shape", "tex"))
    return LicensedBasis(
        _points(original["shapeMU"].T)[0, kept] * MICROMETRE,
        _points(shape.T)[: GROUP_SIZES["shape"], kept] * MICROMETRE,
        _points(expression)[: GROUP_SIZES["expression"], front] * MICROMETRE,
        _points(original["texMU"].T)[0, kept],
        _points(texture.T)[: GROUP_SIZES["texture"], kept],
        _indices(about["tri"]).reshape(-1, 3),
        _indices(about["keypoints"]).ravel(),
    )


def _read_expressions(path: Path, vertices: int) -> Array:
    """Return the directions (K, 3V) of ``Exp_Pca.bin``: their number, the mean, then one direction after the other."""
    count = int(np.fromfile(path, "<i4", 1)[0])
    numbers = np.fromfile(path, "<f4", offset=4)
    return numbers[3 * vertices : 3 * vertices * (count + 1)].reshape(count, 3 * vertices).astype(float)


def _points(rows: Any) -> Array:
    """Return rows (K, 3V), or one, of a file as (K, V, 3)."""
    values = np.asarray(rows, float)
    return values.reshape(values.shape[0] if values.ndim == 2 and values.shape[1] > 1 else 1, -1, 3)


def _indices(values: Any) -> NDArray[np.int32]:
    """Return MATLAB's indices, which begin at 1, as ours."""
    return np.asarray(values).astype(np.int32) - 1


def to_morphable_model(basis: LicensedBasis) -> MorphableModel:
    """Return ``basis`` as a model of ours; correspondences come from our mean head laid over theirs by 68 landmarks.

    The origin is the mean of all vertices, as in Deep3DFaceReconstruction, so that its translations hold. Raises
    FIELD_INVALID for groups of other sizes than ours.
    """
    sizes = {"shape": basis.shape, "expression": basis.expression, "texture": basis.texture}
    for group, directions in sizes.items():
        if len(directions) != GROUP_SIZES[group]:
            wanted = GROUP_SIZES[group]
            raise SemfaceError(
                Reason.FIELD_INVALID, f"the basis has {len(directions)} {group} directions, not {wanted}"
            )
    ours = MorphableModel.shipped()
    mean = basis.mean - basis.mean.mean(axis=0)
    by = similarity(ours.mean_shape[ours.landmarks68], mean[basis.landmarks68])
    triangles = _outwards(mean, basis.triangles)
    corners, weights = nearest_on_surface(move(ours.landmarks(ours.mean_shape[None])[0], by), mean, triangles)
    distance, nearest = cKDTree(move(ours.mean_shape, by)).query(mean)
    fields = {
        "mean_shape": mean,
        "shape_basis": basis.shape,
        "expression_basis": basis.expression,
        "mean_albedo": basis.albedo,
        "texture_basis": basis.texture,
        "landmark_weights": weights,
    }
    return MorphableModel(
        **{name: values.astype(np.float32) for name, values in fields.items()},
        triangles=triangles,
        mirror=cKDTree(mean).query(mean * [-1.0, 1.0, 1.0])[1].astype(np.int32),
        landmark_corners=corners,
        landmark_mirror=ours.landmark_mirror,
        landmarks68=basis.landmarks68,
        face_region=ours.face_region[nearest] & (distance < REGION_REACH),
    )


def _outwards(mean: Array, triangles: NDArray[np.int32]) -> NDArray[np.int32]:
    """Return ``triangles`` counter-clockwise seen from outside: a face is a shell whose front looks along z."""
    corners = mean[triangles]
    facing = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])[:, 2].sum()
    return triangles if facing > 0 else triangles[:, ::-1]


def main() -> None:
    """Read the holder's files and write a model that ``MorphableModel.load`` takes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path, help="BFM_model_front.mat, or the folder of the original files")
    parser.add_argument("--output", type=Path, required=True, help="the model, an npz file; not for passing on")
    arguments = parser.parse_args()
    try:
        save(to_morphable_model(read_basis(arguments.source)), arguments.output)
    except SemfaceError as error:
        sys.exit(error.message)


if __name__ == "__main__":
    main()
