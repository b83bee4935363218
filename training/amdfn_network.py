"""AMDFN: a ResNet-18 over the eight attribute images of a scan, with attention over its layers.

Gu et al., "3-D facial expression recognition via attention-based multichannel data fusion network", 2022, section III.C
and D. All channels go into one network (fusion of the data); :class:`FeatureFusion` and :class:`ScoreFusion` are what
the paper compares with: one network for each attribute.
"""

from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor, nn

from semface.extraction.scans.attribute_images import CHANNELS
from semface.meaning import SCAN_EXPRESSIONS

WIDTH: Final = 32
"""Channels of the first stage: half of ResNet-18's."""
STAGES: Final = 4
ATTRIBUTES: Final = {
    "normal_x": (0,),
    "normal_y": (1,),
    "normal_z": (2,),
    "depth": (3,),
    "shape_index": (4,),
    "texture": (5, 6, 7),
}
"""The six attributes and their channels among ``CHANNELS``."""
FEATURES: Final = 64
"""Numbers that each network gives to the fusion of features."""


class Block(nn.Module):
    """Two 3 × 3 convolutions beside a short cut (He et al., 2016)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.first_norm = nn.BatchNorm2d(outputs)
        self.second = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.second_norm = nn.BatchNorm2d(outputs)
        self.short_cut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.short_cut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Return features (N, outputs, H / stride, W / stride) of ``x`` (N, inputs, H, W)."""
        y = torch.relu(self.first_norm(self.first(x)))
        return torch.relu(self.second_norm(self.second(y)) + self.short_cut(x))


class LayerAttention(nn.Module):
    """Weighs the features of the stages by what all of them say (equations 10 and 11)."""

    def __init__(self, layers: int = STAGES) -> None:
        super().__init__()
        self.gate = nn.Linear(layers, layers)

    def forward(self, layers: Sequence[Tensor]) -> Tensor:
        """Return the weighted layers side by side, (N, L · C, H, W), of L ``layers`` (N, C, H, W)."""
        stacked = torch.stack(list(layers), dim=1)
        weights = torch.sigmoid(torch.relu(self.gate(stacked.mean(dim=(2, 3, 4)))))
        return (stacked * weights[:, :, None, None, None]).flatten(1, 2)


class Backbone(nn.Module):
    """ResNet-18 without its classifier. The paper's keeps twice the resolution, 7 × 7 in the last stage; here 4 × 4."""

    def __init__(self, channels: int, width: int = WIDTH) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(channels, width, 7, 2, 3, bias=False), nn.BatchNorm2d(width), nn.ReLU())
        widths = [width << stage for stage in range(STAGES)]
        self.stages = nn.ModuleList(
            nn.Sequential(Block(inputs, outputs, stride), Block(outputs, outputs, 1))
            for inputs, outputs, stride in zip([width, *widths], widths, (1, 2, 2, 2), strict=False)
        )
        self.widths = widths

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return the shallow features F0 and those of the four stages of ``images`` (N, channels, 112, 112)."""
        features = [self.stem(images)]
        x = nn.functional.max_pool2d(features[0], 3, 2, 1)
        for stage in self.stages:
            x = stage(x)
            features.append(x)
        return features


def _reduction(inputs: int, outputs: int, halvings: int) -> nn.Sequential:
    """Return what brings features to the size of the last stage's: pooling ``halvings`` times, and a convolution."""
    pools = [nn.AvgPool2d(3, 2, 1) for _ in range(halvings)]
    return nn.Sequential(*pools, nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs))


class AttentionFusionNetwork(nn.Module):
    """AMDFN itself. Without ``attention`` the last stage and the shallow features alone are summed."""

    def __init__(
        self,
        channels: Sequence[int] = tuple(range(len(CHANNELS))),
        width: int = WIDTH,
        attention: bool = True,
        classes: int = len(SCAN_EXPRESSIONS),
    ) -> None:
        super().__init__()
        self.channels = list(channels)
        self.backbone = Backbone(len(self.channels), width)
        *lower, last = self.backbone.widths
        self.shallow = _reduction(width, last, STAGES)
        self.attention = LayerAttention() if attention else None
        if attention:
            self.reductions = nn.ModuleList(
                _reduction(outputs, last, STAGES - 1 - stage) for stage, outputs in enumerate(lower)
            )
            self.fusion = nn.Sequential(nn.Conv2d(STAGES * last, last, 1, bias=False), nn.BatchNorm2d(last))
        self.dropout = nn.Dropout(0.3)
        self.prediction = nn.Conv2d(last, classes, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, classes) of ``images`` (N, 8, 112, 112)."""
        picked = images if len(self.channels) == len(CHANNELS) else images[:, self.channels]
        f0, *layers = self.backbone(picked)
        total = layers[-1] + self.shallow(f0)
        if self.attention is not None:
            reduced = [reduce(layer) for reduce, layer in zip(self.reductions, layers[:-1], strict=True)]
            total = total + self.fusion(self.attention([*reduced, layers[-1]]))
        return self.prediction(self.dropout(torch.relu(total))).mean(dim=(2, 3))


class FeatureFusion(nn.Module):
    """One ResNet-18 for each attribute; 64 features of each are laid side by side and classified."""

    def __init__(self, width: int = WIDTH, classes: int = len(SCAN_EXPRESSIONS)) -> None:
        super().__init__()
        self.networks = nn.ModuleList(Backbone(len(channels), width) for channels in ATTRIBUTES.values())
        self.features = nn.ModuleList(nn.Linear(network.widths[-1], FEATURES) for network in self.networks)
        self.classifier = nn.Linear(FEATURES * len(ATTRIBUTES), classes)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, classes) of ``images`` (N, 8, 112, 112)."""
        parts = [
            feature(network(images[:, channels])[-1].mean(dim=(2, 3)))
            for channels, network, feature in zip(ATTRIBUTES.values(), self.networks, self.features, strict=True)
        ]
        return self.classifier(torch.cat(parts, dim=1))


class ScoreFusion(nn.Module):
    """One ResNet-18 with its own classifier for each attribute; their confidences are averaged."""

    def __init__(self, width: int = WIDTH, classes: int = len(SCAN_EXPRESSIONS)) -> None:
        super().__init__()
        self.networks = nn.ModuleList(Backbone(len(channels), width) for channels in ATTRIBUTES.values())
        self.classifiers = nn.ModuleList(nn.Linear(network.widths[-1], classes) for network in self.networks)

    def forward(self, images: Tensor) -> Tensor:
        """Return log-confidences (N, classes) of ``images`` (N, 8, 112, 112)."""
        scores = [
            classifier(network(images[:, channels])[-1].mean(dim=(2, 3))).softmax(dim=1)
            for channels, network, classifier in zip(ATTRIBUTES.values(), self.networks, self.classifiers, strict=True)
        ]
        return torch.stack(scores).mean(dim=0).log()


def parameter_count(network: nn.Module) -> int:
    """Return how many numbers ``network`` learns."""
    return sum(parameter.numel() for parameter in network.parameters())
