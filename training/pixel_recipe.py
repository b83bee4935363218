"""What the recipes of DAN and SLFER share: options, the network as it is served, its figures, its export and card."""

import argparse
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from semface.evaluation.protocol import calibration_error, mean_class_accuracy
from semface.extraction.alignment import CROP_SIZE
from semface.meaning import EXPRESSIONS
from training import datasets
from training.network_export import Port, Weights, export_network
from training.pixel_faces import LUMA, SHRINK, PixelFaces, as_served, standardised
from training.pixel_training import Plan

BATCH: Final = 64
RATE: Final = 1.5e-3
WEIGHT_DECAY: Final = 0.05
EPOCHS: Final = 12
WIDTH: Final = 32
MAX_BATCH: Final = 64
CARDS: Final = Path(__file__).with_name("cards")

KEPT: Final[Mapping[Weights, str]] = MappingProxyType(
    {"half": "as 16-bit floats", "byte": "as 8-bit integers with a scale for each output channel"}
)
"""How matrices are kept, in the words of a card."""

Answer = Callable[[Tensor], tuple[Tensor, ...]]


class ServedRecogniser(nn.Module):
    """Crops uint8 (N, 112, 112, 3) to confidences (N, 8), softened by a temperature, and what else it tells."""

    temperature: Tensor
    luma: Tensor

    def __init__(self, network: nn.Module, answer: Answer, temperature: float) -> None:
        """Ask ``answer`` for the logits, and more, of pictures (N, 1, 56, 56)."""
        super().__init__()
        self.network = network
        self.answer = answer
        self.register_buffer("temperature", torch.tensor(float(temperature)))
        self.register_buffer("luma", torch.tensor(LUMA).view(1, 3, 1, 1))

    def forward(self, crops: Tensor) -> tuple[Tensor, ...]:
        """Return confidences, and the rest as it is."""
        grey = nn.functional.conv2d(crops.permute(0, 3, 1, 2).float(), self.luma)
        logits, *more = self.answer(standardised(nn.functional.avg_pool2d(grey, SHRINK)))
        return torch.softmax(logits / self.temperature, dim=1), *more


@dataclass(frozen=True, slots=True)
class Figures:
    """Of a part that was not learned from: shares 0 to 1; ``recalls`` are None for a class without a picture."""

    accuracy: float
    mean_class_accuracy: float
    calibration_error: float
    recalls: tuple[float | None, ...]


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what every recipe on pixels can be told."""
    parser.add_argument("--output", type=Path, default=Path("model_repository"), help="model repository to write into")
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--width", type=int, default=WIDTH, help="channels of the first stage; 64 is a whole ResNet-18")
    parser.add_argument("--scratch", action="store_true", help="start from random weights, not from identity_start's")
    parser.add_argument(
        "--labels", type=float, default=1.0, help="share of the training pictures that are learned from"
    )
    parser.add_argument("--weights", choices=get_args(Weights), default="byte", help="how matrices are kept")
    parser.add_argument(
        "--judge", action=argparse.BooleanOptionalAction, default=True, help="tell the accuracy after every epoch"
    )
    parser.add_argument("--first", type=int, help="learn from the first pictures alone, for a trial")


def training_rows(faces: PixelFaces, arguments: argparse.Namespace) -> NDArray[np.intp]:
    """Return the rows learned from: all but the selection part, or a share of them drawn by the seed."""
    rows = np.flatnonzero(~faces.selection)[: arguments.first]
    if arguments.labels < 1.0:
        chosen = np.random.default_rng(arguments.seed).permutation(len(rows))[: round(arguments.labels * len(rows))]
        rows = rows[np.sort(chosen)]
    return rows


def plan_of(name: str, arguments: argparse.Namespace) -> Plan:
    """Return the plan of the recipe ``name``; its check-point is that of these options."""
    # What is written or told, and by whom faces are found, changes no state.
    told = {
        key: str(value)
        for key, value in vars(arguments).items()
        if key not in ("output", "figures_only", "judge", "models", "weights")
    }
    key = hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]
    checkpoint = datasets.cache() / "checkpoints" / f"{name}-{key}.pt"
    return Plan(arguments.epochs, BATCH, RATE, WEIGHT_DECAY, arguments.seed, checkpoint)


def logits_of(network: nn.Module, faces: PixelFaces) -> Tensor:
    """Return the logits (N, 8) of all ``faces``, seen as they are served."""
    with torch.inference_mode():
        return torch.cat([network(as_served(part)) for part in faces.grey.split(256)])


def judge_by(faces: PixelFaces, arguments: argparse.Namespace) -> Callable[[nn.Module], float] | None:
    """Return what gives the accuracy of a network on ``faces``, where that is to be told."""
    if not arguments.judge:
        return None
    return lambda network: float((logits_of(network, faces).argmax(dim=1) == faces.labels).float().mean())


def figures_of(logits: Tensor, labels: Tensor, temperature: float) -> Figures:
    """Return the figures of ``logits`` (N, 8), softened by ``temperature``, by ``labels`` (N,)."""
    confidences = torch.softmax(logits / temperature, dim=1).numpy()
    truth, predicted = labels.numpy(), confidences.argmax(axis=1)
    correct = predicted == truth
    recalls = tuple(
        float(correct[truth == place].mean()) if (truth == place).any() else None for place in range(len(EXPRESSIONS))
    )
    return Figures(
        float(correct.mean()),
        mean_class_accuracy(predicted, truth),
        calibration_error(confidences.max(axis=1), correct),
        recalls,
    )


def write_network(name: str, served: ServedRecogniser, output: Path, *more: Port, weights: Weights) -> Path:
    """Write the network ``name`` into the repository ``output`` and return its folder."""
    folder = output / name
    crops = Port("crops", (CROP_SIZE, CROP_SIZE, 3), torch.uint8)
    confidences = Port("confidences", (len(EXPRESSIONS),))
    export_network(served.eval(), folder, crops, confidences, *more, max_batch_size=MAX_BATCH, weights=weights)
    return folder


def write_card(
    name: str, folder: Path, faces: PixelFaces, figures: Figures, *, weights: Weights, **told: object
) -> None:
    """Write the model card of ``name`` from its template."""
    labels = faces.labels.numpy()
    learned, held = labels[~faces.selection], labels[faces.selection]
    recalls = "\n".join(
        f"| {expression} | {(learned == place).sum():,} | {(held == place).sum():,} | "
        f"{'–' if recall is None else format(recall, '.3f')} |"
        for place, (expression, recall) in enumerate(zip(EXPRESSIONS, figures.recalls, strict=True))
    )
    text = (CARDS / f"{name}.md").read_text()
    filled = text.format(
        classes=", ".join(EXPRESSIONS),
        training_pictures=int((~faces.selection).sum()),
        selection_pictures=int(faces.selection.sum()),
        accuracy=figures.accuracy,
        mean_class_accuracy=figures.mean_class_accuracy,
        calibration_error=figures.calibration_error,
        recalls=recalls,
        weights=KEPT[weights],
        **told,
    )
    (folder / "card.md").write_text(filled)
