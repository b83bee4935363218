"""Train DAN (Wen et al., Distract Your Attention): the pixels of a face to eight confidences.

    python -m training.identity_start                     # once: where the network starts
    python -m training.dan --output model_repository
    python -m training.dan --output my_models --data affectnet=DIR                       # or raf-db=DIR, sfew=DIR
    python -m training.dan --heads 2 --clustering centre --no-partition --figures-only   # an ablation

L = λ1·affinity + λ2·partition + cross-entropy with both λ 1, as in the paper; cross-entropy on the distribution of the
votes.
"""

import argparse
import json
from typing import Final

import torch
from torch import Tensor, nn

from semface.meaning import EXPRESSIONS
from training.dan_network import HEADS, AttentionNetwork, ClassCentres, partition_loss
from training.expression import fitted_temperature
from training.identity_start import load_start
from training.network_export import Port
from training.own_data import LABELLED_DATA
from training.own_recipe import add_own_data, own_card, told_in_one_line
from training.pixel_faces import PixelFaces, affine_maps, augmented, load_ferplus
from training.pixel_own_faces import load_own_faces
from training.pixel_recipe import (
    Figures,
    ServedRecogniser,
    add_options,
    figures_of,
    judge_by,
    logits_of,
    plan_of,
    training_rows,
    write_card,
    write_network,
)
from training.pixel_training import fit, in_bfloat16

MODEL: Final = "dan"
MAP_SIDE: Final = 4
"""Side of an attention map: the last stage sees 56 pixels at a sixteenth."""


class _Learner(nn.Module):
    """The network and the centres of its classes, which are learned together."""

    def __init__(self, network: AttentionNetwork) -> None:
        super().__init__()
        self.network = network
        self.centres = ClassCentres(len(EXPRESSIONS), network.backbone.channels)

    def forward(self, pictures: Tensor) -> Tensor:
        """Return the logits."""
        return self.network(pictures)


def train(faces: PixelFaces, arguments: argparse.Namespace) -> tuple[AttentionNetwork, float, Figures]:
    """Fit a network on the training part; return it with its temperature and its figures on the selection part."""
    torch.manual_seed(arguments.seed)
    network = AttentionNetwork(arguments.width, len(EXPRESSIONS), arguments.heads)
    if not arguments.scratch:
        load_start(network.backbone, arguments.width)
    learner = _Learner(network).to(memory_format=torch.channels_last)
    learned, held = faces.part(training_rows(faces, arguments)), faces.part(faces.selection.nonzero()[0])

    def loss_of(rows: Tensor, random: torch.Generator) -> Tensor:
        pictures = augmented(learned.grey[rows], affine_maps(len(rows), random), random)
        with in_bfloat16():
            seen = network.attend(pictures.contiguous(memory_format=torch.channels_last))
        loss = nn.functional.cross_entropy(seen.logits, learned.votes[rows])
        if arguments.clustering == "affinity":
            loss = loss + learner.centres.affinity_loss(seen.pooled, learned.labels[rows])
        elif arguments.clustering == "centre":
            loss = loss + learner.centres.centre_loss(seen.pooled, learned.labels[rows])
        if arguments.partition and arguments.heads > 1:
            loss = loss + partition_loss(seen.heads)
        return loss

    average = fit(learner, loss_of, len(learned.names), plan_of(MODEL, arguments), judge_by(held, arguments)).network
    assert isinstance(average, AttentionNetwork)
    logits = logits_of(average, held)
    temperature = fitted_temperature(logits, held.labels)
    return average, temperature, figures_of(logits, held.labels, temperature)


def served(network: AttentionNetwork, temperature: float) -> ServedRecogniser:
    """Return the network as it is served: confidences (N, 8) and attention (N, heads, 4, 4)."""

    def answer(pictures: Tensor) -> tuple[Tensor, Tensor]:
        seen = network.attend(pictures)
        return seen.logits, seen.places

    return ServedRecogniser(network, answer, temperature)


def parse(words: list[str] | None = None) -> argparse.Namespace:
    """Return the recipe's options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser)
    add_own_data(parser, LABELLED_DATA)
    parser.add_argument("--heads", type=int, default=HEADS, help="cross-attention heads")
    parser.add_argument("--clustering", choices=("none", "centre", "affinity"), default="affinity")
    parser.add_argument("--partition", action=argparse.BooleanOptionalAction, default=True, help="the partition loss")
    parser.add_argument("--figures-only", action="store_true", help="write no network")
    return parser.parse_args(words)


def main() -> None:
    """Run the recipe."""
    arguments = parse()
    with told_in_one_line():
        faces = load_own_faces(*arguments.data, arguments.models) if arguments.data else load_ferplus()
    network, temperature, figures = train(faces, arguments)
    print(json.dumps({"accuracy": figures.accuracy, "mean_class_accuracy": figures.mean_class_accuracy}))
    if arguments.figures_only:
        return
    attention = Port("attention", (arguments.heads, MAP_SIDE, MAP_SIDE))
    folder = write_network(MODEL, served(network, temperature), arguments.output, attention, weights=arguments.weights)
    if arguments.data:
        counts = f"{int((~faces.selection).sum()):,} pictures to train on, {int(faces.selection.sum()):,} for selection"
        columns = ("", "accuracy", "mean class accuracy", "calibration error (15 bins)")
        row = ("pixels", figures.accuracy, figures.mean_class_accuracy, figures.calibration_error)
        (folder / "card.md").write_text(own_card(MODEL, arguments, counts, columns, [row]))
        return
    parameters = sum(parameter.numel() for parameter in network.parameters())
    told = {"parameters": parameters, "temperature": temperature, "epochs": arguments.epochs, "seed": arguments.seed}
    write_card(MODEL, folder, faces, figures, width=arguments.width, weights=arguments.weights, **told)


if __name__ == "__main__":
    main()
