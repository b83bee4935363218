"""Finish the heads for identity and expression that the extraction network learned with.

``python -m training.task_heads``, after ``training.extractor``. Trainings that start from an exported network begin
with fresh heads, and a correction's few steps do not finish them. Here they learn alone, on the descriptors in the
cache, and go back into the check-point. They are the two tasks in the codec's distortion, and verification starts from
one of them.
"""

import argparse
from typing import Final

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import trange

from semface.morphable.model import MorphableModel
from training.datasets import cache, extractor_checkpoint, parse_folds, people_in_folds
from training.extractor_data import PHOTOGRAPHS, FaceSet
from training.extractor_losses import EXPRESSION_NOISE, IDENTITY_NOISE, MorphableLosses, Weights

STEPS: Final = 4000
BATCH: Final = 512
RATE: Final = 1e-3


def loss(heads: MorphableLosses, descriptors: Tensor, embedding: Tensor, votes: Tensor) -> Tensor:
    """Return the identity, relation and expression losses of extraction together; ``votes`` (N, 8) are 0 where none."""
    noisy = descriptors.clone()
    noisy[:, :160] += IDENTITY_NOISE * torch.randn_like(noisy[:, :160])
    noisy[:, 160:224] += EXPRESSION_NOISE * torch.randn_like(noisy[:, 160:224])
    ours = heads.embed(noisy)
    apart = 1.0 - (ours * embedding).sum(dim=1).mean()
    relation = (ours @ ours.T - embedding @ embedding.T).square().mean()
    told = nn.functional.log_softmax(heads.classify(noisy), dim=1)
    divergence = -(votes * told).sum() / (votes.sum() + 1e-6)
    weights = heads.weights
    return weights.identity * apart + weights.relation * relation + weights.expression * divergence


def train(heads: MorphableLosses, descriptors: Tensor, embedding: Tensor, votes: Tensor, steps: int = STEPS) -> None:
    """Let ``heads`` learn from all faces: ``descriptors`` (N, 257), ``embedding`` (N, 512), ``votes`` (N, 8)."""
    optimizer = torch.optim.AdamW(heads.parameters(), lr=RATE, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in trange(steps, desc="heads", mininterval=10):
        rows = torch.randint(len(descriptors), (BATCH,))
        optimizer.zero_grad()
        loss(heads, descriptors[rows], embedding[rows], votes[rows]).backward()
        optimizer.step()
        schedule.step()


@torch.inference_mode()
def judge(heads: MorphableLosses, descriptors: Tensor, embedding: Tensor, labels: Tensor) -> dict[str, float]:
    """Return the mean cosine to the teacher of all faces and the accuracy on those with a label (−1: none)."""
    cosine = (heads.embed(descriptors) * embedding).sum(dim=1)
    right = heads.classify(descriptors).argmax(dim=1) == labels
    return {"identity_cosine": float(cosine.mean()), "expression_accuracy": float(right[labels >= 0].float().mean())}


def main() -> None:
    """Train and write the check-point back."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--exclude-folds", default="", help="folds whose people are left out, such as 5-8")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    excluded = parse_folds(arguments.exclude_folds)
    torch.manual_seed(arguments.seed)
    model = MorphableModel.load()
    faces = FaceSet(model, people_in_folds(excluded), with_renders=False)
    faces.read_teacher()
    heads = MorphableLosses(model, faces.vertices, Weights())
    path = extractor_checkpoint(excluded)
    state = torch.load(path)
    heads.load_state_dict(state["losses"])
    descriptors = torch.tensor(
        np.concatenate([np.load(cache() / "descriptors" / f"{name}.npz")["descriptors"] for name in PHOTOGRAPHS])
    )
    learned, held = torch.tensor(faces.training), torch.tensor(faces.selection)
    print("before:", judge(heads, descriptors[held], faces.embedding[held], faces.labels[held]))
    train(heads, descriptors[learned], faces.embedding[learned], faces.votes[learned])
    print("after:", judge(heads, descriptors[held], faces.embedding[held], faces.labels[held]))
    state["losses"] = heads.state_dict()
    torch.save(state, path.with_suffix(".part"))
    path.with_suffix(".part").rename(path)


if __name__ == "__main__":
    main()
