"""The codec's auto-encoder: g_a and g_s with GDN, a learned prior, and gains that make several qualities of one model.

Fully connected layers, ReLU, generalised divisive normalisation and ResNet shortcuts, 256 latents (paper, section
II.C). The paper's is one network for the whole face (``WholeFace``). Ours are block-diagonal (``Widths``): each portion
of the face has an analysis and a synthesis of its own, so that its latents can be decoded without the others.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from semface.codec.prior import LATENT_SIZE, PORTION_LATENTS
from semface.descriptors import DESCRIPTOR_SIZE, PORTION_SLICES

SMALLEST_SCALE = 1e-3
"""A number that hardly varies in training is divided by no less than this, so that it cannot explode later."""

MARGIN = 1.0
"""How far beyond the extremes of training a number may lie before it is clamped, in standard deviations."""

COMPONENTS = 3
"""Logistic densities mixed in each latent's prior."""

LIKELIHOOD_FLOOR = 2.0**-16
"""No symbol costs more than 16 bits in the frozen tables; so in training."""

HALFWAY = ("medium-high", "medium")
"""A quality that costs no training, and the one that it follows: its gains lie between those of its neighbours."""

PORTIONS = tuple(PORTION_LATENTS)


@dataclass(frozen=True, slots=True)
class Block:
    """A part of the face with transforms of its own: its descriptors, its latents, the width of its hidden layers."""

    descriptors: slice
    latents: slice
    width: int


@dataclass(frozen=True, slots=True)
class Widths:
    """Width of the hidden layers of each portion's networks."""

    identity: int
    expression: int
    illumination: int

    @property
    def blocks(self) -> tuple[Block, ...]:
        """One for each portion."""
        widths = {portion: int(getattr(self, str(portion.name).lower())) for portion in PORTIONS}
        return tuple(Block(PORTION_SLICES[one], PORTION_LATENTS[one], width) for one, width in widths.items())


@dataclass(frozen=True, slots=True)
class WholeFace:
    """Width of the hidden layers of one network for the whole face, as the paper has it."""

    width: int

    @property
    def blocks(self) -> tuple[Block, ...]:
        """A single one: every latent hangs on every descriptor."""
        return (Block(slice(0, DESCRIPTOR_SIZE), slice(0, LATENT_SIZE), self.width),)


class GDN(nn.Module):
    """Generalised divisive normalisation, y = x / √(β + Γ x²); its inverse multiplies instead (Ballé et al., 2016)."""

    def __init__(self, width: int, inverse: bool = False) -> None:
        """Start near the identity. β stays above 0 and Γ at least 0 because their roots are learned."""
        super().__init__()
        self.inverse = inverse
        self.beta_root = nn.Parameter(torch.ones(width))
        self.gamma_root = nn.Parameter(torch.full((width, width), 1e-2) + math.sqrt(0.1) * torch.eye(width))

    def forward(self, values: Tensor) -> Tensor:
        """Return the normalised ``values`` (N, width)."""
        energy = self.beta_root.square() + 1e-6 + values.square() @ self.gamma_root.square()
        norm = torch.sqrt(energy)
        return values * norm if self.inverse else values / norm


class _Transform(nn.Module):
    """Fully connected, (I)GDN, a residual block with ReLU, fully connected; a shortcut leads past all of it."""

    def __init__(self, inputs: int, outputs: int, width: int, inverse: bool) -> None:
        super().__init__()
        self.shortcut = nn.Linear(inputs, outputs)
        self.entry = nn.Linear(inputs, width)
        self.normalisation = GDN(width, inverse)
        self.block = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width))
        self.exit = nn.Linear(width, outputs)

    def forward(self, values: Tensor) -> Tensor:
        hidden = self.entry(values)
        # GDN tames latents on the way in; its inverse restores their energy last, on the way out.
        if self.normalisation.inverse:
            hidden = self.normalisation(hidden + self.block(hidden))
        else:
            hidden = self.normalisation(hidden)
            hidden = hidden + self.block(hidden)
        return self.shortcut(values) + self.exit(hidden)

    def start_linear(self, matrix: Tensor) -> None:
        """Start as multiplication by ``matrix`` (outputs, inputs); all else begins at zero and is learned."""
        with torch.no_grad():
            self.shortcut.weight.copy_(matrix)
            for values in (self.shortcut.bias, self.exit.weight, self.exit.bias):
                values.zero_()


class _Side(nn.Module):
    """The transforms of all blocks side by side: of descriptors, or back from latents where ``inverse``."""

    def __init__(self, blocks: Sequence[Block], inverse: bool) -> None:
        super().__init__()
        ends = [(one.latents, one.descriptors) if inverse else (one.descriptors, one.latents) for one in blocks]
        self.sources = [source for source, _ in ends]
        self.transforms = nn.ModuleList(
            _Transform(source.stop - source.start, target.stop - target.start, block.width, inverse)
            for block, (source, target) in zip(blocks, ends, strict=True)
        )

    def forward(self, values: Tensor) -> Tensor:
        parts = [one(values[:, where]) for one, where in zip(self.transforms, self.sources, strict=True)]
        return torch.cat(parts, dim=1)


class CodecNetwork(nn.Module):
    """Both transforms, the learned density of each latent, and a gain for each quality and latent."""

    def __init__(self, samples: NDArray[np.float32], layout: Widths | WholeFace, qualities: int) -> None:
        """Standardise by the statistics of ``samples`` (N, 257) and clamp just outside of what they hold."""
        super().__init__()
        mean, scale = samples.mean(axis=0), np.maximum(samples.std(axis=0), SMALLEST_SCALE)
        standard = (samples - mean) / scale
        self.register_buffer("mean", torch.from_numpy(mean))
        self.register_buffer("scale", torch.from_numpy(scale))
        self.register_buffer("lowest", torch.from_numpy(standard.min(axis=0) - MARGIN))
        self.register_buffer("highest", torch.from_numpy(standard.max(axis=0) + MARGIN))
        # Latents are centred at the end, so that what rounds to nothing is the middle of their distribution.
        self.register_buffer("centre", torch.zeros(LATENT_SIZE))
        self.blocks = layout.blocks
        self.analysis = _Side(self.blocks, inverse=False)
        self.synthesis = _Side(self.blocks, inverse=True)
        self.log_gains = nn.Parameter(torch.zeros(qualities, LATENT_SIZE))
        self.mixture = nn.Parameter(torch.zeros(COMPONENTS, LATENT_SIZE))
        self.locations = nn.Parameter(torch.zeros(COMPONENTS, LATENT_SIZE))
        self.log_scales = nn.Parameter(torch.linspace(-1, 1, COMPONENTS)[:, None].repeat(1, LATENT_SIZE))

    def add_quality(self, after: int) -> None:
        """Add a quality behind number ``after``: its gains are the geometric means of its neighbours'.

        What lies between trained gains codes as well as they do (Cui et al., Asymmetric Gained Deep Image Compression,
        2021).
        """
        gains = self.log_gains.detach()
        between = gains[after : after + 2].mean(dim=0, keepdim=True)
        self.log_gains = nn.Parameter(torch.cat([gains[: after + 1], between, gains[after + 1 :]]))

    def standardise(self, descriptors: Tensor) -> Tensor:
        """Return ``descriptors`` (N, 257) in standard deviations of training, clamped."""
        return ((descriptors - self.mean) / self.scale).clamp(self.lowest, self.highest)

    def analyse(self, standard: Tensor) -> Tensor:
        """Return the latents (N, 256) of standardised descriptors."""
        return self.analysis(standard) - self.centre

    def synthesise(self, latents: Tensor) -> Tensor:
        """Return standardised descriptors (N, 257), not clamped: training has to feel what lies outside."""
        return self.synthesis(latents + self.centre)

    def cumulative(self, latents: Tensor) -> Tensor:
        """Return the learned probability that a latent lies below each of ``latents`` (N, 256) (factorised prior)."""
        places = (latents + self.centre - self.locations[:, None]) * torch.exp(-self.log_scales)[:, None]
        return (torch.softmax(self.mixture, dim=0)[:, None] * torch.sigmoid(places)).sum(dim=0)

    def bits(self, latents: Tensor, gains: Tensor) -> Tensor:
        """Return −log2 of the probability (N, 256) of the bin, 1 / ``gains`` (N, 256) wide, around each latent."""
        half = 0.5 / gains
        mass = self.cumulative(latents + half) - self.cumulative(latents - half)
        return -torch.log2(mass.clamp_min(LIKELIHOOD_FLOOR))

    def start_linear(self, standard: Tensor, metric: Tensor) -> None:
        """Start both sides as the components of ``standard`` (N, 257) that ``metric`` sees most of, block by block.

        ``metric`` (257, 257), positive: zᵀ·M·z is what an error z of standardised numbers costs. An error of one in any
        latent then costs one. Latents beyond the number of components start silent. Gains and priors are left to the
        caller.
        """
        sides = zip(self.blocks, self.analysis.transforms, self.synthesis.transforms, strict=True)
        for block, forth, back in sides:
            where, latents = block.descriptors, block.latents
            part = standard[:, where].double()
            costs, directions = torch.linalg.eigh(metric[where, where].double())
            root = directions * costs.sqrt() @ directions.T
            variances, axes = torch.linalg.eigh(root @ (part.T @ part / len(part)) @ root)
            axes = axes[:, torch.argsort(variances, descending=True)]
            size, room = where.stop - where.start, latents.stop - latents.start
            kept = min(room, size)
            matrix, inverse = torch.zeros(room, size), torch.zeros(size, room)
            matrix[:kept] = (axes.T @ root)[:kept].float()
            inverse[:, :kept] = torch.linalg.solve(root, axes)[:, :kept].float()
            forth.start_linear(matrix)
            back.start_linear(inverse)

    def match_priors(self, latents: Tensor) -> None:
        """Start the density of each latent at the middle and spread of ``latents`` (N, 256)."""
        with torch.no_grad():
            self.locations.copy_(latents.mean(dim=0).expand_as(self.locations))
            # A logistic of scale s has deviation 1.81 s.
            spread = torch.log(latents.std(dim=0).clamp_min(1e-3) / 1.81)
            self.log_scales.copy_(spread + torch.linspace(-0.5, 0.5, COMPONENTS)[:, None])

    def centre_latents(self, latents: Tensor) -> None:
        """Move zero to the median of each of ``latents`` (N, 256), as ``analyse`` gives them now."""
        self.centre += latents.median(dim=0).values


class Analysis(nn.Module):
    """g_a as it is served: descriptors (N, 257) to latents (N, 256)."""

    def __init__(self, network: CodecNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, descriptors: Tensor) -> Tensor:
        """Return the latents."""
        return self.network.analyse(self.network.standardise(descriptors))


class Synthesis(nn.Module):
    """g_s as it is served: dequantised latents (N, 256) to descriptors (N, 257), clamped just outside training."""

    def __init__(self, network: CodecNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, latents: Tensor) -> Tensor:
        """Return the descriptors."""
        network = self.network
        standard = network.synthesise(latents).clamp(network.lowest, network.highest)
        return standard * network.scale + network.mean
