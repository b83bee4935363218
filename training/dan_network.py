"""DAN (Wen et al., Distract Your Attention): the network, and the losses of its parts.

A residual network whose features are clustered (FCN), cross-attention heads that each look at a part of the face (MAN),
and their fusion (AFN). Numbers in brackets are the paper's equations.
"""

from typing import Final, NamedTuple

import torch
from torch import Tensor, nn

from training.residual_network import ResidualNetwork

HEADS: Final = 4
CHANNEL_REDUCTION: Final = 16
"""Channels over those inside the auto-encoder of the channel attention."""
LEAST_VARIANCE: Final = 1e-4
"""Keeps the partition loss finite where heads agree."""


class SpatialAttention(nn.Module):
    """One weight for each place, from convolutions of 1×1, then 3×3, 1×3 and 3×1 side by side (paper, figure 4)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = channels // 2
        self.entry = nn.Sequential(nn.Conv2d(channels, inner, 1), nn.BatchNorm2d(inner))
        self.scales = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(inner, channels, size, padding=(size[0] // 2, size[1] // 2)), nn.BatchNorm2d(channels)
            )
            for size in ((3, 3), (1, 3), (3, 1))
        )

    def forward(self, features: Tensor) -> Tensor:
        """Return the weights (N, 1, H, W), zero or more, of a map (N, C, H, W)."""
        entered = self.entry(features)
        joined = torch.stack([scale(entered) for scale in self.scales]).sum(dim=0)
        # The sum over channels runs to hundreds: too much for 16 bits.
        return torch.relu(joined.float()).sum(dim=1, keepdim=True)


class ChannelAttention(nn.Module):
    """One weight for each channel, from an auto-encoder of two linear layers."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = max(channels // CHANNEL_REDUCTION, 4)
        self.layers = nn.Sequential(
            nn.Linear(channels, inner), nn.BatchNorm1d(inner), nn.ReLU(), nn.Linear(inner, channels), nn.Sigmoid()
        )

    def forward(self, pooled: Tensor) -> Tensor:
        """Return the weights (N, C), 0 to 1, of pooled features (N, C)."""
        return self.layers(pooled)


class CrossAttentionHead(nn.Module):
    """Spatial attention s = x' · H(x') [3], then channel attention a = s · H'(s) [4]."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.spatial = SpatialAttention(channels)
        self.channel = ChannelAttention(channels)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Return the head's vector (N, C) and its weights over places (N, 1, H, W)."""
        places = self.spatial(features)
        pooled = (features.float() * places).mean(dim=(2, 3))
        return pooled * self.channel(pooled).float(), places


class Attended(NamedTuple):
    """What DAN makes of N faces.

    ``logits`` (N, classes); ``pooled`` (N, C), the features that are clustered; ``heads`` (N, heads, C), log-softmaxed
    over the heads; ``places`` (N, heads, H, W), where each head looks.
    """

    logits: Tensor
    pooled: Tensor
    heads: Tensor
    places: Tensor


class AttentionNetwork(nn.Module):
    """DAN: pictures (N, 1, S, S) to the logits of the classes."""

    def __init__(self, width: int, classes: int, heads: int = HEADS) -> None:
        super().__init__()
        self.backbone = ResidualNetwork(width)
        channels = self.backbone.channels
        self.heads = nn.ModuleList(CrossAttentionHead(channels) for _ in range(heads))
        self.exit = nn.Sequential(nn.Linear(channels, classes), nn.BatchNorm1d(classes))

    def attend(self, pictures: Tensor) -> Attended:
        """Return everything that the losses and the pictures of attention need."""
        features = self.backbone(pictures)
        vectors, places = zip(*(head(features) for head in self.heads), strict=True)
        stacked = torch.stack(vectors, dim=1)
        # Of one head alone the softmax over heads would be constant.
        scaled = stacked.log_softmax(dim=1) if len(vectors) > 1 else stacked
        logits = self.exit(scaled.sum(dim=1)).float()
        return Attended(logits, features.float().mean(dim=(2, 3)), scaled, torch.cat(places, dim=1))

    def forward(self, pictures: Tensor) -> Tensor:
        """Return the logits (N, classes)."""
        return self.attend(pictures).logits


class ClassCentres(nn.Module):
    """A centre for each class, drawn from a normal distribution and learned with the network."""

    def __init__(self, classes: int, channels: int) -> None:
        super().__init__()
        self.centres = nn.Parameter(torch.randn(classes, channels))

    def centre_loss(self, pooled: Tensor, labels: Tensor) -> Tensor:
        """Return the mean squared distance of ``pooled`` (N, C) from the centres of ``labels`` (N,), over C."""
        return (pooled - self.centres[labels]).square().mean()

    def affinity_loss(self, pooled: Tensor, labels: Tensor) -> Tensor:
        """Return that distance over the variance among the centres, summed over dimensions [2]; a batch's mean."""
        distances = (pooled - self.centres[labels]).square().sum(dim=1)
        return distances.mean() / self.centres.var(dim=0).sum()


def partition_loss(heads: Tensor) -> Tensor:
    """Return the mean of log(1 + k / σ²) over faces and channels, σ² the variance among k ``heads`` (N, k, C) [6]."""
    count = heads.shape[1]
    return torch.log1p(count / (heads.var(dim=1) + LEAST_VARIANCE)).mean()
