"""Train SLFER (Lv et al., Semantic Learning for Facial Expression Recognition): a face's pixels to eight confidences.

    python -m training.identity_start                # once: where the network starts
    python -m training.semantic_masks                # once: the parts of each face
    python -m training.slfer --output model_repository
    python -m training.slfer --segmentation 0 --classification 0 --no-squeeze-excitation --figures-only  # the baseline

L = cross-entropy + λ1·segmentation + λ2·classification with λ1 = 0.5 and n = 4 dominant components, as in the paper,
but λ2 = 0.1, not 0.5: the sum over eight parts would outweigh the expression.
"""

import argparse
import json
from typing import Final

import numpy as np
import torch
from torch import Tensor, nn

from semface.meaning import EXPRESSIONS
from training.datasets import cache
from training.expression import fitted_temperature
from training.identity_start import load_start
from training.pixel_faces import SIDE, PixelFaces, affine_maps, augmented, load_ferplus, moved
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
from training.semantic_masks import COMPONENTS, UNKNOWN, areas, build, classification_labels
from training.slfer_network import SemanticNetwork, classification_loss, segmentation_loss

MODEL: Final = "slfer"


def load_masks(names: tuple[str, ...]) -> Tensor:
    """Return the components uint8 (N, M, M) of the pictures ``names`` of FER+'s training part."""
    with np.load(cache() / "faces" / "ferplus_train.npz") as file:
        place = {str(name): row for row, name in enumerate(file["names"])}
    return torch.from_numpy(build("ferplus_train")[[place[name] for name in names]])


def train(faces: PixelFaces, masks: Tensor, arguments: argparse.Namespace) -> tuple[SemanticNetwork, float, Figures]:
    """Fit a network on the training part; return it with its temperature and its figures on the selection part."""
    torch.manual_seed(arguments.seed)
    attentive = arguments.squeeze_excitation
    network = SemanticNetwork(arguments.width, len(EXPRESSIONS), len(COMPONENTS), squeeze_excitation=attentive)
    if not arguments.scratch:
        load_start(network.backbone, arguments.width)
    network.to(memory_format=torch.channels_last)
    rows = training_rows(faces, arguments)
    learned, held = faces.part(rows), faces.part(faces.selection.nonzero()[0])
    parts = masks[torch.from_numpy(rows)]
    known = parts[:, 0, 0] != UNKNOWN
    dominant = torch.zeros(len(parts), len(COMPONENTS))
    if known.any():
        dominant[known] = torch.from_numpy(
            classification_labels(areas(parts[known].numpy()), arguments.components)[0]
        ).float()

    def loss_of(batch: Tensor, random: torch.Generator) -> Tensor:
        maps = affine_maps(len(batch), random)
        pictures = augmented(learned.grey[batch], maps, random).contiguous(memory_format=torch.channels_last)
        with in_bfloat16():
            if not arguments.segmentation and not arguments.classification:
                return nn.functional.cross_entropy(network(pictures), learned.votes[batch])
            told = network.tell(pictures)
        loss = nn.functional.cross_entropy(told.logits, learned.votes[batch])
        drawn = moved(parts[batch][:, None].float(), maps, SIDE, "nearest")[:, 0].long()
        drawn[~known[batch]] = UNKNOWN
        loss = loss + arguments.segmentation * segmentation_loss(told.pixels, drawn, UNKNOWN)
        told_parts = classification_loss(told.components, dominant[batch], known[batch].float())
        return loss + arguments.classification * told_parts

    average = fit(network, loss_of, len(learned.names), plan_of(MODEL, arguments), judge_by(held, arguments))
    assert isinstance(average, SemanticNetwork)
    logits = logits_of(average, held)
    temperature = fitted_temperature(logits, held.labels)
    return average, temperature, figures_of(logits, held.labels, temperature)


def parse(words: list[str] | None = None) -> argparse.Namespace:
    """Return the recipe's options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser)
    parser.add_argument(
        "--segmentation", type=float, default=0.5, help="weight λ1 of the segmentation; 0 leaves it out"
    )
    parser.add_argument("--classification", type=float, default=0.1, help="weight λ2 of the classification")
    parser.add_argument("--components", type=int, default=4, help="dominant components n")
    parser.add_argument("--squeeze-excitation", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--figures-only", action="store_true", help="write no network")
    return parser.parse_args(words)


def main() -> None:
    """Run the recipe."""
    arguments = parse()
    faces = load_ferplus()
    network, temperature, figures = train(faces, load_masks(faces.names), arguments)
    print(json.dumps({"accuracy": figures.accuracy, "mean_class_accuracy": figures.mean_class_accuracy}))
    if arguments.figures_only:
        return
    served = ServedRecogniser(network, lambda pictures: (network(pictures),), temperature)
    folder = write_network(MODEL, served, arguments.output, weights=arguments.weights)
    # What is dropped when the network answers is not counted.
    answering = nn.ModuleList([network.backbone, network.exit])
    parameters = sum(parameter.numel() for parameter in answering.parameters())
    recipe = ("epochs", "seed", "segmentation", "classification", "width", "weights")
    told = {name: vars(arguments)[name] for name in recipe}
    write_card(MODEL, folder, faces, figures, parameters=parameters, temperature=temperature, **told)


if __name__ == "__main__":
    main()
