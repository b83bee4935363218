"""What coding takes away, measured where it matters: in millimetres, grey levels and the answers of the two tasks.

The plain error of 257 unequal numbers would spend as many bits on a direction that nobody sees as on the jaw.
"""

from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from semface.descriptors import DESCRIPTOR_SIZE, GROUPS
from semface.morphable.camera import DISTANCE
from semface.morphable.illumination import CHANNELS, harmonics
from semface.morphable.model import MorphableModel
from training.extractor_losses import MorphableLosses, Weights, vertex_metric

MILLIMETRE: Final = 1.0
"""Weight of one millimetre at the face's vertices: of shape, of movement (expression, rotation, translation)."""
GREY_LEVEL: Final = 0.1
"""Weight of one grey level on the face: of texture, of light."""
IDENTITY: Final = 40.0
"""Weight of one less the cosine between the embeddings before and after, where a training names no other."""
EXPRESSION: Final = 4.0
"""Weight of the divergence, in nats, of the expression's confidences."""
NUMBERS: Final = 0.3
"""Weight of the mean absolute error of the standardised numbers, which keeps in place what nothing else does."""

SEEN: Final = {
    "shape": (MILLIMETRE, GROUPS["shape"]),
    "movement": (MILLIMETRE, slice(GROUPS["expression"].start, GROUPS["translation"].stop)),
    "texture": (GREY_LEVEL, GROUPS["texture"]),
    "illumination": (GREY_LEVEL, GROUPS["illumination"]),
}
"""What is seen on the face: its weight, and the numbers that make it."""

TYPICAL: Final = {MILLIMETRE: 1.0, GREY_LEVEL: 5.0}
"""Root mean square errors around which ``metric`` takes the slope of what is seen: in mm, in grey levels."""


class Distortion(nn.Module):
    """The distortion of decoded descriptors; the heads of the extraction network's training stand for the two tasks."""

    def __init__(
        self, model: MorphableModel, heads: dict[str, Tensor], scale: Tensor, identity: float = IDENTITY
    ) -> None:
        """Take the state ``heads`` of :class:`MorphableLosses`, and each number's deviation ``scale`` (257,).

        ``identity`` weighs one less the cosine between the embeddings before and after.
        """
        super().__init__()
        self.identity = identity
        self.tasks = MorphableLosses(model, np.flatnonzero(model.face_region), Weights())
        self.tasks.load_state_dict(heads)
        self.tasks.requires_grad_(False)
        metrics = {
            "shape": vertex_metric(model, model.shape_basis),
            "movement": _movement_metric(model),
            "texture": vertex_metric(model, model.texture_basis),
            "illumination": _light_metric(model),
        }
        for name, metric in metrics.items():
            self.register_buffer(name, torch.tensor(metric, dtype=torch.float32))
        self.register_buffer("scale", scale)

    def forward(self, received: Tensor, sent: Tensor) -> Tensor:
        """Return the distortion (N,) of ``received`` against ``sent``, both (N, 257) in descriptors' own units."""
        off = received - sent
        total = NUMBERS * (off / self.scale).abs().mean(dim=1)
        for name, (weight, where) in SEEN.items():
            part = off[:, where]
            # The root's slope has no bound at zero.
            total = total + weight * (((part @ getattr(self, name)) * part).sum(dim=1) + 1e-4).sqrt()
        with torch.no_grad():
            person, mood = self.tasks.embed(sent), torch.softmax(self.tasks.classify(sent), dim=1)
        cosine = (self.tasks.embed(received) * person).sum(dim=1)
        told = torch.log_softmax(self.tasks.classify(received), dim=1)
        divergence = (mood * (torch.log(mood.clamp_min(1e-6)) - told)).sum(dim=1)
        return total + self.identity * (1.0 - cosine) + EXPRESSION * divergence

    def metric(self, faces: Tensor) -> Tensor:
        """Return M (257, 257): zᵀ·M·z is about the distortion by a small error z, in standard deviations, of ``faces``.

        The slopes of the two tasks' answers are those in the mean over ``faces`` (N, 257), in their own units.
        """
        total = NUMBERS / DESCRIPTOR_SIZE * torch.eye(DESCRIPTOR_SIZE)
        for name, (weight, where) in SEEN.items():
            part = torch.diag(self.scale[where]) @ getattr(self, name) @ torch.diag(self.scale[where])
            total[where, where] += weight / (2 * TYPICAL[weight]) * part
        embedding = torch.func.vmap(torch.func.jacrev(lambda face: self.tasks.embed(face[None])[0]))(faces)
        logits = torch.func.vmap(torch.func.jacrev(lambda face: self.tasks.classify(face[None])[0]))(faces)
        told = torch.softmax(self.tasks.classify(faces), dim=1)
        # The divergence's second order: the covariance of the answers' indicator.
        spread = logits - (told[:, :, None] * logits).sum(dim=1, keepdim=True)
        tasks = self.identity / 2 * torch.einsum("nki,nkj->ij", embedding, embedding)
        tasks = tasks + EXPRESSION / 2 * torch.einsum("nk,nki,nkj->ij", told, spread, spread)
        return total + self.scale[:, None] * (tasks / len(faces)) * self.scale


def _movement_metric(model: MorphableModel) -> NDArray[np.float64]:
    """Return M (70, 70) of expression, rotation (small, of the mean head seen from the front) and translation."""
    mean = model.mean_shape[model.face_region].astype(float)
    x, y, z = (mean - mean.mean(axis=0)).T
    none, one = np.zeros_like(x), np.ones_like(x)
    turns = [(none, -z, y), (z, none, -x), (-y, x, none)]
    # Depth shows only as size.
    shifts = [(one, none, none), (none, one, none), (x / DISTANCE, y / DISTANCE, none)]
    rigid = np.array([np.stack(move, axis=1) for move in (*turns, *shifts)])
    flat = np.concatenate([model.expression_basis[:, model.face_region], rigid]).reshape(70, -1)
    return 3.0 * flat @ flat.T / flat.shape[1]


def _light_metric(model: MorphableModel) -> NDArray[np.float64]:
    """Return M (27, 27): γᵀ·M·γ is the mean square change in grey levels of the mean face seen from the front."""
    basis = harmonics(model.normals(model.mean_shape[None])[0, model.face_region])
    albedo = model.mean_albedo[model.face_region]
    metric = np.zeros((27, 27))
    for channel in range(CHANNELS):
        lit = basis * albedo[:, channel, None]
        where = slice(channel * basis.shape[1], (channel + 1) * basis.shape[1])
        metric[where, where] = lit.T @ lit / len(lit)
    return metric
