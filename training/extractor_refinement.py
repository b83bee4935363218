"""The last step of extraction: texture and light are fitted to the crop's pixels, near what the network told.

Geometry is held. What the face would look like is bilinear in texture and light, so each round linearises it and takes
some steps of conjugate gradients towards the maximum a posteriori: pixels are Gaussian around the redrawn ones, except
where they are far off (hair, glasses, hands), and texture and light are Gaussian around the network's.
"""

from typing import Final

import numpy as np
import torch
from torch import Tensor, nn

from semface.descriptors import GROUPS
from semface.morphable.model import MorphableModel
from training.extractor_losses import harmonics
from training.model_points import ModelPoints, projected
from training.registration import FACING
from training.supervision import colour_vertices

ROUNDS: Final = 2
STEPS: Final = 8
PIXEL_NOISE: Final = 40.0
"""Deviation in grey levels of a pixel around the redrawn one; neighbours err alike, so it is larger than one's own."""
OUTLIER: Final = 40.0
"""Grey levels from which on a pixel counts less and less."""
TEXTURE_SPREAD: Final = 0.5
"""Deviation of the texture around what the network told, in its own units; so is the next for light."""
LIGHT_SPREAD: Final = 0.1

TEXTURE_SIZE: Final = 80


class PixelRefinement(nn.Module):
    """Descriptors (N, 257) of planar pixels (N, 3, S, S), 0 to 255, to descriptors that redraw the pixels better."""

    def __init__(self, model: MorphableModel) -> None:
        super().__init__()
        where = colour_vertices(model)
        offsets = (model.shape_basis[:, where], model.expression_basis[:, where])
        self.points = ModelPoints(model.mean_shape[where], *offsets)
        parts = {
            "normals": model.normals(model.mean_shape[None])[0, where],
            "albedo": model.mean_albedo[where].reshape(1, -1),
            "texture": model.texture_basis[:, where].reshape(len(model.texture_basis), -1),
            "spread": np.concatenate([np.full(TEXTURE_SIZE, TEXTURE_SPREAD), np.full(27, LIGHT_SPREAD)]),
        }
        for name, array in parts.items():
            self.register_buffer(name, torch.tensor(array, dtype=torch.float32))

    def forward(self, pixels: Tensor, descriptors: Tensor) -> Tensor:
        """Return the refined descriptors (N, 257)."""
        colours, light, seen = self._look(pixels, descriptors)
        told = torch.cat([descriptors[:, GROUPS["texture"]], descriptors[:, GROUPS["illumination"]]], dim=1)
        found = told
        for _ in range(ROUNDS):
            albedo = (self.albedo + found[:, :TEXTURE_SIZE] @ self.texture).unflatten(1, (-1, 3))
            shade = (1.0 + light @ found[:, TEXTURE_SIZE:].view(-1, 3, 9).transpose(1, 2)).clamp(min=0.0)
            residual = colours - albedo * shade
            distance = residual.abs().mean(dim=2, keepdim=True) / OUTLIER
            weights = seen / (1.0 + distance * distance) / PIXEL_NOISE**2
            found = found + self._step(found - told, residual, weights, albedo, shade, light)
        before, after = GROUPS["texture"], GROUPS["illumination"]
        return torch.cat(
            [
                descriptors[:, : before.start],
                found[:, :TEXTURE_SIZE],
                descriptors[:, before.stop : after.start],
                found[:, TEXTURE_SIZE:],
            ],
            dim=1,
        )

    def _look(self, pixels: Tensor, descriptors: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the crop's colours (N, R, 3) at the vertices, their harmonics (N, R, 9), and who is seen (N, R, 1)."""
        place, rotation = self.points.seen(descriptors)
        # From the square's middle, in halves of its side, y downwards.
        grid = 2.0 * projected(place) - 1.0
        colours = nn.functional.grid_sample(pixels, grid[:, None], align_corners=False)[:, :, 0].transpose(1, 2)
        normals = self.normals @ rotation.transpose(1, 2)
        inside = (grid.abs() < 1.0).all(dim=2, keepdim=True)
        return colours, harmonics(normals), ((normals[..., 2:] > FACING) & inside).float()

    def _step(
        self, moved: Tensor, residual: Tensor, weights: Tensor, albedo: Tensor, shade: Tensor, light: Tensor
    ) -> Tensor:
        """Return the change (N, 107) of texture and light; the unknowns of the inner loop have unit spread."""

        def changed(unknown: Tensor) -> Tensor:
            scaled = unknown * self.spread
            texture = (scaled[:, :TEXTURE_SIZE] @ self.texture).unflatten(1, (-1, 3))
            return texture * shade + albedo * (light @ scaled[:, TEXTURE_SIZE:].view(-1, 3, 9).transpose(1, 2))

        def pulled(pixels: Tensor) -> Tensor:
            texture = (pixels * shade).flatten(1) @ self.texture.T
            lit = (pixels * albedo).transpose(1, 2) @ light
            return torch.cat([texture, lit.flatten(1)], dim=1) * self.spread

        wanted = pulled(weights * residual) - moved / self.spread
        answer = torch.zeros_like(wanted)
        left, direction = wanted, wanted
        power = (left * left).sum(dim=1, keepdim=True)
        for _ in range(STEPS):
            image = direction + pulled(weights * changed(direction))
            length = power / (direction * image).sum(dim=1, keepdim=True).clamp(min=1e-12)
            answer = answer + length * direction
            left = left - length * image
            following = (left * left).sum(dim=1, keepdim=True)
            direction = left + following / power.clamp(min=1e-12) * direction
            power = following
        return answer * self.spread
