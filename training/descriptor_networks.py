"""The two networks that read descriptors, and their fitting (paper, section II.D).

Both are fully connected layers with ReLU and ResNet shortcuts behind a standardisation by training statistics.
"""

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from tqdm import tqdm

SMALLEST_SCALE = 1e-3
"""A number that hardly varies in training is divided by no less than this, so that it cannot explode later."""


@dataclass(frozen=True, slots=True)
class Shape:
    """Size of a descriptor network. ``blocks`` are residual, each of two fully connected layers of ``width``."""

    inputs: int
    outputs: int
    width: int
    blocks: int
    dropout: float


class _Block(nn.Module):
    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(width, width), nn.ReLU(), nn.Dropout(dropout), nn.Linear(width, width), nn.Dropout(dropout)
        )
        # A block that starts as the identity lets deep and shallow networks train alike.
        nn.init.zeros_(self.layers[3].weight)
        nn.init.zeros_(self.layers[3].bias)

    def forward(self, values: Tensor) -> Tensor:
        return torch.relu(values + self.layers(values))


class DescriptorNetwork(nn.Module):
    """Fully connected network with ReLU and shortcuts; a last shortcut leads from the input straight to the output."""

    def __init__(self, shape: Shape, samples: NDArray[np.float32]) -> None:
        """Standardise inputs by the statistics of ``samples`` (N, inputs)."""
        super().__init__()
        self.register_buffer("mean", torch.from_numpy(samples.mean(axis=0)))
        self.register_buffer("scale", torch.from_numpy(np.maximum(samples.std(axis=0), SMALLEST_SCALE)))
        self.entry = nn.Sequential(nn.Linear(shape.inputs, shape.width), nn.ReLU(), nn.Dropout(shape.dropout))
        self.blocks = nn.Sequential(*(_Block(shape.width, shape.dropout) for _ in range(shape.blocks)))
        self.exit = nn.Linear(shape.width, shape.outputs)
        self.shortcut = nn.Linear(shape.inputs, shape.outputs, bias=False)

    def standardise(self, descriptors: Tensor) -> Tensor:
        """Return ``descriptors`` (N, inputs) with mean 0 and deviation 1 over the training samples."""
        return (descriptors - self.mean) / self.scale

    def forward(self, standardised: Tensor) -> Tensor:
        """Return the outputs (N, outputs) for standardised inputs."""
        return self.exit(self.blocks(self.entry(standardised))) + self.shortcut(standardised)


class ExpressionRecognizer(nn.Module):
    """Descriptors (N, 70) to confidences (N, 8) that sum to one, softened by a temperature."""

    def __init__(self, network: DescriptorNetwork, temperature: float) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("temperature", torch.tensor(float(temperature)))

    def forward(self, descriptors: Tensor) -> Tensor:
        """Return the confidences."""
        logits = self.network(self.network.standardise(descriptors))
        return torch.softmax(logits / self.temperature, dim=1)


class FaceEmbedder(nn.Module):
    """Descriptors (N, 160) to embeddings (N, 512) of length one."""

    def __init__(self, network: DescriptorNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, descriptors: Tensor) -> Tensor:
        """Return the embeddings."""
        return unit(self.network(self.network.standardise(descriptors)))


def unit(vectors: Tensor) -> Tensor:
    """Return ``vectors`` (N, D) with length one."""
    return vectors / vectors.norm(dim=1, keepdim=True).clamp_min(1e-6)


@dataclass(frozen=True, slots=True)
class Schedule:
    """How long and how fast a network is fitted, and where its state is kept between interruptions."""

    epochs: int
    batch: int
    rate: float
    weight_decay: float
    checkpoint: Path


def shuffled(count: int, batch: int) -> Iterator[Tensor]:
    """Yield the indices of ``count`` samples in a new order, ``batch`` at a time."""
    yield from torch.randperm(count).split(batch)


def fit(
    network: nn.Module,
    loss_of: Callable[[Tensor], Tensor],
    count: int,
    judge: Callable[[], float],
    schedule: Schedule,
) -> float:
    """Fit ``network`` and leave it in the state that ``judge`` liked best; return that judgement.

    ``loss_of`` gives the loss of a batch of sample indices; ``judge`` is a figure on the selection part, higher is
    better, called after every epoch. Continues from ``schedule.checkpoint`` when it is there; the result is the same as
    without the interruption.
    """
    decayed = [p for p in network.parameters() if p.ndim > 1]
    plain = [p for p in network.parameters() if p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": schedule.weight_decay}, {"params": plain, "weight_decay": 0}]
    optimiser = torch.optim.AdamW(groups, lr=schedule.rate)
    slope = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, schedule.epochs)
    state: dict[str, Any] = {"epoch": 0, "best": -np.inf, "weights": copy.deepcopy(network.state_dict())}
    if schedule.checkpoint.exists():
        kept = torch.load(schedule.checkpoint, weights_only=False)
        network.load_state_dict(kept["network"])
        optimiser.load_state_dict(kept["optimiser"])
        slope.load_state_dict(kept["slope"])
        torch.set_rng_state(kept["random"])
        state = kept["state"]
    bar = tqdm(range(state["epoch"], schedule.epochs), initial=state["epoch"], total=schedule.epochs, unit="epoch")
    for epoch in bar:
        network.train()
        for indices in shuffled(count, schedule.batch):
            optimiser.zero_grad()
            loss = loss_of(indices)
            loss.backward()
            optimiser.step()
        slope.step()
        network.eval()
        with torch.inference_mode():
            figure = judge()
        state["epoch"] = epoch + 1
        if figure > state["best"]:
            state |= {"best": figure, "weights": copy.deepcopy(network.state_dict())}
        bar.set_postfix(loss=f"{loss.item():.4f}", selection=f"{figure:.4f}", best=f"{state['best']:.4f}")
        _keep(schedule.checkpoint, network, optimiser, slope, state)
    network.load_state_dict(state["weights"])
    network.eval()
    return float(state["best"])


def _keep(
    path: Path,
    network: nn.Module,
    optimiser: torch.optim.Optimizer,
    slope: torch.optim.lr_scheduler.LRScheduler,
    state: dict[str, Any],
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".part")
    torch.save(
        {
            "network": network.state_dict(),
            "optimiser": optimiser.state_dict(),
            "slope": slope.state_dict(),
            "random": torch.get_rng_state(),
            "state": state,
        },
        unfinished,
    )
    unfinished.replace(path)
