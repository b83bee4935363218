"""ResNet-18 (He et al., 2016) for small faces, with squeeze-and-excitation (Hu et al., 2018) where it is wanted.

The first convolution is 3×3 with stride 2 and no pooling follows it: the faces have 56 pixels a side, not 224.
"""

from typing import Final

import torch
from torch import Tensor, nn

STAGES: Final = 4
"""Stages of two blocks each; a stage has twice the channels and half the side of the one before."""
REDUCTION: Final = 16
"""Channels of a block over those inside its squeeze-and-excitation."""


class SqueezeExcitation(nn.Module):
    """Weighs the channels of a map (N, C, H, W) by what is in all of it."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = max(channels // REDUCTION, 4)
        last = nn.Conv2d(inner, channels, 1)
        # It begins near one, so that the weights of a network without it are a start.
        nn.init.constant_(last.bias, 2.0)
        self.weights = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(channels, inner, 1), nn.ReLU(inplace=True), last, nn.Sigmoid()
        )

    def forward(self, features: Tensor) -> Tensor:
        """Return the weighed map."""
        return features * self.weights(features)


class Block(nn.Module):
    """Two 3×3 convolutions with batch norm, and a shortcut around them."""

    def __init__(self, inputs: int, outputs: int, stride: int, squeeze_excitation: bool) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
            nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.squeeze_excitation = SqueezeExcitation(outputs) if squeeze_excitation else nn.Identity()
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, features: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, H / stride, W / stride)."""
        return torch.relu(self.squeeze_excitation(self.layers(features)) + self.shortcut(features))


class ResidualNetwork(nn.Module):
    """Pictures (N, inputs, S, S) to the maps of four stages: at S / 2, S / 4, S / 8 and S / 16, sides rounded up."""

    def __init__(self, width: int, inputs: int = 1, *, squeeze_excitation: bool = False) -> None:
        """Give the first stage ``width`` channels: 64 is the ResNet-18 of the papers, 32 is half of it."""
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(inputs, width, 3, 2, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True)
        )
        channels = [width, *(width << stage for stage in range(STAGES))]
        self.stages = nn.ModuleList(
            nn.Sequential(
                Block(channels[stage], channels[stage + 1], 1 if stage == 0 else 2, squeeze_excitation),
                Block(channels[stage + 1], channels[stage + 1], 1, squeeze_excitation),
            )
            for stage in range(STAGES)
        )
        self.channels = channels[-1]

    def maps(self, pictures: Tensor) -> list[Tensor]:
        """Return the map of each stage, (N, width · 2^stage, H, W)."""
        features, maps = self.stem(pictures), []
        for stage in self.stages:
            features = stage(features)
            maps.append(features)
        return maps

    def forward(self, pictures: Tensor) -> Tensor:
        """Return the last map (N, channels, S / 16, S / 16)."""
        return self.maps(pictures)[-1]
