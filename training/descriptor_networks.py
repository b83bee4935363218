"""The two networks that read descriptors, their fitting and their export (paper, section II.D).

Both are fully connected layers with ReLU and ResNet shortcuts behind a standardisation by training statistics. Their
weights are kept as 16-bit floats behind a cast, so that the served arithmetic is 32-bit everywhere.
"""

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn
from tqdm import tqdm

OPSET = 17
SMALLEST_SCALE = 1e-3
"""A number that hardly varies in training is divided by no less than this, so that it cannot explode later."""

MAX_BATCH_SIZE = 256


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


def export(
    model: nn.Module, folder: Path, inputs: int, output: tuple[str, int], parameters: dict[str, float] | None = None
) -> Path:
    """Write ``model`` as ``folder/1/model.onnx`` with its ``config.pbtxt``; return the path of the network.

    The input is ``descriptors`` (N, inputs), ``output`` names the output and its width, ``parameters`` go into the
    configuration as they are.
    """
    name, width = output
    path = folder / "1" / "model.onnx"
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.onnx.export(
        model.eval(),
        (torch.zeros(2, inputs),),
        str(path),
        dynamo=False,
        opset_version=OPSET,
        input_names=["descriptors"],
        output_names=[name],
        dynamic_axes={"descriptors": {0: "batch"}, name: {0: "batch"}},
    )
    graph = halve_weights(onnx.load(path))
    onnx.checker.check_model(graph, full_check=True)
    onnx.save(graph, path)
    (folder / "config.pbtxt").write_text(_configuration(folder.name, inputs, name, width, parameters or {}))
    return path


def halve_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """Keep the matrices of ``model`` as 16-bit floats, each behind a cast to 32 bits; return the model."""
    graph = model.graph
    casts = []
    for initializer in graph.initializer:
        if initializer.data_type == TensorProto.FLOAT and len(initializer.dims) > 1:
            name, values = initializer.name, numpy_helper.to_array(initializer)
            initializer.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}_half"))
            casts.append(helper.make_node("Cast", [f"{name}_half"], [name], to=TensorProto.FLOAT))
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    return model


def _configuration(name: str, inputs: int, output: str, width: int, parameters: dict[str, float]) -> str:
    lines = [
        f'name: "{name}"',
        'platform: "onnxruntime_onnx"',
        f"max_batch_size: {MAX_BATCH_SIZE}",
        f'input [ {{ name: "descriptors" data_type: TYPE_FP32 dims: [ {inputs} ] }} ]',
        f'output [ {{ name: "{output}" data_type: TYPE_FP32 dims: [ {width} ] }} ]',
        "dynamic_batching { max_queue_delay_microseconds: 500 }",
    ]
    lines += [
        f'parameters {{ key: "{key}" value {{ string_value: "{value:.6f}" }} }}' for key, value in parameters.items()
    ]
    return "\n".join(lines) + "\n"
