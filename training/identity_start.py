"""Where the recognisers that look at pixels start: a ResNet-18 that imitates the identity teacher.

    python -m training.identity_start --width 32

The papers start from a face recognition network trained on MS-Celeb-1M. Here the start learns from the faces of LFW and
of FER+ (selection parts apart) to give what the identity teacher gives: 512 numbers, by their cosine.
"""

import argparse
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import Tensor, nn

from training import datasets
from training.descriptor_networks import unit
from training.identity_targets import SIZE, identity_targets
from training.pixel_faces import affine_maps, as_served, augmented, load_grey
from training.pixel_training import Plan, fit, in_bfloat16
from training.residual_network import ResidualNetwork

BATCH: Final = 64
RATE: Final = 2e-3


class IdentityImitator(nn.Module):
    """A residual network and one linear layer to the teacher's numbers."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.backbone = ResidualNetwork(width)
        self.exit = nn.Linear(self.backbone.channels, SIZE)

    def forward(self, pictures: Tensor) -> Tensor:
        """Return vectors (N, 512) of length one."""
        return unit(self.exit(self.backbone(pictures).mean(dim=(2, 3))).float())


def start_path(width: int) -> Path:
    """Return where the start of networks of that width is kept."""
    return datasets.cache() / "checkpoints" / f"identity-start-{width}.pt"


def load_start(backbone: ResidualNetwork, width: int) -> None:
    """Give ``backbone`` the weights of the start; squeeze-and-excitation, which the start lacks, stays as it is.

    Raises FileNotFoundError where the start was not made, ValueError where it is of another network.
    """
    path = start_path(width)
    if not path.exists():
        raise FileNotFoundError(f"{path} is absent; run training.identity_start --width {width} first")
    missing, unexpected = backbone.load_state_dict(torch.load(path), strict=False)
    if unexpected or any("squeeze_excitation" not in name for name in missing):
        raise ValueError(f"{path} is of another network")


def load() -> tuple[Tensor, Tensor]:
    """Return grey faces (N, M, M) and targets (N, 512) of everybody who is not held out."""
    faces, targets = [], []
    for name in ("lfw", "ferplus_train"):
        with np.load(datasets.cache() / "faces" / f"{name}.npz") as file:
            names = [str(stem) for stem in file["names"]]
        if name == "lfw":
            free = [not datasets.is_selection_person(datasets.person(stem)) for stem in names]
        else:
            held = {picture.name for picture in datasets.ferplus("train") if datasets.is_selection(picture.data)}
            free = [stem not in held for stem in names]
        faces.append(load_grey(name)[free])
        targets.append(identity_targets(name)[free])
    return torch.from_numpy(np.concatenate(faces)), torch.from_numpy(np.concatenate(targets))


def held_out_cosine(network: nn.Module) -> float:
    """Return the mean cosine with the teacher over LFW's people for selection."""
    with np.load(datasets.cache() / "faces" / "lfw.npz") as file:
        held = [datasets.is_selection_person(datasets.person(str(stem))) for stem in file["names"]]
    targets = torch.from_numpy(identity_targets("lfw")[held])
    with torch.inference_mode():
        answers = [network(as_served(part)) for part in torch.from_numpy(load_grey("lfw")[held]).split(256)]
    return float((torch.cat(answers) * targets).sum(dim=1).mean())


def main() -> None:
    """Make the start and say how near it comes to the teacher."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    torch.manual_seed(arguments.seed)
    faces, targets = load()
    network = IdentityImitator(arguments.width)
    network.to(memory_format=torch.channels_last)

    def loss_of(rows: Tensor, random: torch.Generator) -> Tensor:
        pictures = augmented(faces[rows], affine_maps(len(rows), random), random)
        with in_bfloat16():
            answers = network(pictures.contiguous(memory_format=torch.channels_last))
        return 1.0 - (answers.float() * targets[rows]).sum(dim=1).mean()

    path = start_path(arguments.width)
    plan = Plan(arguments.epochs, BATCH, RATE, 0.05, arguments.seed, path.with_suffix(".training"))
    average = fit(network, loss_of, len(faces), plan, held_out_cosine)
    torch.save(average.backbone.state_dict(), path)
    print(f"mean cosine with the teacher on people held out: {held_out_cosine(average):.3f}")


if __name__ == "__main__":
    main()
