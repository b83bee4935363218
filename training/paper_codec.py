"""Train the paper's codec, at its own λ or at the λ whose rate comes out at a target.

    python -m training.paper_codec --output build/paper-0.001
    python -m training.paper_codec --bits 1410 --output build/paper-1410

Recipe ``paper`` of :mod:`training.codec`. Rate is what the paper's entropy coder makes of the integers of the faces
held out: exponential Golomb codes and the order-0 adaptive model. With ``--bits`` λ is searched by halving its
logarithm's range over short trainings, then trained in full; where the full training misses the target, λ is moved
along the slope seen and trained again.
"""

import argparse
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from semface.evaluation.paper_coder import encode_order0, mean_bits
from training import codec_card, codec_prior, datasets
from training.codec import PAPER_LAMBDA, RECIPES, Faces, Trainer, load
from training.codec_export import export
from training.received_descriptors import digest

SEARCH_EPOCHS: Final = 6
SEARCH_STEPS: Final = 7
FULL_TRAININGS: Final = 4
RANGE: Final = (1e-6, 1e-1)
"""λ is searched between these."""

MEASURED_FACES: Final = 500


def train(faces: Faces, weight: float, epochs: int, seed: int) -> Trainer:
    """Return the paper's codec trained on ``faces`` for ``epochs`` at λ = ``weight``, kept in the cache as it goes."""
    recipe = replace(RECIPES["paper"], epochs=epochs)
    trainer = Trainer(faces.training, recipe, seed)
    trainer.log_lambdas.fill_(math.log(weight))
    key = digest(faces.training, recipe, seed, weight)
    trainer.run(datasets.cache() / "checkpoints" / f"paper-codec-{key}.pt")
    network = trainer.network.eval()
    with torch.inference_mode():
        network.centre_latents(network.analyse(trainer.standard))
    return trainer


def rate(trainer: Trainer, faces: NDArray[np.float32]) -> float:
    """Return the mean bits that the paper's entropy coder makes of ``faces`` (N, 257)."""
    network = trainer.network
    with torch.inference_mode():
        latents = network.analyse(network.standardise(torch.from_numpy(faces[:MEASURED_FACES])))
        integers = torch.round(latents * torch.exp(network.log_gains[0])).int().numpy()
    return mean_bits(encode_order0, list(integers))


def search(bits_at: Callable[[float], float], target: float, steps: int = SEARCH_STEPS) -> float:
    """Return the λ in ``RANGE`` at which ``bits_at``, falling as λ grows, comes nearest to ``target`` bits."""
    low, high = map(math.log, RANGE)
    for _ in range(steps):
        middle = (low + high) / 2
        low, high = (middle, high) if bits_at(math.exp(middle)) > target else (low, middle)
    return math.exp((low + high) / 2)


def train_for(faces: Faces, target: float, tolerance: float, epochs: int, seed: int) -> tuple[Trainer, float]:
    """Return the codec in full training whose rate is within ``tolerance`` of ``target`` bits, and its λ.

    Raises ``SystemExit`` when ``FULL_TRAININGS`` do not get there.
    """

    def short(weight: float) -> float:
        bits = rate(train(faces, weight, min(SEARCH_EPOCHS, epochs), seed), faces.selection)
        print(f"short training at {weight:.3g}: {bits:.0f} bits", flush=True)
        return bits

    weight = search(short, target)
    seen: list[tuple[float, float]] = []
    for _ in range(FULL_TRAININGS):
        trainer = train(faces, weight, epochs, seed)
        bits = rate(trainer, faces.selection)
        print(f"full training at {weight:.3g}: {bits:.0f} bits", flush=True)
        if abs(bits - target) <= tolerance:
            return trainer, weight
        seen.append((math.log(weight), bits))
        weight = math.exp(_next(seen, target))
    raise SystemExit(f"no λ gave {target:g} ± {tolerance:g} bits; the nearest is among {seen}")


def _next(seen: list[tuple[float, float]], target: float) -> float:
    """Return the logarithm of λ at which the line through the last two of ``seen`` (log λ, bits) meets ``target``."""
    place, bits = seen[-1]
    # Rate falls by about as many bits as there are latents in use when λ grows e-fold.
    slope = -150.0
    if len(seen) > 1 and seen[-2][1] != bits:
        slope = (bits - seen[-2][1]) / (place - seen[-2][0])
    # Never far at once: one line through two noisy places may point anywhere.
    return place + max(-1.0, min(1.0, (target - bits) / slope))


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Return the options of the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="model repository to write into, one of its own")
    parser.add_argument("--bits", type=float, help="search the λ of this rate instead of the paper's own λ")
    parser.add_argument("--tolerance", type=float, default=50.0, help="how far from --bits the rate may be")
    parser.add_argument(
        "--exclude-folds", type=datasets.parse_folds, default=frozenset(), help="leave out the people of these folds"
    )
    parser.add_argument("--epochs", type=int, default=RECIPES["paper"].epochs)
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    """Train, export and write the cards."""
    options = parse(arguments)
    options.recipe = "paper"
    faces = load(options.exclude_folds)
    if options.bits is None:
        trainer, weight = train(faces, PAPER_LAMBDA, options.epochs, options.seed), PAPER_LAMBDA
    else:
        trainer, weight = train_for(faces, options.bits, options.tolerance, options.epochs, options.seed)
    options.weight = weight
    network, recipe = trainer.network, trainer.recipe
    with torch.inference_mode():
        latents = network.analyse(trainer.standard).numpy()
    export(network, codec_prior.freeze(network, latents, recipe.names, recipe.default), options.output)
    figures = codec_card.measure(options.output, faces.selection, network.scale.numpy())
    codec_card.write(options.output, figures, faces, recipe, options)
    print(f"λ {weight:.4g}: {rate(trainer, faces.selection):.0f} bits by the paper's entropy coder")
    print(codec_card.table(figures))


if __name__ == "__main__":
    main()
