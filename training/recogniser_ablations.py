"""Ablations of DAN and SLFER on FER+'s selection part, of AMDFN on the test people of its synthetic scans.

    python -m training.recogniser_ablations dan
    python -m training.recogniser_ablations slfer --seeds 1 2 3 --epochs 15 --rest --labels 0.1
    python -m training.recogniser_ablations amdfn --only "depth, no attention" depth

One recipe and the same seeds for every variant. Each run is kept, so that an interrupted command goes on where it was,
and several commands, of other ``--only`` or ``--seeds``, may run side by side; the same command without them then tells
all. Prints mean and deviation over the seeds, and the mean and deviation of the paired differences from the first
variant, which is the first that ``--only`` names.
"""

import argparse
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev
from types import MappingProxyType
from typing import Final

from semface.meaning import SCAN_EXPRESSIONS
from training import amdfn, dan, datasets, scan_data, slfer
from training.amdfn_network import ATTRIBUTES
from training.pixel_faces import load_ferplus

Variants = Mapping[str, Sequence[str]]

DAN: Final[Variants] = MappingProxyType(
    {
        "as in the paper: four heads, affinity, partition": (),
        "no clustering": ("--clustering", "none"),
        "centre loss": ("--clustering", "centre"),
        "no partition loss": ("--no-partition",),
        **{f"heads = {heads}": ("--heads", str(heads)) for heads in (1, 2, 3, 5, 6)},
        "heads = 2, no partition loss": ("--heads", "2", "--no-partition"),
    }
)
BASELINE: Final = ("--segmentation", "0", "--classification", "0", "--no-squeeze-excitation")
PAPER: Final = ("--classification", "0.5")
"""The paper's weights, where what ships has others."""
SLFER: Final[Variants] = MappingProxyType(
    {
        "baseline": BASELINE,
        "CT": (*PAPER, "--segmentation", "0", "--no-squeeze-excitation"),
        "ST": ("--classification", "0", "--no-squeeze-excitation"),
        "CT+ST": (*PAPER, "--no-squeeze-excitation"),
        "CT+ST+SE": PAPER,
        "as it ships": (),
        **{f"n = {count}": ("--components", str(count)) for count in (2, 3, 5, 6)},
        **{f"λ1 = {weight}": ("--segmentation", str(weight)) for weight in (0.0, 0.001, 0.1, 1.0)},
        **{f"λ2 = {weight}": ("--classification", str(weight)) for weight in (0.0, 0.001, 1.0)},
    }
)
AMDFN: Final[Variants] = MappingProxyType(
    {
        f"{attributes}{told}": (*channels, *options)
        for told, options in (("", ()), (", no attention", ("--no-attention",)))
        for attributes, channels in {"all": (), **{name: ("--channels", name) for name in ATTRIBUTES}}.items()
    }
)
VARIANTS: Final[Mapping[str, Variants]] = MappingProxyType({"dan": DAN, "slfer": SLFER, "amdfn": AMDFN})

Run = Callable[[Sequence[str]], float]


def run_dan(options: Sequence[str]) -> float:
    """Train DAN with ``options`` and return its accuracy."""
    return dan.train(load_ferplus(), dan.parse(["--no-judge", *options]))[2].accuracy


def run_slfer(options: Sequence[str]) -> float:
    """Train SLFER with ``options`` and return its accuracy."""
    faces = load_ferplus()
    return slfer.train(faces, slfer.load_masks(faces.names), slfer.parse(["--no-judge", *options]))[2].accuracy


def run_amdfn(options: Sequence[str]) -> float:
    """Train AMDFN with ``options`` and return its accuracy."""
    arguments = amdfn.parse(list(options))
    network = amdfn.train(scan_data.load(range(arguments.people), arguments.takes), SCAN_EXPRESSIONS, arguments)
    return amdfn.judge(network, scan_data.load(amdfn.TEST))[0]["accuracy"]


RUNS: Final[Mapping[str, Run]] = MappingProxyType({"dan": run_dan, "slfer": run_slfer, "amdfn": run_amdfn})


def accuracy_of(name: str, options: Sequence[str], kept: Path) -> float:
    """Return the accuracy of one run, from its file in the folder ``kept`` where it was made before."""
    words = " ".join(options)
    file = kept / f"{hashlib.sha256(words.encode()).hexdigest()[:16]}.json"
    if not file.exists():
        told = {"options": words, "accuracy": RUNS[name](options)}
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
    parser.add_argument("--only", nargs="+", help="these variants alone, in this order")
    parser.add_argument("--rest", nargs=argparse.REMAINDER, default=[], help="what the recipe takes, last of all")
    arguments = parser.parse_args()
    name = arguments.recogniser
    variants = VARIANTS[name]
    chosen = arguments.only or list(variants)
    if unknown := [variant for variant in chosen if variant not in variants]:
        parser.error(f"{name} has no variant {unknown[0]!r}, but: {', '.join(variants)}")
    kept = datasets.cache() / "ablations" / name
    accuracies = {
        variant: [
            accuracy_of(
                name,
                ("--epochs", str(arguments.epochs), "--seed", str(seed), *variants[variant], *arguments.rest),
                kept,
            )
            for seed in arguments.seeds
        ]
        for variant in chosen
    }
    print("\n".join(table(accuracies)))


if __name__ == "__main__":
    main()
