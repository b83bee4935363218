"""Train the paper's codec, at its own λ or at the λ whose rate comes out at a target.

    python -m training.paper_codec --output build/paper-0.001
    python -m training.paper_codec --bits 1410 --output build/paper-1410
    python -m training.paper_codec --portion identity --like build/paper-1410 --output build/paper-1410-identity

One auto-encoder for the whole face; mean absolute error over the 257 standardised numbers + λ · bits of a face; the
paper's schedule (section III.A). Rate is what the paper's entropy coder makes of the integers of the faces held out:
exponential Golomb codes and the order-0 adaptive model. With ``--bits`` λ is searched: where a training misses the
target, λ is moved along the slope seen and it is trained again. With ``--portion`` the codec is retrained for that
portion alone, as the paper does it: the other numbers are 0, and the error is that of the portion's.
"""

import argparse
import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from semface.codec.core import Codec
from semface.descriptors import DESCRIPTOR_SIZE, PORTION_SLICES, Portion
from semface.evaluation.coding import read_integers
from semface.evaluation.paper_coder import encode_order0, encode_ppm, mean_bits
from semface.inference.blocking import run_blocking
from semface.inference.embedded import EmbeddedEngine
from training import codec_card, codec_prior, datasets
from training.codec import Faces, Recipe, Trainer, load
from training.codec_export import export
from training.codec_network import WholeFace
from training.received_descriptors import digest

PAPER_LAMBDA: Final = 0.001

RECIPE: Final = Recipe(
    epochs=40,
    batch=64,
    rate=1e-4,
    # The paper's rate is that of its networks. Latents may grow twentyfold while they learn: a density whose scale is
    # kept as a logarithm would not follow them at that rate.
    prior_rate=1e-3,
    names=("paper",),
    targets=(0,),
    default=0,
    steered=False,
    settling=0.0,
    layout=WholeFace(256),
    # In 40 epochs at this rate latents of the usual start do not grow beyond 1,240 bits, whatever λ is.
    gain=4.0,
)

START: Final = 5e-5
"""λ from which it is searched: about where 257 Gaussian numbers take 5.5 bits each."""

TRAININGS: Final = 8
"""The search gives up after so many."""

MEASURED_FACES: Final = 500

WEIGHT_FILE: Final = "paper_codec.json"
"""Beside the models: λ of the training and the rates it came to."""


def only(faces: Faces, portion: Portion) -> Faces:
    """Return ``faces`` with 0 in place of the numbers of all other portions."""

    def kept(values: NDArray[np.float32]) -> NDArray[np.float32]:
        zeros = np.zeros_like(values)
        zeros[:, PORTION_SLICES[portion]] = values[:, PORTION_SLICES[portion]]
        return zeros

    return replace(faces, training=kept(faces.training), selection=kept(faces.selection))


def train(faces: Faces, weight: float, epochs: int, seed: int, portion: Portion = Portion.ALL) -> Trainer:
    """Return the paper's codec trained on ``faces`` for ``epochs`` at λ = ``weight``, kept in the cache as it goes.

    With one ``portion`` the other numbers of ``faces`` have to be 0.
    """
    recipe = replace(RECIPE, epochs=epochs)
    judged = slice(0, DESCRIPTOR_SIZE) if portion is Portion.ALL else PORTION_SLICES[portion]
    trainer = Trainer(faces.training, recipe, seed, judged=judged)
    trainer.log_lambdas.fill_(math.log(weight))
    key = digest(faces.training, recipe, seed, weight, judged)
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


def search(bits_at: Callable[[float], float], target: float, tolerance: float) -> float:
    """Return the λ at which ``bits_at``, falling as λ grows, is within ``tolerance`` of ``target`` bits.

    Raises ``SystemExit`` when ``TRAININGS`` do not get there.
    """
    seen: list[tuple[float, float]] = []
    place = math.log(START)
    for _ in range(TRAININGS):
        bits = bits_at(math.exp(place))
        print(f"λ {math.exp(place):.3g}: {bits:.0f} bits", flush=True)
        if abs(bits - target) <= tolerance:
            return math.exp(place)
        seen.append((place, bits))
        place = _next(seen, target)
    raise SystemExit(f"no λ gave {target:g} ± {tolerance:g} bits; logarithms of λ and bits were {seen}")


def _next(seen: list[tuple[float, float]], target: float) -> float:
    """Return the logarithm of λ at which the line through the last two of ``seen`` (log λ, bits) meets ``target``."""
    place, bits = seen[-1]
    # Before a slope is seen: each latent in use takes 1.44 bits less when λ grows e-fold; many are hardly in use.
    slope = -250.0
    if len(seen) > 1 and seen[-2][1] != bits:
        slope = (bits - seen[-2][1]) / (place - seen[-2][0])
    # Never far at once: one line through two noisy places may point anywhere.
    return place + max(-1.5, min(1.5, (target - bits) / slope))


def rates(repository: Path, faces: NDArray[np.float32]) -> dict[str, float]:
    """Return mean bits of ``faces`` (N, 257) by the codec in ``repository``, told three ways on the same integers.

    ``payload_bits``: the three payloads without checks, by the frozen tables. ``paper_bits``: exponential Golomb codes
    and the order-0 adaptive model. ``ppm_bits``: the same codes and PPMd.
    """
    codec = Codec(EmbeddedEngine(repository), repository)
    some = faces[:MEASURED_FACES]
    integers, payload_bits, entropy_bits = read_integers(codec, codec.default_quality, run_blocking(codec.encode(some)))
    return {
        "payload_bits": payload_bits,
        "entropy_bits": entropy_bits,
        "paper_bits": mean_bits(encode_order0, list(integers)),
        "ppm_bits": mean_bits(encode_ppm, list(integers)),
    }


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Return the options of the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="model repository to write into, one of its own")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--bits", type=float, help="search the λ of this rate instead of the paper's own λ")
    how.add_argument("--like", type=Path, help="take the λ of the paper's codec in this repository")
    parser.add_argument("--tolerance", type=float, default=50.0, help="how far from --bits the rate may be")
    parser.add_argument(
        "--portion", choices=("identity", "expression"), help="retrain for this portion alone, as the paper does"
    )
    datasets.add_excluded_folds(parser)
    parser.add_argument("--epochs", type=int, default=RECIPE.epochs)
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    """Train, export and write the cards."""
    options = parse(arguments)
    portion = Portion.ALL if options.portion is None else Portion[options.portion.upper()]
    faces = load(options.exclude_folds)
    if portion is not Portion.ALL:
        faces = only(faces, portion)
    if options.bits is not None:
        weight = search(
            lambda weight: rate(train(faces, weight, options.epochs, options.seed, portion), faces.selection),
            options.bits,
            options.tolerance,
        )
    else:
        weight = PAPER_LAMBDA if options.like is None else _weight(options.like)
    trainer = train(faces, weight, options.epochs, options.seed, portion)
    network, recipe = trainer.network, trainer.recipe
    with torch.inference_mode():
        latents = network.analyse(trainer.standard).numpy()
    export(network, codec_prior.freeze(network, latents, recipe.names, recipe.default), options.output)
    measured = {"lambda": weight} | rates(options.output, faces.selection)
    (options.output / WEIGHT_FILE).write_text(json.dumps(measured, indent=2) + "\n")
    figures = codec_card.measure(options.output, faces.selection, network.scale.numpy())
    options.weight = weight
    codec_card.write(options.output, figures, faces, recipe, options)
    print(json.dumps(measured))
    print(
        f"payload bits against the paper's entropy coder: {measured['payload_bits'] / measured['paper_bits'] - 1:+.1%}"
    )


def _weight(repository: Path) -> float:
    """Return the λ of the paper's codec in ``repository``."""
    kept: dict[str, Any] = json.loads((repository / WEIGHT_FILE).read_text())
    return float(kept["lambda"])


if __name__ == "__main__":
    main()
