"""Train the extraction network: ``python -m training.extractor --exclude-folds 5-8 --output build/folds-1-4``.

Needs ``training.faces``, ``training.morphable_model``, ``training.supervision`` and ``training.renders`` to have run.
A first training without any person of the folds (``--exclude-folds 1-8``) may serve as the start of the others
(``--start-from``). At the end the network is exported, and the descriptors of all data sets are written to the cache
for the later recipes.
"""

import argparse
import math
import sys
import time
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from semface.morphable.model import MorphableModel
from training.datasets import REPOSITORY, cache, extractor_checkpoint, parse_folds, people_in_folds
from training.extractor_data import FaceSet
from training.extractor_export import BATCH, describe_datasets, export
from training.extractor_losses import Batch, MorphableLosses, Weights
from training.extractor_network import DescriptorExtractor
from training.received_descriptors import digest

BACKBONE_RATE: Final = 3e-4
HEAD_RATE: Final = 1.5e-3
CORRECTIONS: Final = ("correction", "fine_correction")
"""Parts of the network that learn alone, one after the other: each leans on what comes before it."""
FROZEN_BLOCKS: Final = 5
"""The first blocks see edges and colours, at the highest cost; they stay as the teacher has them."""


class Trainer:
    """One training: the network, its losses and what is needed to resume it."""

    def __init__(
        self,
        faces: FaceSet,
        losses: MorphableLosses,
        steps: int,
        mix: tuple[int, int],
        rate: float,
        checkpoint: Path,
        purpose: str,
        frozen: int = FROZEN_BLOCKS,
        *,
        only: str | None = None,
    ) -> None:
        """Make ready to learn from batches with ``mix`` faces of LFW and renders; the others are of FER+.

        The first ``frozen`` blocks stay as they are. So do the corrections, or all but the one that is named ``only``.
        """
        self.faces, self.steps, self.mix, self.checkpoint = faces, steps, mix, checkpoint
        self.purpose = purpose
        self.network = DescriptorExtractor(losses.model).to(memory_format=torch.channels_last)
        self.losses = losses
        for part in (self.network.stem, self.network.blocks[:frozen]):
            part.requires_grad_(False)
        if only is not None:
            self.network.requires_grad_(False)
        for part in CORRECTIONS:
            self.network.get_submodule(part).requires_grad_(part == only)
        started = [p for p in self.network.blocks.parameters() if p.requires_grad]
        named = self.network.named_parameters()
        fresh = [p for name, p in named if p.requires_grad and not name.startswith(("stem", "blocks"))]
        groups = [
            {"params": started, "lr": rate * BACKBONE_RATE},
            {"params": [*fresh, *self.losses.parameters()], "lr": rate * HEAD_RATE},
        ]
        self.optimizer = torch.optim.AdamW(groups, weight_decay=1e-4)
        self.schedule = torch.optim.lr_scheduler.LambdaLR(self.optimizer, self._rate)
        self.step = 0
        self.seconds = 0.0

    def _rate(self, step: int) -> float:
        warm = min(1.0, (step + 1) / 100)
        return warm * (0.02 + 0.98 * 0.5 * (1.0 + math.cos(math.pi * min(step / max(self.steps, 1), 1.0))))

    def start(self, start_from: Path | None, features: Path | None = None, network: Path | None = None) -> None:
        """Begin from the teacher's convolutions or from another training, or go on with this one.

        Of a network exported as ``features`` all is taken but landmarks and read-out; of one exported as ``network``,
        all.
        """
        if self.checkpoint.exists():
            state = torch.load(self.checkpoint)
            if state["purpose"] != self.purpose:
                sys.exit(f"{self.checkpoint} is of a training with other options or faces; remove it or name another")
            self.seconds = state["seconds"]
            self.optimizer.load_state_dict(state["optimizer"])
            self.schedule.load_state_dict(state["schedule"])
            self.step = state["step"]
            self._take(state)
            return
        if start_from is not None:
            self._take(torch.load(start_from))
        else:
            self.network.start_from_teacher()
            self._set_units()
        if features is not None:
            self.network.take_features(features)
        if network is not None:
            self.network.take_all(network)

    def _take(self, state: dict[str, Any]) -> None:
        self.network.load_state_dict(state["network"])
        self.losses.load_state_dict(state["losses"])

    def _set_units(self) -> None:
        """Centre rotation and translation on the fits of the training faces."""
        means, deviations = {}, {}
        for group in ("rotation", "translation"):
            found = []
            for name in ("lfw", "ferplus_train"):
                with np.load(cache() / "supervision" / f"{name}.npz") as fits:
                    found.append(fits[group])
            learned = np.concatenate(self.faces.parts(self.faces.training)[:2])
            values = np.concatenate(found)[learned][self.faces.tensors["fitted"][learned] > 0]
            means[group], deviations[group] = np.median(values, axis=0), values.std(axis=0)
        deviations["illumination"] = np.full(27, 0.3, np.float32)
        means["illumination"] = np.zeros(27, np.float32)
        self.network.set_units(means, deviations)

    def run(self, random: np.random.Generator) -> None:
        """Train to the last step, with a check-point every 500; without steps the start is kept as it is."""
        augmentation = torch.Generator().manual_seed(int(random.integers(2**31)))
        people, others, renders = self.faces.parts(self.faces.training)
        began = time.perf_counter() - self.seconds
        bar = tqdm(range(self.step, self.steps), initial=self.step, total=self.steps, desc="extraction", mininterval=10)
        for self.step in bar:
            named, drawn = random.choice(people, self.mix[0]), self.faces.pairs(renders, self.mix[1], random)
            index = np.concatenate([named, drawn, random.choice(others, BATCH - len(named) - len(drawn))])
            losses = self._learn(index, augmentation)
            if self.step % 50 == 0:
                bar.set_postfix({name: f"{float(value):.3f}" for name, value in losses.items()})
            if (self.step + 1) % 500 == 0 or self.step + 1 == self.steps:
                self.seconds = time.perf_counter() - began
                self._keep()
                print(f" step {self.step + 1}: {self.judge()}", flush=True)
        if not self.steps:
            self._keep()

    def _learn(self, index: NDArray[np.intp], augmentation: torch.Generator) -> dict[str, torch.Tensor]:
        self.network.train()
        batch = self.faces.batch(index, augmentation)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            descriptors, quality, keypoints = self.network.read(batch.pixels)
        losses = self.losses(descriptors, quality, keypoints, batch)
        self.optimizer.zero_grad()
        sum(losses.values()).backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 5.0)
        self.optimizer.step()
        self.schedule.step()
        return losses

    def _keep(self) -> None:
        state = {"network": self.network.state_dict(), "losses": self.losses.state_dict(), "step": self.step + 1}
        state |= {"purpose": self.purpose, "seconds": self.seconds}
        state |= {"optimizer": self.optimizer.state_dict(), "schedule": self.schedule.state_dict()}
        self.checkpoint.parent.mkdir(parents=True, exist_ok=True)
        torch.save(state, self.checkpoint.with_suffix(".part"))
        self.checkpoint.with_suffix(".part").rename(self.checkpoint)

    @torch.no_grad()
    def judge(self) -> dict[str, float]:
        """Return figures on the selection part: landmarks, expression, identity, and the geometry of renders."""
        self.network.eval()
        sums: dict[str, list[float]] = {}
        people, others, renders = self.faces.parts(self.faces.selection)
        index = np.concatenate([people[:600], others[:1500], renders[:300]])
        for start in range(0, len(index), 128):
            rows = index[start : start + 128]
            for name, values in self._judge(rows, self.faces.batch(rows, None)).items():
                sums.setdefault(name, []).extend(values.tolist())
        return {name: round(float(np.mean(values)), 4) for name, values in sums.items() if values}

    def _judge(self, rows: NDArray[np.intp], batch: Batch) -> dict[str, torch.Tensor]:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            descriptors, quality, keypoints = self.network.read(batch.pixels)
        losses, fitted, rendered = self.losses, batch.fitted > 0, batch.rendered > 0
        named = (batch.has_identity > 0) & (torch.tensor(rows) < self.faces.identity_count)
        cosine = (losses.embed(descriptors) * batch.embedding).sum(dim=1)
        right = losses.classify(descriptors).argmax(dim=1) == self.faces.labels[torch.tensor(rows)]
        shift = (losses.landmarks.project(descriptors) - batch.landmarks).norm(dim=2).mean(dim=1)
        astray = (keypoints[:, 68:] - batch.landmarks[:, losses.dense]).norm(dim=2).mean(dim=1)
        shift68 = (losses.landmarks68.project(descriptors) - batch.landmarks68).norm(dim=2).mean(dim=1)
        colour = losses.colour_error(descriptors, batch)
        shape = losses.shape_error(descriptors, batch)
        return {
            "landmark_error": shift[fitted],
            "keypoint_error": astray[fitted],
            "colour_error": colour[fitted],
            "expression_accuracy": right[batch.has_votes > 0].float(),
            "identity_cosine": cosine[named],
            "quality_error": (quality[:, 0] - cosine).abs()[named],
            "render_landmark_error": shift68[rendered],
            "render_shape_error": shape[rendered],
        }


def main() -> None:
    """Train, export, and describe the data sets."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--exclude-folds", default="", help="folds whose people are left out, such as 5-8")
    parser.add_argument("--output", type=Path, default=REPOSITORY / "model_repository")
    parser.add_argument("--checkpoint", type=Path, help="default: in the cache, named by the folds left out")
    parser.add_argument("--start-from", type=Path, help="check-point of another training to start from")
    parser.add_argument("--features", type=Path, help="exported network of which to take all but the read-out")
    parser.add_argument("--network", type=Path, help="exported network to start from, when its check-point is gone")
    parser.add_argument("--only", choices=CORRECTIONS, help="the correction that learns, and nothing else")
    parser.add_argument("--frozen", type=int, default=FROZEN_BLOCKS, help="blocks that stay as they are, of 13")
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--named", type=int, default=32, help="faces of LFW in each batch of 64")
    parser.add_argument("--renders", type=int, default=12, help="renders in each batch, two of each person")
    parser.add_argument("--shape-weight", type=float, default=Weights.shape, help="for each millimetre of a render")
    parser.add_argument("--steadiness-weight", type=float, default=Weights.steadiness, help="of shape over expressions")
    parser.add_argument("--identity-weight", type=float, default=1.0, help="factor on both losses of identity")
    parser.add_argument("--rate", type=float, default=1.0, help="factor on the learning rates")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    excluded = parse_folds(arguments.exclude_folds)
    torch.manual_seed(arguments.seed)
    model = MorphableModel.load()
    faces = FaceSet(model, people_in_folds(excluded), with_renders=arguments.renders > 0)
    faces.read_teacher()
    checkpoint = arguments.checkpoint or extractor_checkpoint(excluded)
    weights = Weights(
        shape=arguments.shape_weight,
        steadiness=arguments.steadiness_weight,
        identity=arguments.identity_weight * Weights.identity,
        relation=arguments.identity_weight * Weights.relation,
    )
    losses = MorphableLosses(model, faces.vertices, weights)
    mix = (arguments.named, arguments.renders)
    options = (arguments.exclude_folds, arguments.steps, *mix, weights, arguments.rate, arguments.seed)
    begin = (str(arguments.start_from), str(arguments.features), str(arguments.network), arguments.frozen)
    begin = (*begin, arguments.only)
    purpose = digest(*options, *begin, model.mean_shape, faces.training)
    trainer = Trainer(
        *(faces, losses, arguments.steps, mix, arguments.rate, checkpoint, purpose, arguments.frozen),
        only=arguments.only,
    )
    trainer.start(arguments.start_from, arguments.features, arguments.network)
    trainer.run(np.random.default_rng(arguments.seed + trainer.step))
    export(trainer.network, trainer.judge(), arguments, trainer.seconds)
    describe_datasets(arguments.output)


if __name__ == "__main__":
    main()
