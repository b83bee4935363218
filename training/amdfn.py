"""Train AMDFN: eight attribute images of a 3-D scan to sixteen expressions.

    python -m training.scan_data                                    # the scans of 251 people
    python -m training.amdfn --output model_repository
    python -m training.amdfn --channels depth --takes 1             # figures only, as the ablations ask for them
    python -m training.amdfn --data facescape=DIR --output my_models            # or bosphorus=DIR: figures only

Trained on 200 people from random weights and judged after the last epoch on 51 others.
"""

import argparse
import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from tqdm import tqdm

from semface.evaluation.protocol import calibration_error
from semface.evaluation.synthetic_scans import PEOPLE, TRAINING_PEOPLE
from semface.extraction.scans.attribute_images import CHANNELS, IMAGE_SIZE
from semface.inference.embedded import load_network
from semface.meaning import SCAN_EXPRESSIONS
from training.amdfn_augmentation import NO_TEXTURE, augment, mirrored_labels
from training.amdfn_network import ATTRIBUTES, WIDTH, AttentionFusionNetwork, parameter_count
from training.datasets import cache
from training.network_export import Port, export_network
from training.own_data import parse_data
from training.own_recipe import require_both_parts, told_in_one_line
from training.own_scans import SCAN_COLLECTIONS
from training.scan_data import TAKES, ScanImages, load, load_own

MODEL: Final = "amdfn"
CARD: Final = Path(__file__).with_name("cards") / f"{MODEL}.md"
EPOCHS: Final = 10
BATCH: Final = 32
RATE: Final = 1e-3
WEIGHT_DECAY: Final = 0.05
SMOOTHING: Final = 0.05
"""Of the labels: confidences stay short of 1."""
TEST: Final = range(TRAINING_PEOPLE, PEOPLE)

Figures = dict[str, float]


class ScanExpressionRecognizer(nn.Module):
    """The network with its confidences, as it is served."""

    def __init__(self, network: AttentionFusionNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, attribute_images: Tensor) -> Tensor:
        """Return confidences (N, 16) of attribute images (N, 8, 112, 112)."""
        return self.network(attribute_images).softmax(dim=1)


def train(data: ScanImages, classes: Sequence[str], arguments: argparse.Namespace) -> AttentionFusionNetwork:
    """Fit the network on ``data``; goes on from the last epoch of an interrupted run."""
    torch.manual_seed(arguments.seed)
    rows, mirrored = np.flatnonzero(data.found), mirrored_labels(classes)
    # A scan that loses all that the network sees teaches nothing.
    no_texture = 0.0 if arguments.channels == "texture" else NO_TEXTURE
    network = new_network(arguments, len(classes)).to(memory_format=torch.channels_last)
    # Gradient descent with momentum stays at chance where the network sees the texture alone.
    optimizer = torch.optim.AdamW(network.parameters(), RATE, weight_decay=WEIGHT_DECAY)
    steps = len(rows) // BATCH
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, RATE, epochs=arguments.epochs, steps_per_epoch=steps, pct_start=0.2, cycle_momentum=False
    )
    checkpoint = checkpoint_of(arguments)
    first = 0
    if checkpoint.is_file():
        state = torch.load(checkpoint, weights_only=True)
        network.load_state_dict(state["network"])
        optimizer.load_state_dict(state["optimizer"])
        schedule.load_state_dict(state["schedule"])
        first = state["epoch"]
    for epoch in range(first, arguments.epochs):
        # Each epoch has a stream of its own, so that one that was stopped is the same when run again.
        random = np.random.default_rng((arguments.seed, epoch))
        chosen = random.permutation(rows)[: steps * BATCH]
        change = partial(augment, mirrored=mirrored, random=random, no_texture=no_texture)
        loss, correct = _epoch(network, optimizer, schedule, data, chosen, change)
        print(f"epoch {epoch + 1}: loss {loss:.3f}, training accuracy {correct:.3f}", flush=True)
        state = {"network": network.state_dict(), "optimizer": optimizer.state_dict(), "epoch": epoch + 1}
        torch.save({**state, "schedule": schedule.state_dict()}, checkpoint.with_suffix(".part"))
        checkpoint.with_suffix(".part").rename(checkpoint)
    return network.eval()


def _epoch(
    network: AttentionFusionNetwork,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    data: ScanImages,
    rows: NDArray[np.intp],
    change: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]],
) -> tuple[float, float]:
    """Train once on ``rows`` of ``data``, each changed by ``change``; return the mean loss and the accuracy on them."""
    network.train()
    losses, hits = [], []
    for batch in tqdm(rows.reshape(-1, BATCH), mininterval=30, leave=False):
        images = torch.from_numpy(data.images[batch].astype(np.float32))
        images, labels = change(images, torch.from_numpy(data.labels[batch]))
        # 16-bit arithmetic takes half the time on processors that have it.
        with torch.autocast("cpu", torch.bfloat16):
            logits = network(images.to(memory_format=torch.channels_last))
        loss = nn.functional.cross_entropy(logits.float(), labels, label_smoothing=SMOOTHING)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        losses.append(float(loss.detach()))
        hits.append(float((logits.argmax(dim=1) == labels).float().mean()))
    return float(np.mean(losses)), float(np.mean(hits))


def new_network(arguments: argparse.Namespace, classes: int) -> AttentionFusionNetwork:
    """Return the network that the arguments ask for, with random weights."""
    channels = tuple(range(len(CHANNELS))) if arguments.channels == "all" else ATTRIBUTES[arguments.channels]
    return AttentionFusionNetwork(channels, arguments.width, not arguments.no_attention, classes)


def checkpoint_of(arguments: argparse.Namespace) -> Path:
    """Return where the state of this training lies."""
    folder = cache() / "checkpoints"
    folder.mkdir(exist_ok=True)
    attention = "plain" if arguments.no_attention else "attention"
    name = MODEL if arguments.data is None else f"{MODEL}-{arguments.data[0]}"
    recipe = f"{arguments.width}-{arguments.people}-{arguments.takes}-{arguments.epochs}-{arguments.seed}"
    return folder / f"{name}-{arguments.channels}-{attention}-{recipe}.pt"


def confidences(network: nn.Module, images: NDArray[np.float16]) -> NDArray[np.float32]:
    """Return the confidences (N, C) of attribute images (N, 8, 112, 112)."""
    parts = []
    with torch.inference_mode():
        for start in range(0, len(images), BATCH):
            part = torch.from_numpy(images[start : start + BATCH].astype(np.float32))
            parts.append(network(part).softmax(dim=1).numpy())
    return np.concatenate(parts)


def judge(network: nn.Module, data: ScanImages) -> tuple[Figures, NDArray[np.int64]]:
    """Return the figures on ``data`` and the confusion (C, C), class by answer. A face not found counts as wrong."""
    answers = confidences(network, data.images)
    hit = (answers.argmax(axis=1) == data.labels) & data.found
    bare = data.images.copy()
    bare[:, 5:] = 0
    without = (confidences(network, bare).argmax(axis=1) == data.labels) & data.found
    confusion = np.zeros((answers.shape[1],) * 2, np.int64)
    np.add.at(confusion, (data.labels[data.found], answers[data.found].argmax(axis=1)), 1)
    _, person = np.unique(data.people, return_inverse=True)
    people = np.bincount(person, hit) / np.bincount(person)
    figures = {
        "accuracy": float(hit.mean()),
        "standard_error": float(people.std(ddof=1) / np.sqrt(len(people))),
        "accuracy_without_texture": float(without.mean()),
        "calibration_error": calibration_error(answers.max(axis=1)[data.found], hit[data.found]),
        "scans": len(hit),
        "not_found": int((~data.found).sum()),
    }
    return figures, confusion


def exported_accuracy(file: Path, data: ScanImages) -> float:
    """Return the part of ``data`` that the network in ``file`` recognises."""
    session = load_network(file, MODEL)
    parts = [
        session.run(["confidences"], {"attribute_images": data.images[start : start + BATCH].astype(np.float32)})[0]
        for start in range(0, len(data.images), BATCH)
    ]
    return float(((np.concatenate(parts).argmax(axis=1) == data.labels) & data.found).mean())


def card(
    network: AttentionFusionNetwork, figures: Figures, confusion: NDArray[np.int64], arguments: argparse.Namespace
) -> str:
    """Return the model card in Markdown."""
    recalls = np.diag(confusion) / np.maximum(confusion.sum(axis=1), 1)
    off = confusion - np.diag(np.diag(confusion))
    rows = [
        f"| {name} | {recall:.3f} | {SCAN_EXPRESSIONS[int(other.argmax())] if other.any() else '–'} |"
        for name, recall, other in zip(SCAN_EXPRESSIONS, recalls, off, strict=True)
    ]
    return CARD.read_text().format(
        parameters=parameter_count(network),
        classes=", ".join(SCAN_EXPRESSIONS),
        channels=", ".join(CHANNELS),
        epochs=arguments.epochs,
        takes=arguments.takes,
        training=arguments.people,
        test=len(TEST),
        recalls="\n".join(rows),
        **figures,
    )


def own_data(text: str) -> tuple[str, Path]:
    """Return name and folder of ``NAME=DIR``."""
    try:
        return parse_data(text, SCAN_COLLECTIONS)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Return the recipe's options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, help="model repository to write into; without it figures only")
    parser.add_argument("--channels", choices=("all", *ATTRIBUTES), default="all")
    parser.add_argument("--no-attention", action="store_true")
    parser.add_argument("--width", type=int, default=WIDTH)
    parser.add_argument("--epochs", type=int, help=f"default {EPOCHS}; of your own data, one take, {EPOCHS * TAKES}")
    parser.add_argument("--people", type=int, default=TRAINING_PEOPLE, help="learn from the first of them alone")
    parser.add_argument("--takes", type=int, default=TAKES, help="scans of each person in each expression")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data", type=own_data, metavar="NAME=DIR", help=f"your own: {', '.join(SCAN_COLLECTIONS)}")
    arguments = parser.parse_args(words)
    if arguments.epochs is None:
        arguments.epochs = EPOCHS if arguments.data is None else EPOCHS * TAKES
    return arguments


def main() -> None:
    """Run the recipe."""
    arguments = parse()
    classes: tuple[str, ...] = SCAN_EXPRESSIONS
    with told_in_one_line():
        if arguments.data is None:
            learned, judged = load(range(arguments.people), arguments.takes), load(TEST)
        else:
            every, classes, held_out = load_own(*arguments.data)
            require_both_parts(held_out)
            learned, judged = every.part(~held_out), every.part(held_out)
    network = train(learned, classes, arguments)
    figures, confusion = judge(network, judged)
    print(json.dumps({**figures, "parameters": parameter_count(network)}))
    if arguments.output is None or classes != SCAN_EXPRESSIONS:
        return
    folder = arguments.output / MODEL
    source = Port("attribute_images", (len(CHANNELS), IMAGE_SIZE, IMAGE_SIZE))
    served = ScanExpressionRecognizer(network.to(memory_format=torch.contiguous_format))
    target = Port("confidences", (len(SCAN_EXPRESSIONS),))
    for weights in ("half", "byte"):
        # The last one stays: half the size, for nearly the same answers.
        export_network(served, folder, source, target, max_batch_size=32, weights=weights)
        figures[f"accuracy_{weights}"] = exported_accuracy(folder / "1" / "model.onnx", judged)
    text = card(network, figures, confusion, arguments)
    if arguments.data is not None:
        lines = "\n".join(f"| {name} | {value:.4f} |" for name, value in figures.items())
        text = f"# {MODEL}\n\nTrained on {arguments.data[0]}, {arguments.epochs} epochs.\n\n| | |\n|---|---|\n{lines}\n"
    (folder / "card.md").write_text(text)


if __name__ == "__main__":
    main()
