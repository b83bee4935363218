"""Ablations of DAN and SLFER on FER+: one recipe, the same seeds for every variant, judged on the selection part.

    python -m training.recogniser_ablations dan
    python -m training.recogniser_ablations slfer --seeds 1 2 3 --epochs 15 --rest --labels 0.1

Each run is kept, so that an interrupted command goes on where it was, and several commands, of other ``--only`` or
``--seeds``, may run side by side; the same command without them then tells all. Prints mean and deviation over the
seeds, and the mean and deviation of the paired differences from the first variant.
"""

import argparse
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev
from types import MappingProxyType
from typing import Final

from training import dan, datasets, slfer
from training.pixel_faces import PixelFaces, load_ferplus
from training.pixel_recipe import Figures

Variants = Mapping[str, Sequence[str]]

DAN: Final[Variants] = MappingProxyType(
    {
        "as in the paper: four heads, affinity, partition": (),
        "no clustering": ("--clustering", "none"),
        "centre loss": ("--clustering", "centre"),
        "no partition loss": ("--no-partition",),
        **{f"{heads} heads": ("--heads", str(heads)) for heads in (1, 2, 3, 5, 6)},
    }
)
BASELINE: Final = ("--segmentation", "0", "--classification", "0", "--no-squeeze-excitation")
SLFER: Final[Variants] = MappingProxyType(
    {
        "baseline": BASELINE,
        "CT": ("--segmentation", "0", "--no-squeeze-excitation"),
        "ST": ("--classification", "0", "--no-squeeze-excitation"),
        "CT+ST": ("--no-squeeze-excitation",),
        "CT+ST+SE": (),
        **{f"n = {count}": ("--components", str(count)) for count in (2, 3, 5, 6)},
        **{f"λ1 = {weight}": ("--segmentation", str(weight)) for weight in (0.0, 0.001, 0.1, 1.0)},
        **{f"λ2 = {weight}": ("--classification", str(weight)) for weight in (0.0, 0.001, 0.1, 1.0)},
    }
)
VARIANTS: Final[Mapping[str, Variants]] = MappingProxyType({"dan": DAN, "slfer": SLFER})

Run = Callable[[PixelFaces, Sequence[str]], Figures]


def run_dan(faces: PixelFaces, options: Sequence[str]) -> Figures:
    """Train DAN with ``options`` and return its figures."""
    return dan.train(faces, dan.parse(list(options)))[2]


def run_slfer(faces: PixelFaces, options: Sequence[str]) -> Figures:
    """Train SLFER with ``options`` and return its figures."""
    return slfer.train(faces, slfer.load_masks(faces.names), slfer.parse(list(options)))[2]


RUNS: Final[Mapping[str, Run]] = MappingProxyType({"dan": run_dan, "slfer": run_slfer})


def accuracy_of(name: str, faces: PixelFaces, options: Sequence[str], kept: Path) -> float:
    """Return the accuracy of one run, from its file in the folder ``kept`` where it was made before."""
    words = " ".join(options)
    file = kept / f"{hashlib.sha256(words.encode()).hexdigest()[:16]}.json"
    if not file.exists():
        told = {"options": words, "accuracy": RUNS[name](faces, options).accuracy}
        kept.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(told, indent=1))
    return float(json.loads(file.read_text())["accuracy"])


def table(accuracies: Mapping[str, Sequence[float]]) -> list[str]:
    """Return lines of Markdown: mean and deviation of each variant in percent, and of its difference from the first."""
    first = next(iter(accuracies.values()))
    lines = ["| variant | accuracy, % | over the first |", "|---|---|---|"]
    for name, values in accuracies.items():
        differences = [value - other for value, other in zip(values, first, strict=True)]
        over = "" if values is first else _spread(differences, "+")
        lines.append(f"| {name} | {_spread(values)} | {over} |")
    return lines


def _spread(values: Sequence[float], sign: str = "") -> str:
    deviation = f" ± {100 * stdev(values):.2f}" if len(values) > 1 else ""
    return f"{100 * mean(values):{sign}.2f}{deviation}"


def main() -> None:
    """Run the ablations of one recogniser."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recogniser", choices=VARIANTS)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--only", nargs="+", help="these variants alone")
    parser.add_argument("--rest", nargs=argparse.REMAINDER, default=[], help="what the recipe takes, last of all")
    arguments = parser.parse_args()
    faces, name = load_ferplus(), arguments.recogniser
    kept = datasets.cache() / "ablations" / name
    accuracies = {
        variant: [
            accuracy_of(
                name,
                faces,
                ("--no-judge", "--epochs", str(arguments.epochs), "--seed", str(seed), *options, *arguments.rest),
                kept,
            )
            for seed in arguments.seeds
        ]
        for variant, options in VARIANTS[name].items()
        if arguments.only is None or variant in arguments.only
    }
    print("\n".join(table(accuracies)))


if __name__ == "__main__":
    main()
