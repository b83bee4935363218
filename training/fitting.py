"""Fits of the morphable model to dense landmarks: pose, shape and expression of many faces at once.

Each face is a maximum a posteriori fit: landmark noise is Gaussian, coefficients are N(0, 1). The projection is linear
in the coefficients once rotation and depths are held, so coefficients (a ridge regression) and pose (Gauss–Newton)
alternate.
"""

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from semface.morphable.camera import DISTANCE, FOCAL_LENGTH, euler_angles, rotation_matrix

POINT_NOISE: Final = 2.0
"""Standard deviation of a landmark across the line of sight, in millimetres."""
DEPTH_NOISE: Final = 8.0
"""Standard deviation of the teacher's depth along it, in millimetres."""
ROUNDS: Final = 6

Array = NDArray[np.floating]


@dataclass(frozen=True)
class Fits:
    """Fitted faces: rotation (N, 3) radians, translation (N, 3) mm, coefficients (N, K), error (N,) in square sides.

    ``uncertainty`` (N, K, K) is the coefficients' posterior covariance, when asked for.
    """

    rotation: Array
    translation: Array
    coefficients: Array
    error: Array
    uncertainty: Array | None = None


def fit(landmarks: Array, mean: Array, basis: Array, batch: int = 256, *, with_uncertainty: bool = False) -> Fits:
    """Fit ``mean`` (468, 3) + coefficients · ``basis`` (K, 468, 3), in millimetres, to ``landmarks`` (N, 468, 3).

    Landmarks are fractions of the face square, x right, y down and z away from the camera, at the same scale.
    """
    landmarks, mean, basis = (np.asarray(values, np.float32) for values in (landmarks, mean, basis))
    products = _products(basis)
    parts = [_fit_batch(landmarks[i : i + batch], mean, basis, products) for i in range(0, len(landmarks), batch)]
    found = Fits(*(np.concatenate(field) for field in zip(*parts, strict=True)))
    if not with_uncertainty:
        return found
    inverse = [np.linalg.inv(_normal(turn, products)) for turn in np.array_split(rotation_matrix(found.rotation), 64)]
    return replace(found, uncertainty=np.concatenate(inverse).astype(np.float32))


def _fit_batch(
    landmarks: Array, mean: Array, basis: Array, products: tuple[Array, Array]
) -> tuple[Array, Array, Array, Array]:
    target = (landmarks - np.float32([0.5, 0.5, 0.0])) * np.float32([1.0, -1.0, -1.0])
    points = np.broadcast_to(mean, (len(landmarks), *mean.shape))
    flat = basis.reshape(len(basis), -1)
    rotation, translation = _similarity(target, points)
    for _ in range(ROUNDS):
        rotation, translation = _improve_pose(target, points, rotation, translation)
        coefficients = _solve_coefficients(target, mean, basis, products, points, rotation, translation)
        points = mean + (coefficients @ flat).reshape(-1, *mean.shape)
    rotation, translation = _improve_pose(target, points, rotation, translation)
    camera = points @ rotation.transpose(0, 2, 1) + translation[:, None]
    seen = FOCAL_LENGTH * camera[..., :2] / (DISTANCE - camera[..., 2:])
    error = np.linalg.norm(seen - target[..., :2], axis=-1).mean(axis=1)
    return euler_angles(rotation), translation, coefficients, error


def _similarity(target: Array, points: Array) -> tuple[Array, Array]:
    """Return rotation and translation of the best similarity of ``points`` (mm) onto ``target`` (square sides)."""
    source, goal = points - points.mean(axis=1, keepdims=True), target - target.mean(axis=1, keepdims=True)
    u, singular, vt = np.linalg.svd(goal.transpose(0, 2, 1) @ source)
    sign = np.ones((len(points), 3), np.float32)
    sign[:, 2] = np.linalg.det(u @ vt)
    rotation = (u * sign[:, None]) @ vt
    scale = (singular * sign).sum(axis=1) / (source**2).sum(axis=(1, 2))
    depth = FOCAL_LENGTH / scale
    centre = (rotation @ points.mean(axis=1)[..., None])[..., 0]
    across = target.mean(axis=1)[:, :2] / scale[:, None] - centre[:, :2]
    return rotation, np.column_stack([across, DISTANCE - depth - centre[:, 2]])


def _improve_pose(target: Array, points: Array, rotation: Array, translation: Array) -> tuple[Array, Array]:
    """Take one Gauss–Newton step of the six pose numbers on the picture-plane error, in millimetres at the face."""
    turned = points @ rotation.transpose(0, 2, 1)
    camera = turned + translation[:, None]
    depth = DISTANCE - camera[..., 2]
    unit = depth.mean(axis=1)[:, None] / FOCAL_LENGTH
    residual = (target[..., :2] - FOCAL_LENGTH * camera[..., :2] / depth[..., None]) * unit[..., None]
    ratio = unit * FOCAL_LENGTH / depth
    slope = camera[..., :2] / depth[..., None]
    zero = np.zeros_like(ratio)
    by_move = np.stack(
        [np.stack([ratio, zero, ratio * slope[..., 0]], -1), np.stack([zero, ratio, ratio * slope[..., 1]], -1)], axis=2
    )
    x, y, z = np.moveaxis(turned, 2, 0)
    none = np.zeros_like(x)
    by_turn = np.stack([np.stack([none, z, -y], -1), np.stack([-z, none, x], -1), np.stack([y, -x, none], -1)], axis=2)
    jacobian = np.concatenate([by_move @ by_turn, by_move], axis=3).reshape(len(points), -1, 6)
    normal = jacobian.transpose(0, 2, 1) @ jacobian + 1e-3 * np.eye(6, dtype=np.float32)
    step = np.linalg.solve(normal, jacobian.transpose(0, 2, 1) @ residual.reshape(len(points), -1, 1))[..., 0]
    # For a small turn the three axes' angles are the Euler angles.
    return rotation_matrix(step[:, :3]) @ rotation, translation + step[:, 3:]


def _products(basis: Array) -> tuple[Array, Array]:
    """Return Σ over landmarks of basis ⊗ basis (9, K, K), as it is and with each direction's mean move taken out."""
    centred = basis - basis.mean(axis=1, keepdims=True)
    products = (np.einsum("klc,mld->cdkm", values, values, optimize=True) for values in (basis, centred))
    plain, relative = (product.reshape(9, len(basis), len(basis)) for product in products)
    return plain, relative


def _solve_coefficients(
    target: Array,
    mean: Array,
    basis: Array,
    products: tuple[Array, Array],
    points: Array,
    rotation: Array,
    translation: Array,
) -> Array:
    """Return the ridge solution (N, K) with rotation, translation and the depths of the current ``points`` held."""
    turn = rotation.transpose(0, 2, 1)
    depth = DISTANCE - (points @ turn)[..., 2] - translation[:, 2:]
    unit = depth / FOCAL_LENGTH
    camera = mean @ turn + translation[:, None]
    across = (target[..., :2] * unit[..., None] - camera[..., :2]) / POINT_NOISE**2
    along = (target[..., 2] * unit.mean(axis=1, keepdims=True) - camera[..., 2]) / DEPTH_NOISE**2
    # The teacher's depth is relative: its mean says nothing.
    along -= along.mean(axis=1, keepdims=True)
    pulled = np.concatenate([across, along[..., None]], axis=2) @ rotation
    wanted = pulled.reshape(len(target), -1) @ basis.reshape(len(basis), -1).T
    return np.linalg.solve(_normal(rotation, products), wanted[..., None])[..., 0]


def _normal(rotation: Array, products: tuple[Array, Array]) -> Array:
    """Return the posterior's precision (N, K, K) of the coefficients at rotation matrices (N, 3, 3)."""
    in_plane = (rotation[:, :2].transpose(0, 2, 1) @ rotation[:, :2]).reshape(-1, 9) / POINT_NOISE**2
    in_depth = (rotation[:, 2, :, None] * rotation[:, 2, None, :]).reshape(-1, 9) / DEPTH_NOISE**2
    prior = np.eye(products[0].shape[-1], dtype=np.float32)
    return np.tensordot(in_plane, products[0], 1) + np.tensordot(in_depth, products[1], 1) + prior
