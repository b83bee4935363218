"""Train the expression network: 70 decoded numbers (expression, rotation, translation) to eight confidences.

    python -m training.expression --output model_repository
    python -m training.expression --output my_models --data affectnet=DIR        # or raf-db=DIR, sfew=DIR

Cross-entropy on the distribution of the FER+ votes over the eight classes, on uncoded and decoded descriptors mixed.
The temperature is fitted on the selection part, decoded at the codec's default quality.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from semface.descriptors import Portion
from semface.evaluation.expression import majority_label
from semface.evaluation.protocol import calibration_error, mean_class_accuracy
from semface.meaning import EXPRESSIONS
from training import datasets
from training.descriptor_networks import DescriptorNetwork, ExpressionRecognizer, Schedule, Shape, fit
from training.network_export import Port, export_network
from training.own_data import LABELLED_DATA
from training.own_descriptors import describe_own
from training.own_recipe import add_own_data, described_by, own_card, require_both_parts, told_in_one_line
from training.received_descriptors import ReceivedDescriptors, digest, load_descriptors, receive

MODEL = "expression_recognition"
CARD = Path(__file__).with_name("cards") / f"{MODEL}.md"
SHAPE = Shape(inputs=70, outputs=8, width=384, blocks=3, dropout=0.2)
NOISE = 0.1
"""Deviation of the noise added in training, in deviations of each input."""


@dataclass(frozen=True, slots=True)
class Votes:
    """What the usable pictures say: vote distribution (N, 8), label (N,), and which are of the selection part (N,)."""

    distribution: NDArray[np.float32]
    labels: NDArray[np.int64]
    selection: NDArray[np.bool_]


def load() -> tuple[tuple[str, ...], NDArray[np.float32], Votes]:
    """Return names, descriptors (N, 257) and votes of the usable pictures of FER+'s training split."""
    names, descriptors = load_descriptors("ferplus_train")
    votes = datasets.ferplus_votes("train")
    selection = {picture.name for picture in datasets.ferplus("train") if datasets.is_selection(picture.data)}
    labels = {name: majority_label(votes[name]) for name in names}
    rows = [row for row, name in enumerate(names) if labels[name] is not None]
    kept = tuple(names[row] for row in rows)
    counts = np.array([votes[name][: len(EXPRESSIONS)] for name in kept])
    return (
        kept,
        descriptors[rows],
        Votes(
            (counts / counts.sum(axis=1, keepdims=True)).astype(np.float32),
            np.array([labels[name] for name in kept]),
            np.array([name in selection for name in kept]),
        ),
    )


def load_own(name: str, folder: Path, repository: Path) -> tuple[tuple[str, ...], NDArray[np.float32], Votes]:
    """Return the same of a user's own data set, described by ``repository``: one label stands for all votes.

    Raises IncompleteDataError for a folder that is half there.
    """
    data = LABELLED_DATA[name](folder)
    described = describe_own(data.pictures, repository, with_identity=False)
    pictures, labels = [data.pictures[row] for row in described.rows], data.labels[described.rows]
    selection = np.array([datasets.is_selection(picture.file.read_bytes()) for picture in pictures])
    require_both_parts(selection)
    distribution = np.eye(len(EXPRESSIONS), dtype=np.float32)[labels]
    return tuple(picture.name for picture in pictures), described.descriptors, Votes(distribution, labels, selection)


def train(received: ReceivedDescriptors, votes: Votes, arguments: argparse.Namespace) -> ExpressionRecognizer:
    """Fit the network on all but the selection part and its temperature on the selection part."""
    torch.manual_seed(arguments.seed)
    train_rows, chosen = np.flatnonzero(~votes.selection), np.flatnonzero(votes.selection)
    network = DescriptorNetwork(SHAPE, received.values[:, train_rows].reshape(-1, SHAPE.inputs))
    targets, places = torch.from_numpy(votes.distribution), torch.from_numpy(train_rows)
    noise = NOISE * network.scale
    selection, truth = received.by_default(chosen), torch.from_numpy(votes.labels[chosen])

    def loss_of(batch: torch.Tensor) -> torch.Tensor:
        rows = places[batch]
        logits = network(network.standardise(received.mixed(rows, noise)))
        return torch.nn.functional.cross_entropy(logits, targets[rows])

    def judge() -> float:
        logits = network(network.standardise(selection))
        return float((logits.argmax(dim=1) == truth).float().mean())

    key = digest(received.values, votes.distribution, arguments.seed, arguments.epochs, SHAPE, NOISE)
    schedule = Schedule(arguments.epochs, 256, 1e-3, 0.05, datasets.cache() / "checkpoints" / f"{MODEL}-{key}.pt")
    fit(network, loss_of, len(train_rows), judge, schedule)
    with torch.inference_mode():
        logits = network(network.standardise(selection))
    return ExpressionRecognizer(network, fitted_temperature(logits, truth))


def fitted_temperature(logits: torch.Tensor, labels: torch.Tensor) -> float:
    """Return the temperature (0.3..3) by which ``logits`` (N, 8) explain ``labels`` (N,) best."""
    candidates = torch.logspace(np.log10(0.3), np.log10(3.0), 200)
    losses = [torch.nn.functional.cross_entropy(logits / value, labels) for value in candidates]
    return float(candidates[int(torch.stack(losses).argmin())])


Figures = tuple[str, float, float, float]
Recall = tuple[str, int, int, float]


def figures(model: ExpressionRecognizer, received: ReceivedDescriptors, votes: Votes) -> list[Figures]:
    """Return accuracy, mean class accuracy and calibration error on the selection part for each way of receiving."""
    rows = []
    for way, name in enumerate(received.names):
        with torch.inference_mode():
            confidences = model(torch.from_numpy(received.values[way][votes.selection])).numpy()
        labels, predicted = votes.labels[votes.selection], confidences.argmax(axis=1)
        correct = predicted == labels
        error = calibration_error(confidences.max(axis=1), correct)
        rows.append((name, float(correct.mean()), mean_class_accuracy(predicted, labels), error))
    return rows


def recalls(model: ExpressionRecognizer, received: ReceivedDescriptors, votes: Votes) -> list[Recall]:
    """Return training pictures, selection pictures and the share of these recognised, for each class."""
    with torch.inference_mode():
        predicted = model(received.by_default(np.flatnonzero(votes.selection))).numpy().argmax(axis=1)
    labels, learned = votes.labels[votes.selection], votes.labels[~votes.selection]
    rows = []
    for number, name in enumerate(EXPRESSIONS):
        ours = labels == number
        share = float((predicted[ours] == number).mean()) if ours.any() else float("nan")
        rows.append((name, int((learned == number).sum()), int(ours.sum()), share))
    return rows


def card(
    model: ExpressionRecognizer, received: ReceivedDescriptors, votes: Votes, arguments: argparse.Namespace
) -> str:
    """Return the model card in Markdown."""
    return CARD.read_text().format(
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        classes=", ".join(EXPRESSIONS),
        training_pictures=int((~votes.selection).sum()),
        selection_pictures=int(votes.selection.sum()),
        ways=", ".join(received.names),
        dropout=SHAPE.dropout,
        noise=NOISE,
        epochs=arguments.epochs,
        seed=arguments.seed,
        codec=received.codec[:16],
        temperature=float(model.temperature),
        figures="\n".join(f"| {n} | {a:.3f} | {m:.3f} | {e:.3f} |" for n, a, m, e in figures(model, received, votes)),
        recalls="\n".join(f"| {n} | {t:,} | {s:,} | {r:.3f} |" for n, t, s, r in recalls(model, received, votes)),
    )


def main() -> None:
    """Run the recipe."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("model_repository"), help="model repository to write into")
    datasets.add_excluded_folds(parser, "taken as by every recipe; no person of LFW is here")
    add_own_data(parser, LABELLED_DATA)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    repository = described_by(arguments)
    with told_in_one_line():
        names, descriptors, votes = load_own(*arguments.data, repository) if arguments.data else load()
    received = receive(names, descriptors, Portion.EXPRESSION, repository)
    model = train(received, votes, arguments)
    folder = arguments.output / MODEL
    export_network(model, folder, Port("descriptors", (SHAPE.inputs,)), Port("confidences", (SHAPE.outputs,)))
    if arguments.data:
        counts = f"{int((~votes.selection).sum()):,} pictures to train on, {int(votes.selection.sum()):,} for selection"
        columns = ("received", "accuracy", "mean class accuracy", "calibration error (15 bins)")
        (folder / "card.md").write_text(own_card(MODEL, arguments, counts, columns, figures(model, received, votes)))
    else:
        (folder / "card.md").write_text(card(model, received, votes, arguments))
    for name, accuracy, balanced, error in figures(model, received, votes):
        print(f"{name}: accuracy {accuracy:.4f}, mean class accuracy {balanced:.4f}, calibration error {error:.4f}")


if __name__ == "__main__":
    main()
