"""What the exported codec measures on the people held out, and the model cards that say so."""

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from semface.codec.bitstream import outline
from semface.codec.core import Codec
from semface.codec.prior import ANALYSIS_MODEL, SYNTHESIS_MODEL
from semface.descriptors import GROUPS, Portion
from semface.inference.blocking import run_blocking
from semface.inference.embedded import EmbeddedEngine
from training.codec_network import HALFWAY

if TYPE_CHECKING:
    from training.codec import Faces, Recipe

BATCH = 256
PORTIONS = (Portion.IDENTITY, Portion.EXPRESSION, Portion.ILLUMINATION)


@dataclass(frozen=True, slots=True)
class Figures:
    """One quality on the faces held out."""

    name: str
    bits: float
    """Mean bits of a whole frame."""
    payload_bits: dict[Portion, float]
    """Mean bits of each portion's payload, its check left out."""
    errors: dict[str, float]
    """Mean absolute error of each group, in standard deviations of the training faces."""


def measure(repository: Path, faces: NDArray[np.float32], scale: NDArray[np.float32]) -> list[Figures]:
    """Code ``faces`` (N, 257) at every quality of the codec in ``repository``; ``scale`` (257,) are the deviations."""
    codec = Codec(EmbeddedEngine(repository), repository)
    return [run_blocking(_measure(codec, faces, scale, quality.index)) for quality in codec.prior.qualities]


async def _measure(codec: Codec, faces: NDArray[np.float32], scale: NDArray[np.float32], quality: int) -> Figures:
    frames, decoded = [], []
    for start in range(0, len(faces), BATCH):
        batch = await codec.encode(faces[start : start + BATCH], quality)
        frames += batch
        decoded += [face.descriptors for face in await codec.decode(batch)]
    sizes = [outline(frame).sizes for frame in frames]
    errors = np.abs(np.array(decoded) - faces) / scale
    return Figures(
        codec.prior.qualities[quality].name,
        8 * float(np.mean([len(frame) for frame in frames])),
        {portion: 8 * float(np.mean([size[portion] for size in sizes])) for portion in PORTIONS},
        {name: float(errors[:, where].mean()) for name, where in GROUPS.items()},
    )


def table(figures: list[Figures]) -> str:
    """Return the figures as a table in Markdown."""
    heads = ["quality", "frame bits", *(str(portion.name).lower() for portion in PORTIONS), *GROUPS]
    rows = [heads, ["---"] * len(heads)]
    for one in figures:
        bits = [f"{one.payload_bits[portion]:.0f}" for portion in PORTIONS]
        rows.append([one.name, f"{one.bits:.0f}", *bits, *(f"{one.errors[name]:.3f}" for name in GROUPS)])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def write(
    repository: Path, figures: list[Figures], faces: "Faces", recipe: "Recipe", options: argparse.Namespace
) -> None:
    """Write ``card.md`` beside both networks."""
    shared = _shared(figures, faces, recipe, options)
    (repository / ANALYSIS_MODEL / "card.md").write_text(_ANALYSIS + shared)
    (repository / SYNTHESIS_MODEL / "card.md").write_text(_SYNTHESIS + shared)


_ANALYSIS = """# codec_analysis

The sender's side of the codec, g_a: descriptors to 256 latents, which the prior beside `codec_synthesis` quantises.

| tensor | shape | unit and range |
|---|---|---|
| input `descriptors` | [N, 257] float32 | as `semface/descriptors.py` lays them out; clamped just outside training |
| output `latents` | [N, 256] float32 | 0–159 identity, 160–231 expression, 232–255 illumination; not quantised |

"""

_SYNTHESIS = """# codec_synthesis

The receiver's side of the codec, g_s: dequantised latents to descriptors. `1/prior.npz` holds the frozen entropy model
of each quality: gains, integer frequency tables, their least symbols (`docs/bitstream.md`).

| tensor | shape | unit and range |
|---|---|---|
| input `latents` | [N, 256] float32 | integers over gains: 0–159 identity, 160–231 expression, 232–255 illumination |
| output `descriptors` | [N, 257] float32 | as `semface/descriptors.py` lays them out; clamped just outside training |

"""

_SHARED = """The network is the paper's auto-encoder (section II.C): fully connected layers, ReLU, GDN, ResNet
shortcuts, 256 latents; {layout}. Weights are kept as
16-bit floats behind a cast.

## Training

{command}: {distortion} + λ · bits of a factorised learned prior,
uniform noise for rounding; Adam at {rate:g} (gains and prior {prior_rate:g}), β 0.5 and 0.999, batch {batch},
{epochs} epochs, seed {seed}; {schedule}.
The network starts from no other weights. The descriptors come from `descriptor_extraction`: {sources} faces
(Labeled Faces in the Wild, Huang et al., 2007, research use; FER2013, Goodfellow et al., 2013, research use). The mix
sets the prior. People of these folds of the verification pairs were left out: {excluded}. The frozen tables count the
training faces' integers, smoothed by the learned density.

## Figures on faces held out

{held_out:,} faces: LFW people whose name's SHA-256 is 0 modulo 10, and FER+ training pictures whose bytes' is. Frame
bits are everything, heads and checks included; then the bits of each payload, and the mean absolute error of each group
in standard deviations. The default quality is `{default}`.

{table}
"""

_STEERED = """start from the components that the distortion sees most of; λ steered to {targets} bits, the
learning rate falling along a cosine; true rounding (straight-through) for distortion in the last {settling:.0%};
the gains of `{halfway}` are the geometric means of its neighbours'"""

_BY_EFFECT = """the effect of coding in millimetres at the face's vertices, in grey levels on it, on the embedding
(weight {identity:g}) and on the expression's confidences (`training/codec_distortion.py`)"""

_BY_NUMBERS = "mean absolute error over the {numbers}standardised numbers"

_UNSTEERED = "λ = {weight:.4g} for each bit of a face"

_BLOCKS = "block-diagonal by portion, so that each portion's payload stands alone"
_WHOLE = "one network for the whole face, so that no payload stands alone"


def _shared(figures: list[Figures], faces: "Faces", recipe: "Recipe", options: argparse.Namespace) -> str:
    targets = ", ".join(f"{target:g}" for target in recipe.targets)
    return _SHARED.format(
        command="`training.codec`" if recipe.steered else "`training.paper_codec`",
        layout=_BLOCKS if recipe.steered else _WHOLE,
        distortion=_BY_EFFECT.format(identity=recipe.identity)
        if recipe.steered
        else _BY_NUMBERS.format(numbers=_numbers(options)),
        rate=recipe.rate,
        prior_rate=recipe.prior_rate,
        batch=recipe.batch,
        epochs=recipe.epochs,
        seed=options.seed,
        schedule=_STEERED.format(targets=targets, settling=recipe.settling, halfway=HALFWAY[0])
        if recipe.steered
        else _UNSTEERED.format(weight=options.weight),
        sources=", ".join(faces.sources),
        excluded=", ".join(map(str, sorted(options.exclude_folds))) or "none",
        held_out=len(faces.selection),
        default=recipe.names[recipe.default],
        table=table(figures),
    )


def _numbers(options: argparse.Namespace) -> str:
    """Return which numbers a training for one portion looks at, the others being 0."""
    return "257 " if options.portion is None else f"{options.portion}'s "
