"""Some points of the morphable model, and where the camera sees them; differentiable."""

from typing import Final, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from semface.descriptors import GROUPS
from semface.morphable.camera import DISTANCE, FOCAL_LENGTH
from semface.morphable.model import MorphableModel

NEAREST: Final = 200.0
"""Smallest distance of a point from the camera, in millimetres."""


class ModelPoints(nn.Module):
    """P points that move with α and δ; they are given by how the model's ``mean`` and bases move there."""

    def __init__(
        self, mean: NDArray[np.floating], shape: NDArray[np.floating], expression: NDArray[np.floating]
    ) -> None:
        """Take the points' ``mean`` (P, 3) and their offsets by ``shape`` and by ``expression`` (K, P, 3), in mm."""
        super().__init__()
        for name, array in {"mean": mean[None], "shape": shape, "expression": expression}.items():
            flat = torch.tensor(array.reshape(len(array), -1), dtype=torch.float32)
            self.register_buffer(name, flat, persistent=False)

    @classmethod
    def dense_landmarks(cls, model: MorphableModel) -> Self:
        """Return the 468 landmarks."""
        mean = model.landmarks(model.mean_shape[None])[0]
        return cls(mean, model.landmarks(model.shape_basis), model.landmarks(model.expression_basis))

    @classmethod
    def landmarks68(cls, model: MorphableModel) -> Self:
        """Return the 68 landmarks."""
        where = model.landmarks68
        return cls(model.mean_shape[where], model.shape_basis[:, where], model.expression_basis[:, where])

    @classmethod
    def keypoints(cls, model: MorphableModel, count: int) -> Self:
        """Return the 68 landmarks and ``count`` − 68 of the 468 that lie far from each other."""
        some, all_468 = cls.landmarks68(model), cls.dense_landmarks(model)
        dense = keypoint_landmarks(model, count)
        parts = (
            torch.cat([a.unflatten(1, (-1, 3)), b.unflatten(1, (-1, 3))[:, dense]], dim=1).numpy()
            for a, b in ((some.mean, all_468.mean), (some.shape, all_468.shape), (some.expression, all_468.expression))
        )
        mean, shape, expression = parts
        return cls(mean[0], shape, expression)

    def seen(self, descriptors: Tensor) -> tuple[Tensor, Tensor]:
        """Return the points before the camera (N, P, 3) in mm, and the head's rotation (N, 3, 3), of (N, 257)."""
        flat = self.mean + descriptors[:, GROUPS["shape"]] @ self.shape
        flat = flat + descriptors[:, GROUPS["expression"]] @ self.expression
        rotation = rotation_matrices(descriptors[:, GROUPS["rotation"]])
        turned = flat.unflatten(1, (-1, 3)) @ rotation.transpose(1, 2)
        return turned + descriptors[:, None, GROUPS["translation"]], rotation

    def project(self, descriptors: Tensor) -> Tensor:
        """Return the points' places (N, P, 2) in square fractions, y downwards, of descriptors (N, 257)."""
        return projected(self.seen(descriptors)[0])


def projected(points: Tensor) -> Tensor:
    """Return the places (N, P, 2) in square fractions, y downwards, of points before the camera (N, P, 3) in mm."""
    flipped = points[..., :2] * torch.tensor([1.0, -1.0])
    return 0.5 + FOCAL_LENGTH * flipped / (DISTANCE - points[..., 2:]).clamp(min=NEAREST)


def rotation_matrices(rotation: Tensor) -> Tensor:
    """Return R (N, 3, 3) of θ (N, 3); see ``semface.morphable.camera.rotation_matrix``."""
    (ca, cb, cc), (sa, sb, sc) = torch.cos(rotation).T, torch.sin(rotation).T
    rows = [
        *(cb * cc, sa * sb * cc - ca * sc, ca * sb * cc + sa * sc),
        *(cb * sc, sa * sb * sc + ca * cc, ca * sb * sc - sa * cc),
        *(-sb, sa * cb, ca * cb),
    ]
    return torch.stack(rows, dim=1).view(-1, 3, 3)


def keypoint_landmarks(model: MorphableModel, count: int) -> Tensor:
    """Return which of the 468 landmarks (``count`` − 68,) are keypoints."""
    return spread_points(model.landmarks(model.mean_shape[None])[0], count - 68)


def spread_points(points: NDArray[np.floating], count: int) -> Tensor:
    """Return the indices (count,) of those of ``points`` (K, 3) that lie farthest from each other, in a fixed order."""
    chosen = [0]
    distance = np.linalg.norm(points - points[0], axis=1)
    while len(chosen) < count:
        chosen.append(int(distance.argmax()))
        distance = np.minimum(distance, np.linalg.norm(points - points[chosen[-1]], axis=1))
    return torch.tensor(sorted(chosen))
