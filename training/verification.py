"""Train the verification network: 160 decoded numbers (shape, texture) to a 512-D embedding of length one.

    python -m training.verification --output model_repository
    python -m training.verification --output my_models --data vggface2=DIR       # or casia-webface=DIR, voxceleb=DIR

Mean square error to the identity teacher (its first 512 principal components, centred, length one), to its cosines
within a batch, and a margin over people; on uncoded and decoded descriptors mixed, of LFW and, since few people are in
it, of FER+ too. The network starts from the embedding that extraction learned with. Epoch, loss and thresholds are
chosen on people of LFW held out of training.
"""

import argparse
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from semface.descriptors import Portion
from semface.evaluation.protocol import tar_at_far, threshold_at_far
from training import datasets
from training.descriptor_networks import DescriptorNetwork, FaceEmbedder, Schedule, Shape, fit
from training.identity_targets import identity_targets
from training.margin_loss import PeopleMargin
from training.network_export import Port, export_network
from training.own_data import PEOPLE_DATA, IncompleteDataError
from training.own_descriptors import describe_own, own_targets
from training.own_recipe import add_own_data, described_by, own_card, require_both_parts, told_in_one_line
from training.received_descriptors import ReceivedDescriptors, digest, load_descriptors, receive

MODEL = "face_verification"
CARD = Path(__file__).with_name("cards") / f"{MODEL}.md"
SHAPE = Shape(inputs=160, outputs=512, width=512, blocks=2, dropout=0.3)
"""Blocks begin as the identity, so that the network begins as the embedding that extraction learned with."""
RATE = 1e-3
NOISE = 0.1
"""Deviation of the noise added in training, in deviations of each input."""

LOSSES = {
    "mse": "mean square error to the teacher's embedding",
    "relation": "mean square error to the teacher's embedding and, fifty times, to its cosines within the batch",
    "margin": "mean square error to the teacher's embedding and, fifty times, to its cosines within the batch, and a "
    "tenth of an additive cosine margin over people with several pictures",
}
RELATION_WEIGHT = 50.0
MARGIN_WEIGHT = 0.1
PAIRS_PER_PERSON = 10
DIFFERENT_PAIRS = 100_000
FARS = {"threshold_far_1e-2": 1e-2, "threshold_far_1e-3": 1e-3}


@dataclass(frozen=True, slots=True)
class Pairs:
    """Pairs among the pictures held out: the place of both sides among these and whether they are one person."""

    first: NDArray[np.intp]
    second: NDArray[np.intp]
    same: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Faces:
    """Names and descriptors (N, 257) of the training side, the teacher's targets (N, 512), and who is for selection.

    Only pictures of LFW, which come first, are for selection.
    """

    names: tuple[str, ...]
    descriptors: NDArray[np.float32]
    targets: NDArray[np.float32]
    selection: NDArray[np.bool_]


def load(excluded_folds: frozenset[int]) -> Faces:
    """Return the pictures of LFW of everybody who is not in ``excluded_folds``, then those of FER+ to learn from."""
    left_out = datasets.people_in_folds(excluded_folds)
    held = {picture.name for picture in datasets.ferplus("train") if datasets.is_selection(picture.data)}
    people, faces, targets = _chosen("lfw", lambda name: datasets.person(name) not in left_out)
    others, more_faces, more_targets = _chosen("ferplus_train", lambda name: name not in held)
    selection = [datasets.is_selection_person(datasets.person(name)) for name in people] + [False] * len(others)
    return Faces(
        (*people, *others),
        np.concatenate([faces, more_faces]),
        np.concatenate([targets, more_targets]),
        np.array(selection),
    )


def _chosen(
    dataset: str, wanted: Callable[[str], bool]
) -> tuple[tuple[str, ...], NDArray[np.float32], NDArray[np.float32]]:
    """Return names, descriptors (N, 257) and targets (N, 512) of the pictures that are ``wanted``."""
    names, descriptors = load_descriptors(dataset)
    rows = [row for row, name in enumerate(names) if wanted(name)]
    return tuple(names[row] for row in rows), descriptors[rows], identity_targets(dataset)[rows]


def load_own(name: str, folder: Path, repository: Path) -> Faces:
    """Return the same of a user's own data set, described by ``repository``; a tenth of its people is for selection.

    Raises IncompleteDataError for a folder that is half there.
    """
    pictures = PEOPLE_DATA[name](folder, name)
    described = describe_own(pictures, repository, with_identity=True)
    names = tuple(pictures[row].name for row in described.rows)
    selection = np.array([datasets.is_selection_person(datasets.person(name)) for name in names])
    require_both_parts(selection)
    held = Counter(datasets.person(name) for name, chosen in zip(names, selection, strict=True) if chosen)
    if len(held) < 2 or max(held.values()) < 2:
        raise IncompleteDataError(f"{len(held)} people for selection are too few: give some twenty people or more")
    return Faces(names, described.descriptors, own_targets(described.embeddings, ~selection), selection)


def start_from_extraction(network: DescriptorNetwork, heads: dict[str, torch.Tensor]) -> None:
    """Begin ``network`` as the embedding of ``MorphableLosses`` in :mod:`training.extractor_losses`, state ``heads``.

    That one takes the numbers as they are, this one standardised: the same function, written otherwise.
    """
    entry, exit_, shortcut = (
        (heads[f"{name}.weight"], heads[f"{name}.bias"]) for name in ("identity.0", "identity.2", "identity_shortcut")
    )
    with torch.no_grad():
        network.entry[0].weight.copy_(entry[0] * network.scale)
        network.entry[0].bias.copy_(entry[1] + entry[0] @ network.mean)
        network.exit.weight.copy_(exit_[0])
        network.exit.bias.copy_(exit_[1] + shortcut[1] + shortcut[0] @ network.mean)
        network.shortcut.weight.copy_(shortcut[0] * network.scale)


def selection_pairs(names: list[str], seed: int) -> Pairs:
    """Draw pairs among the pictures held out, ``names``: at most 10 same ones a person, and 100,000 different ones.

    People are drawn alike however many pictures they have.
    """
    random = np.random.default_rng(seed)
    places: dict[str, list[int]] = {}
    for place, name in enumerate(names):
        places.setdefault(datasets.person(name), []).append(place)
    groups = [np.array(group) for group in places.values()]
    same = []
    for group in groups:
        upper = np.stack(np.triu_indices(len(group), 1), axis=1)
        same += group[random.permutation(upper)[:PAIRS_PER_PERSON]].tolist()
    people = random.integers(len(groups), size=(DIFFERENT_PAIRS, 2))
    different = [[random.choice(groups[a]), random.choice(groups[b])] for a, b in people if a != b]
    first, second = np.array(same + different).T
    return Pairs(first, second, np.arange(len(first)) < len(same))


def pair_scores(embeddings: NDArray[np.float32], pairs: Pairs) -> NDArray[np.float64]:
    """Return the cosine of each pair of the pictures held out, whose ``embeddings`` (N, 512) have length one."""
    return (embeddings @ embeddings.T)[pairs.first, pairs.second].astype(np.float64)


def balanced_threshold(scores: NDArray[np.float64], same: NDArray[np.bool_]) -> tuple[float, float]:
    """Return the threshold, and its accuracy, that decides best where same and different pairs weigh alike."""
    positives, negatives = np.sort(scores[same]), np.sort(scores[~same])
    accepted = 1 - np.searchsorted(positives, positives, side="left") / len(positives)
    rejected = np.searchsorted(negatives, positives, side="left") / len(negatives)
    best = int(np.argmax(accepted + rejected))
    return float(positives[best]), float((accepted[best] + rejected[best]) / 2)


def train(faces: Faces, received: ReceivedDescriptors, pairs: Pairs, arguments: argparse.Namespace) -> FaceEmbedder:
    """Fit the network on the people who are not held out."""
    torch.manual_seed(arguments.seed)
    train_rows, chosen = np.flatnonzero(~faces.selection), np.flatnonzero(faces.selection)
    shape = replace(SHAPE, dropout=arguments.dropout)
    model = FaceEmbedder(DescriptorNetwork(shape, received.values[:, train_rows].reshape(-1, SHAPE.inputs)))
    # The extraction network's own embedding is there for who trained it; own data starts from random weights.
    if not arguments.data:
        checkpoint = torch.load(datasets.extractor_checkpoint(arguments.exclude_folds))
        start_from_extraction(model.network, checkpoint["losses"])
    targets, places = torch.from_numpy(faces.targets), torch.from_numpy(train_rows)
    noise = NOISE * model.network.scale
    # Who is held out counts as shown once each time, and so teaches nothing.
    people = [name if held else datasets.person(name) for name, held in zip(faces.names, faces.selection, strict=True)]
    margin = PeopleMargin(people, targets)
    judged = received.by_default(chosen)

    def loss_of(batch: torch.Tensor) -> torch.Tensor:
        rows = places[batch]
        embeddings, wanted = model(received.mixed(rows, noise)), targets[rows]
        # Of unit vectors: the squared distance summed over the 512 numbers, so that the rate need not be tiny.
        loss = (embeddings - wanted).square().sum(dim=1).mean()
        if arguments.loss != "mse":
            loss = loss + RELATION_WEIGHT * (embeddings @ embeddings.T - wanted @ wanted.T).square().mean()
        if arguments.loss == "margin":
            loss = loss + MARGIN_WEIGHT * margin(embeddings, rows)
        return loss

    def judge() -> float:
        return balanced_threshold(pair_scores(model(judged).numpy(), pairs), pairs.same)[1]

    options = (arguments.seed, arguments.epochs, arguments.loss, RELATION_WEIGHT, MARGIN_WEIGHT, shape, NOISE)
    key = digest(received.values, faces.targets, *options)
    schedule = Schedule(arguments.epochs, 256, RATE, 0.05, datasets.cache() / "checkpoints" / f"{MODEL}-{key}.pt")
    fit(torch.nn.ModuleDict({"embedder": model, "margin": margin}), loss_of, len(train_rows), judge, schedule)
    return model


def embed(model: FaceEmbedder, faces: Faces, received: ReceivedDescriptors, way: int) -> NDArray[np.float32]:
    """Return the embeddings (N, 512) of the pictures held out, as received in one way."""
    with torch.inference_mode():
        return model(torch.from_numpy(received.values[way][faces.selection])).numpy()


def thresholds(model: FaceEmbedder, faces: Faces, received: ReceivedDescriptors, pairs: Pairs) -> dict[str, float]:
    """Return the cosines for each operating point, chosen at the codec's default quality."""
    scores = pair_scores(embed(model, faces, received, received.default), pairs)
    chosen = {name: threshold_at_far(scores, pairs.same, far) for name, far in FARS.items()}
    return chosen | {"threshold_accuracy": balanced_threshold(scores, pairs.same)[0]}


Figures = tuple[str, float, float, float, float]


def figures(model: FaceEmbedder, faces: Faces, received: ReceivedDescriptors, pairs: Pairs) -> list[Figures]:
    """Return accuracy, TAR at FAR 1e-2 and 1e-3, and cosine to the teacher for each way; the teacher's come first."""

    wanted = faces.targets[faces.selection]

    def row(name: str, embeddings: NDArray[np.float32]) -> Figures:
        scores = pair_scores(embeddings, pairs)
        cosine = float(np.einsum("nd,nd->n", embeddings, wanted).mean())
        tars = [tar_at_far(scores, pairs.same, far) for far in FARS.values()]
        return name, balanced_threshold(scores, pairs.same)[1], tars[0], tars[1], cosine

    ways = [row(name, embed(model, faces, received, way)) for way, name in enumerate(received.names)]
    return [row("teacher on pixels", wanted), *ways]


def card(
    model: FaceEmbedder,
    faces: Faces,
    received: ReceivedDescriptors,
    pairs: Pairs,
    chosen: dict[str, float],
    arguments: argparse.Namespace,
) -> str:
    """Return the model card in Markdown."""
    people = np.array([datasets.person(name) for name in faces.names if not name.startswith("fer")])
    learned = ~faces.selection[: len(people)]
    rows = figures(model, faces, received, pairs)
    return CARD.read_text().format(
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        thresholds="\n".join(f"| `{name}` | {value:.4f} |" for name, value in chosen.items()),
        excluded=", ".join(map(str, sorted(arguments.exclude_folds))) or "none",
        training_pictures=int(learned.sum()),
        training_people=len(set(people[learned])),
        other_pictures=len(faces.names) - len(people),
        selection_pictures=int(faces.selection.sum()),
        selection_people=len(set(people[~learned])),
        loss=LOSSES[arguments.loss],
        ways=", ".join(received.names),
        dropout=arguments.dropout,
        noise=NOISE,
        epochs=arguments.epochs,
        seed=arguments.seed,
        codec=received.codec[:16],
        same_pairs=int(pairs.same.sum()),
        different_pairs=int((~pairs.same).sum()),
        pairs_per_person=PAIRS_PER_PERSON,
        figures="\n".join(f"| {n} | {a:.3f} | {t:.3f} | {s:.3f} | {c:.3f} |" for n, a, t, s, c in rows),
    )


def main() -> None:
    """Run the recipe."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("model_repository"), help="model repository to write into")
    datasets.add_excluded_folds(parser)
    add_own_data(parser, PEOPLE_DATA)
    parser.add_argument("--loss", choices=tuple(LOSSES), default="margin")
    parser.add_argument("--dropout", type=float, default=SHAPE.dropout)
    parser.add_argument("--epochs", type=int, default=14)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    repository = described_by(arguments)
    with told_in_one_line():
        faces = load_own(*arguments.data, repository) if arguments.data else load(arguments.exclude_folds)
    received = receive(faces.names, faces.descriptors, Portion.IDENTITY, repository)
    held_out = [name for name, chosen in zip(faces.names, faces.selection, strict=True) if chosen]
    pairs = selection_pairs(held_out, arguments.seed)
    model = train(faces, received, pairs, arguments)
    chosen = thresholds(model, faces, received, pairs)
    folder = arguments.output / MODEL
    ports = Port("descriptors", (SHAPE.inputs,)), Port("embedding", (SHAPE.outputs,))
    export_network(model, folder, *ports, parameters=chosen)
    if arguments.data:
        people = {datasets.person(name) for name in faces.names}
        counts = (
            f"{len(faces.names):,} pictures of {len(people):,} people, {int(faces.selection.sum()):,} for selection"
        )
        rows = figures(model, faces, received, pairs)
        columns = ("received", "accuracy", "TAR at FAR 1e-2", "TAR at FAR 1e-3", "cosine to the teacher")
        (folder / "card.md").write_text(own_card(MODEL, arguments, counts, columns, rows, chosen))
    else:
        (folder / "card.md").write_text(card(model, faces, received, pairs, chosen, arguments))
    for name, accuracy, tar, strict, cosine in figures(model, faces, received, pairs):
        print(f"{name}: accuracy {accuracy:.4f}, TAR {tar:.4f} and {strict:.4f}, cosine to the teacher {cosine:.4f}")


if __name__ == "__main__":
    main()
