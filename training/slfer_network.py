"""SLFER (Lv et al., Semantic Learning for Facial Expression Recognition): a residual network with two tasks more.

Segmentation and classification of the parts of the face teach the backbone where they are; both are dropped when the
network answers. Numbers in brackets are the paper's equations.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from training.pixel_faces import SIDE
from training.residual_network import ResidualNetwork

SEGMENTED: tuple[int, ...] = (32, 24, 16, 16)
"""Channels of the segmentation after the joint map, and after each of its three pairs."""
HIDDEN: tuple[int, int] = (128, 64)
"""Widths inside the three fully connected layers that tell the expression."""
COMPONENT_WIDTH = 64


class Told(NamedTuple):
    """What SLFER makes of N faces: logits (N, classes); of J parts logits (N, J, S, S), and (N, J) of dominance."""

    logits: Tensor
    pixels: Tensor
    components: Tensor


class Segmentation(nn.Module):
    """The maps of stages 3 and 4 to a class for each pixel."""

    def __init__(self, third: int, fourth: int, components: int) -> None:
        super().__init__()
        first, *widths = SEGMENTED
        self.join = _convolution(third + fourth, first)
        self.pairs = nn.ModuleList(_convolution(a, b) for a, b in zip(SEGMENTED, widths, strict=False))
        self.exit = nn.Conv2d(widths[-1], components, 1)

    def forward(self, third: Tensor, fourth: Tensor) -> Tensor:
        """Return logits (N, J, SIDE, SIDE); each enlargement doubles the side, the last reaches the picture's."""
        features = self.join(torch.cat([third, _enlarged(fourth, third.shape[-1])], dim=1))
        side = 2 * third.shape[-1]
        features = _enlarged(features, side)
        for pair in self.pairs:
            side = min(2 * side, SIDE)
            features = pair(_enlarged(features, side))
        return self.exit(features)


def _convolution(inputs: int, outputs: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)
    )


def _enlarged(features: Tensor, side: int) -> Tensor:
    return nn.functional.interpolate(features, size=(side, side), mode="bilinear", align_corners=False)


class SemanticNetwork(nn.Module):
    """SLFER: pictures (N, 1, S, S) to the logits of the classes."""

    def __init__(self, width: int, classes: int, components: int, *, squeeze_excitation: bool = True) -> None:
        super().__init__()
        self.backbone = ResidualNetwork(width, squeeze_excitation=squeeze_excitation)
        channels = self.backbone.channels
        wide, narrow = HIDDEN
        self.exit = nn.Sequential(
            nn.Linear(channels, wide), nn.ReLU(), nn.Linear(wide, narrow), nn.ReLU(), nn.Linear(narrow, classes)
        )
        self.segmentation = Segmentation(channels // 2, channels, components)
        self.classification = nn.Sequential(
            nn.Linear(channels, COMPONENT_WIDTH), nn.ReLU(), nn.Linear(COMPONENT_WIDTH, components)
        )

    def tell(self, pictures: Tensor) -> Told:
        """Return the answers of all three tasks."""
        *_, third, fourth = self.backbone.maps(pictures)
        pooled = fourth.mean(dim=(2, 3))
        return Told(
            self.exit(pooled).float(), self.segmentation(third, fourth).float(), self.classification(pooled).float()
        )

    def forward(self, pictures: Tensor) -> Tensor:
        """Return the logits (N, classes) alone."""
        return self.exit(self.backbone(pictures).mean(dim=(2, 3))).float()


def segmentation_loss(pixels: Tensor, masks: Tensor, unknown: int) -> Tensor:
    """Return the mean cross-entropy of ``pixels`` (N, J, S, S) over the known ones of ``masks`` (N, S, S) [2]."""
    known = masks != unknown
    losses = nn.functional.cross_entropy(pixels, masks, ignore_index=unknown, reduction="sum")
    return losses / known.sum().clamp_min(1)


def classification_loss(components: Tensor, dominant: Tensor, known: Tensor) -> Tensor:
    """Return the binary cross-entropy of ``components`` (N, J), summed over these, over the ``known`` (N,) faces [3].

    The paper's equation lacks its minus sign.
    """
    losses = nn.functional.binary_cross_entropy_with_logits(components, dominant, reduction="none").sum(dim=1)
    return (losses * known).sum() / known.sum().clamp_min(1)
