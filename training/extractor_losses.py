"""What the extraction network is taught by: landmarks, colours, identity, expression, fits and renders."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from semface.descriptors import GROUPS
from semface.morphable.model import MorphableModel
from training.extractor_network import KEYPOINTS
from training.model_points import ModelPoints, keypoint_landmarks, rotation_matrices

IDENTITY_NOISE: Final = 0.2
"""Noise, in standard deviations, on shape and texture before the identity head: identity must survive the codec."""
EXPRESSION_NOISE: Final = 0.1


@dataclass
class Weights:
    """Weight of each loss in the sum."""

    landmarks: float = 40.0
    colours: float = 16.0
    identity: float = 2.0
    relation: float = 25.0
    expression: float = 0.35
    shape_fit: float = 0.05
    expression_fit: float = 0.1
    prior: float = 0.005
    quality: float = 1.0
    keypoints: float = 20.0
    shape: float = 1.0
    """For each millimetre at a render's vertices; so is the next."""
    movement: float = 0.15
    pose: float = 1.0
    """For each radian of a render's rotation."""
    steadiness: float = 0.5


@dataclass
class Batch:
    """One batch in the augmented crop's frame; N faces. Masks say which faces a loss may use."""

    pixels: Tensor
    landmarks: Tensor
    shape: Tensor
    expression: Tensor
    fitted: Tensor
    colours: Tensor
    normals: Tensor
    seen: Tensor
    embedding: Tensor
    has_identity: Tensor
    votes: Tensor
    has_votes: Tensor
    landmarks68: Tensor
    rotation: Tensor
    rendered: Tensor
    person: Tensor


def harmonics(normals: Tensor) -> Tensor:
    """Return the spherical harmonics (..., 9); see ``semface.morphable.illumination.harmonics``."""
    x, y, z = normals.unbind(-1)
    a, b, c = 3.0**0.5, 15.0**0.5, 5.0**0.5 / 2.0
    bands = [torch.ones_like(x), a * y, a * z, a * x, b * x * y, b * y * z, c * (3 * z * z - 1), b * x * z]
    return torch.stack([*bands, b / 2 * (x * x - y * y)], dim=-1)


class MorphableLosses(nn.Module):
    """The landmark and colour losses of the morphable model, and small heads for identity and expression."""

    def __init__(self, model: MorphableModel, vertices: NDArray[np.int64], weights: Weights) -> None:
        super().__init__()
        self.weights, self.model = weights, model
        parts = {
            "shape_metric": vertex_metric(model, model.shape_basis),
            "expression_metric": vertex_metric(model, model.expression_basis),
            "albedo_mean": model.mean_albedo[vertices].reshape(1, -1),
            "albedo_basis": model.texture_basis[:, vertices].reshape(len(model.texture_basis), -1),
        }
        for name, array in parts.items():
            self.register_buffer(name, torch.tensor(array, dtype=torch.float32), persistent=False)
        self.landmarks, self.landmarks68 = ModelPoints.dense_landmarks(model), ModelPoints.landmarks68(model)
        self.dense = keypoint_landmarks(model, KEYPOINTS)
        self.identity = nn.Sequential(nn.Linear(160, 512), nn.ReLU(), nn.Linear(512, 512))
        self.identity_shortcut = nn.Linear(160, 512)
        self.expression = nn.Sequential(nn.Linear(70, 128), nn.ReLU(), nn.Linear(128, 8))

    def embed(self, descriptors: Tensor) -> Tensor:
        """Return unit embeddings (N, 512) from shape and texture."""
        values = descriptors[:, : GROUPS["texture"].stop]
        return nn.functional.normalize(self.identity(values) + self.identity_shortcut(values), dim=1)

    def classify(self, descriptors: Tensor) -> Tensor:
        """Return the logits (N, 8) of the expression classes from expression, rotation and translation."""
        where = slice(GROUPS["expression"].start, GROUPS["translation"].stop)
        # Millimetres are brought near the size of the other numbers.
        scale = torch.ones(70)
        scale[-3:] = 0.02
        return self.expression(descriptors[:, where] * scale)

    def colour(self, descriptors: Tensor, normals: Tensor) -> Tensor:
        """Return the lit colours (N, S, 3), 0 to 255, at the colour vertices."""
        texture, light = descriptors[:, GROUPS["texture"]], descriptors[:, GROUPS["illumination"]]
        albedo = (self.albedo_mean + texture @ self.albedo_basis).view(len(descriptors), -1, 3)
        return albedo * (1.0 + harmonics(normals) @ light.view(-1, 3, 9).transpose(1, 2)).clamp(min=0.0)

    def colour_error(self, descriptors: Tensor, batch: Batch) -> Tensor:
        """Return the mean absolute difference (N,), 0 to 255, of the lit colours at the vertices that are seen."""
        difference = (self.colour(descriptors, batch.normals) - batch.colours).abs().mean(dim=2)
        return (difference * batch.seen).sum(dim=1) / batch.seen.sum(dim=1).clamp(min=1.0)

    def shape_error(self, descriptors: Tensor, batch: Batch) -> Tensor:
        """Return the root mean square distance (N,) in mm of the faces of α and of ``batch.shape``."""
        return _distance(descriptors[:, GROUPS["shape"]] - batch.shape, self.shape_metric)

    def forward(self, descriptors: Tensor, quality: Tensor, keypoints: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Return each loss, weighted, of descriptors (N, 257), quality (N, 1) and keypoints (N, KEYPOINTS, 2)."""
        weights, fitted = self.weights, batch.fitted
        noisy = descriptors.clone()
        noisy[:, :160] = noisy[:, :160] + IDENTITY_NOISE * torch.randn_like(noisy[:, :160])
        noisy[:, 160:224] = noisy[:, 160:224] + EXPRESSION_NOISE * torch.randn_like(noisy[:, 160:224])
        shift = (self.landmarks.project(descriptors) - batch.landmarks).norm(dim=2).mean(dim=1)
        colour = self.colour_error(descriptors, batch) / 255.0
        astray = (keypoints[:, 68:] - batch.landmarks[:, self.dense]).norm(dim=2).mean(dim=1)
        astray68 = (keypoints[:, :68] - batch.landmarks68).norm(dim=2).mean(dim=1)
        cosine = (self.embed(noisy) * batch.embedding).sum(dim=1)
        logits = nn.functional.log_softmax(self.classify(noisy), dim=1)
        shape = (descriptors[:, GROUPS["shape"]] - batch.shape).square().mean(dim=1)
        expression = (descriptors[:, GROUPS["expression"]] - batch.expression).square().mean(dim=1)
        numbers = (
            descriptors[:, : GROUPS["expression"].stop].square().mean()
            + descriptors[:, GROUPS["illumination"]].square().mean()
        )
        told = (self.embed(descriptors).detach() * batch.embedding).sum(dim=1).clamp(min=0.0)
        return {
            "landmarks": weights.landmarks * _masked(shift, fitted),
            "keypoints": weights.keypoints * (_masked(astray, fitted) + _masked(astray68, batch.rendered)),
            "colours": weights.colours * _masked(colour, fitted),
            "identity": weights.identity * _masked(1.0 - cosine, batch.has_identity),
            "relation": weights.relation * self._relation(noisy, batch),
            "expression": weights.expression * _masked(-(batch.votes * logits).sum(dim=1), batch.has_votes),
            "shape_fit": weights.shape_fit * _masked(shape, fitted),
            "expression_fit": weights.expression_fit * _masked(expression, fitted),
            "prior": weights.prior * numbers,
            "quality": weights.quality * _masked((quality[:, 0] - told).square(), batch.has_identity),
        } | self._known(descriptors, batch)

    def _relation(self, descriptors: Tensor, batch: Batch) -> Tensor:
        """Return the mean square error of the cosines among the faces of the batch against the teacher's."""
        named = batch.has_identity > 0
        ours, wanted = self.embed(descriptors)[named], batch.embedding[named]
        return (ours @ ours.T - wanted @ wanted.T).square().mean()

    def _known(self, descriptors: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Return the losses of renders, whose geometry is known."""
        weights, rendered = self.weights, batch.rendered
        shift = (self.landmarks68.project(descriptors) - batch.landmarks68).norm(dim=2).mean(dim=1)
        shape = self.shape_error(descriptors, batch)
        movement = _distance(descriptors[:, GROUPS["expression"]] - batch.expression, self.expression_metric)
        turn = (rotation_matrices(descriptors[:, GROUPS["rotation"]]) - batch.rotation).flatten(1).norm(
            dim=1
        ) / 2.0**0.5
        return {
            "render_landmarks": weights.landmarks * _masked(shift, rendered),
            "render_shape": weights.shape * _masked(shape, rendered),
            "render_expression": weights.movement * _masked(movement, rendered),
            "render_pose": weights.pose * _masked(turn, rendered),
            "steadiness": weights.steadiness * _unsteadiness(descriptors[rendered > 0], batch.person[rendered > 0]),
        }


def _unsteadiness(descriptors: Tensor, person: Tensor) -> Tensor:
    """Return the mean square distance of α within a ``person`` (N,) over that between people; 0 without renders."""
    shape = descriptors[:, GROUPS["shape"]]
    apart = (shape[:, None] - shape).square().sum(dim=2)
    same = (person[:, None] == person).float()
    others = 1.0 - same
    within = (apart * same).sum() / (same.sum() - len(person)).clamp(min=1.0)
    return within / ((apart * others).sum() / others.sum().clamp(min=1.0)).clamp(min=1e-3)


def vertex_metric(model: MorphableModel, basis: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return M (K, K): cᵀ·M·c is the mean square shift in mm² of the face's vertices by coefficients c."""
    flat = basis[:, model.face_region].reshape(len(basis), -1)
    return 3.0 * flat @ flat.T / flat.shape[1]


def _distance(coefficients: Tensor, metric: Tensor) -> Tensor:
    """Return the root mean square shift (N,) in mm of the face's vertices by ``coefficients`` (N, K)."""
    return ((coefficients @ metric) * coefficients).sum(dim=1).clamp(min=1e-6).sqrt()


def _masked(values: Tensor, mask: Tensor) -> Tensor:
    return (values * mask).sum() / mask.sum().clamp(min=1.0)
