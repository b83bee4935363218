"""Train the codec: auto-encoder g_a, g_s, its learned prior and gains; export both networks and the frozen tables.

    python -m training.codec --output model_repository

Distortion is measured by its effect (:mod:`training.codec_distortion`). Training starts from principal components,
trains six qualities at once and steers each quality's λ so that it meets its target in bits. The paper's own codec, to
compare with, is :mod:`training.paper_codec`, with the same loop.
"""

import argparse
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from semface.descriptors import DESCRIPTOR_SIZE, GROUPS
from semface.morphable.model import MorphableModel
from training import codec_card, codec_prior, datasets
from training.codec_distortion import IDENTITY, Distortion
from training.codec_export import export
from training.codec_network import HALFWAY, CodecNetwork, WholeFace, Widths
from training.received_descriptors import digest, load_descriptors

FRAME_BITS = 67
"""What a whole frame of three payloads has beside its ideal payload bits: heads, checks, lengths, half-filled bytes."""

METRIC_FACES = 400
"""Faces by which the metric of the start is measured."""

STEERING = 0.005
"""How fast λ follows a quality whose bits are off their target, in log λ for each step and log ratio."""

SMOOTHING = 0.02
"""Weight of the newest step in the running mean of each quality's bits."""


TURNED_SHARE = 0.1
"""For ten faces one of them is learned from once more, turned anew: photographs seldom show a face from the side."""

TURNS = np.radians((25.0, 45.0, 25.0))
"""Largest pitch, yaw and roll of these, in radians."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How the codec is trained."""

    epochs: int
    batch: int
    rate: float
    """Learning rate of the transforms; it falls to 0 along a cosine where ``steered``, else it stays."""
    prior_rate: float
    """Learning rate of gains and densities."""
    names: tuple[str, ...]
    targets: tuple[float, ...]
    """Bits of a frame with all portions for each quality; ignored unless ``steered``."""
    default: int
    steered: bool
    """Whether training starts from principal components, λ is steered towards the targets and gains are learned."""
    settling: float
    """Share of the epochs, the last ones, in which distortion is taken after true rounding, straight-through."""
    layout: Widths | WholeFace
    identity: float = IDENTITY
    """Weight of what coding takes away of the embedding; ignored where distortion is of plain numbers."""
    gain: float = 1.0
    """By this latents are multiplied before they are rounded; ignored where ``steered``."""


RECIPE = Recipe(
    epochs=36,
    batch=256,
    rate=1e-3,
    prior_rate=5e-3,
    names=("lowest", "low", "medium", "high", "higher", "highest"),
    targets=(150, 250, 400, 600, 850, 1250),
    default=2,
    steered=True,
    settling=0.5,
    layout=Widths(192, 96, 48),
)


@dataclass(frozen=True, slots=True)
class Faces:
    """Descriptors (N, 257) to learn from and those held out for selection."""

    training: NDArray[np.float32]
    selection: NDArray[np.float32]
    sources: tuple[str, ...]
    """What the training part holds, for the card."""


def load(excluded_folds: frozenset[int]) -> Faces:
    """Return LFW faces of everybody outside ``excluded_folds`` and FER+ training faces, the selection part apart."""
    names, descriptors = load_descriptors("lfw")
    left_out = datasets.people_in_folds(excluded_folds) if excluded_folds else frozenset()
    keep = np.array([datasets.person(name) not in left_out for name in names])
    selection = np.array([datasets.is_selection_person(datasets.person(name)) for name in names])
    training, held = [descriptors[keep & ~selection]], [descriptors[keep & selection]]
    sources = [f"{len(training[0]):,} of LFW"]
    if (datasets.cache() / "descriptors" / "ferplus_train.npz").exists():
        names, descriptors = load_descriptors("ferplus_train")
        chosen = {picture.name for picture in datasets.ferplus("train") if datasets.is_selection(picture.data)}
        selection = np.array([name in chosen for name in names])
        training.append(descriptors[~selection])
        held.append(descriptors[selection])
        sources.append(f"{len(training[1]):,} of FER+ training")
    return Faces(np.concatenate(training), np.concatenate(held), tuple(sources))


def turned(faces: NDArray[np.float32], seed: int) -> NDArray[np.float32]:
    """Return a tenth of ``faces`` (N, 257), drawn at random, each with a rotation drawn evenly within ``TURNS``."""
    random = np.random.default_rng(seed)
    answer = random.choice(faces, round(TURNED_SHARE * len(faces)), replace=False)
    answer[:, GROUPS["rotation"]] = random.uniform(-TURNS, TURNS, (len(answer), len(TURNS)))
    return answer


class Trainer:
    """The training loop with its state, which can be kept and continued."""

    def __init__(
        self,
        faces: NDArray[np.float32],
        recipe: Recipe,
        seed: int,
        heads: dict[str, Tensor] | None = None,
        judged: slice = slice(0, DESCRIPTOR_SIZE),
    ) -> None:
        """Prepare the network for ``faces`` (N, 257).

        With the task ``heads`` distortion is measured by its effect, without them by the mean absolute error of the
        ``judged`` numbers, standardised.
        """
        torch.manual_seed(seed)
        self.recipe, self.judged = recipe, judged
        self.network = CodecNetwork(faces, recipe.layout, len(recipe.names))
        self.distortion = (
            None if heads is None else Distortion(MorphableModel.load(), heads, self.network.scale, recipe.identity)
        )
        with torch.no_grad():
            self.standard = self.network.standardise(torch.from_numpy(faces))
        self.payload_bits = torch.tensor(
            [max(target - FRAME_BITS, 1.0) for target in recipe.targets], dtype=torch.float32
        )
        self.log_lambdas = torch.zeros(len(recipe.names))
        self._start()
        self.bits = self.payload_bits.clone()
        # Without steering steps stay as they are: the transforms alone decide how finely is coded, as in the paper.
        self.network.log_gains.requires_grad_(recipe.steered)
        prior = [self.network.log_gains, self.network.mixture, self.network.locations, self.network.log_scales]
        transforms = [*self.network.analysis.parameters(), *self.network.synthesis.parameters()]
        self.optimiser = torch.optim.Adam(
            [{"params": transforms, "lr": recipe.rate}, {"params": prior, "lr": recipe.prior_rate}], betas=(0.5, 0.999)
        )
        self.steps = recipe.epochs * -(-len(faces) // recipe.batch)
        self.slope = torch.optim.lr_scheduler.LambdaLR(self.optimiser, self._slope)
        self.epoch = 0

    def _slope(self, step: int) -> float:
        return float(0.5 + 0.5 * np.cos(np.pi * min(step / max(self.steps, 1), 1))) if self.recipe.steered else 1.0

    def _start(self) -> None:
        network = self.network
        if self.recipe.steered:
            network.start_linear(self.standard, self.metric())
        with torch.no_grad():
            network.log_gains.fill_(float(np.log(self.recipe.gain)))
            latents = network.analyse(self.standard)
            network.match_priors(latents)
            if self.recipe.steered:
                steps = torch.stack([step_for(latents.var(dim=0), bits) for bits in self.payload_bits])
                network.log_gains.copy_(-torch.log(steps)[:, None].expand_as(network.log_gains))
                # At high rate the error of a latent is a twelfth of its step's square, and a bit more quarters it.
                self.log_lambdas = torch.log(steps.square() * np.log(2) / 6)

    def metric(self) -> Tensor:
        """Return what a small error of standardised numbers costs, (257, 257), as the distortion sees it."""
        if self.distortion is None:
            return torch.eye(DESCRIPTOR_SIZE)
        some = self.standard[:: max(1, len(self.standard) // METRIC_FACES)]
        return self.distortion.metric(some * self.network.scale + self.network.mean)

    def run(self, checkpoint: Path) -> None:
        """Train to the end, continuing from ``checkpoint`` where it is there, and keeping it after every epoch."""
        if checkpoint.exists():
            self._resume(torch.load(checkpoint, weights_only=False))
        recipe = self.recipe
        bar = tqdm(range(self.epoch, recipe.epochs), initial=self.epoch, total=recipe.epochs, unit="epoch")
        for epoch in bar:
            hard = epoch >= recipe.epochs * (1 - recipe.settling)
            errors = [self.step(rows, hard) for rows in torch.randperm(len(self.standard)).split(recipe.batch)]
            self.epoch = epoch + 1
            bits = " ".join(f"{value:.0f}" for value in self.bits)
            bar.set_postfix(error=f"{np.mean(errors):.4f}", bits=bits)
            self._keep(checkpoint)

    def step(self, rows: Tensor, hard: bool) -> float:
        """Learn from one batch; each face is coded at a quality drawn anew. Return the mean distortion."""
        network, standard = self.network, self.standard[rows]
        quality = torch.randint(len(self.recipe.names), (len(rows),))
        gains = torch.exp(network.log_gains)[quality]
        latents = network.analyse(standard)
        # Rounding has no slope: uniform noise of one step stands for it (paper, section II.C).
        noisy = latents + (torch.rand_like(latents) - 0.5) / gains
        received = _rounded(latents, gains) if hard else noisy
        error = self._error(network.synthesise(received), standard)
        bits = network.bits(noisy, gains).sum(dim=1)
        loss = (error + torch.exp(self.log_lambdas)[quality] * bits).mean()
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        self.slope.step()
        with torch.no_grad():
            # Noise overstates what rounding costs where a latent is mostly 0, so steer by what is sent.
            self._steer(quality, network.bits(received, gains).sum(dim=1) if hard else bits)
        return float(error.detach().mean())

    def _error(self, received: Tensor, sent: Tensor) -> Tensor:
        """Return the distortion (N,) of standardised descriptors (N, 257)."""
        if self.distortion is None:
            return (received - sent)[:, self.judged].abs().mean(dim=1)
        network = self.network
        return self.distortion(received * network.scale + network.mean, sent * network.scale + network.mean)

    def _steer(self, quality: Tensor, bits: Tensor) -> None:
        for index in quality.unique():
            seen = bits[quality == index].mean()
            self.bits[index] += SMOOTHING * (seen - self.bits[index])
        if self.recipe.steered:
            self.log_lambdas += STEERING * torch.log(self.bits / self.payload_bits)

    def _keep(self, path: Path) -> None:
        state = {
            "epoch": self.epoch,
            "network": self.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "slope": self.slope.state_dict(),
            "steering": (self.bits, self.log_lambdas),
            "random": torch.get_rng_state(),
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(".part")
        torch.save(state, unfinished)
        unfinished.replace(path)

    def _resume(self, state: dict[str, Any]) -> None:
        self.epoch = state["epoch"]
        self.network.load_state_dict(state["network"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.slope.load_state_dict(state["slope"])
        self.bits, self.log_lambdas = state["steering"]
        torch.set_rng_state(state["random"])


def step_for(variances: Tensor, bits: Tensor) -> Tensor:
    """Return the step that codes Gaussian latents of these variances (256,) in about ``bits``."""
    low, high = torch.tensor(1e-4), torch.tensor(1e2)
    for _ in range(60):
        step = torch.sqrt(low * high)
        # An entropy of ½ log2(2πe σ²) less log2 of the step, bent so that it never falls below 0.
        rate = 0.5 * torch.log2(1 + 2 * np.pi * np.e * variances / step**2).sum()
        low, high = (step, high) if rate > bits else (low, step)
    return torch.sqrt(low * high)


def _rounded(latents: Tensor, gains: Tensor) -> Tensor:
    """Return latents quantised and back; the slope passes straight through the rounding."""
    scaled = latents * gains
    return (scaled + (torch.round(scaled) - scaled).detach()) / gains


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Return the options of the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("model_repository"), help="model repository to write into")
    datasets.add_excluded_folds(parser)
    parser.add_argument("--epochs", type=int, default=RECIPE.epochs)
    parser.add_argument(
        "--identity-weight", type=float, default=IDENTITY, help="what one less the embedding's cosine costs"
    )
    parser.add_argument("--default-quality", help="name of the quality that is taken when none is asked for")
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    """Run the recipe."""
    options = parse(arguments)
    recipe = replace(RECIPE, epochs=options.epochs, identity=options.identity_weight)
    if options.default_quality:
        recipe = replace(recipe, default=recipe.names.index(options.default_quality))
    faces = load(options.exclude_folds)
    heads = torch.load(datasets.extractor_checkpoint(options.exclude_folds))["losses"]
    more = turned(faces.training, options.seed)
    faces = replace(
        faces,
        training=np.concatenate([faces.training, more]),
        sources=(*faces.sources, f"{len(more):,} of both again, turned anew"),
    )
    trainer = Trainer(faces.training, recipe, options.seed, heads)
    key = digest(faces.training, recipe, options.seed)
    trainer.run(datasets.cache() / "checkpoints" / f"codec-{key}.pt")
    network = trainer.network.eval()
    with torch.inference_mode():
        network.centre_latents(network.analyse(trainer.standard))
        latents = network.analyse(trainer.standard).numpy()
    name, before = HALFWAY
    place = recipe.names.index(before) + 1
    network.add_quality(place - 1)
    names = (*recipe.names[:place], name, *recipe.names[place:])
    default = names.index(recipe.names[recipe.default])
    export(network, codec_prior.freeze(network, latents, names, default), options.output)
    figures = codec_card.measure(options.output, faces.selection, network.scale.numpy())
    codec_card.write(options.output, figures, faces, recipe, options)
    print(codec_card.table(figures))


if __name__ == "__main__":
    main()
