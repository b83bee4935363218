"""What the recipes share when they train on a user's own data: options, one-line errors, and the model card."""

import argparse
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from semface.errors import SemfaceError
from training.datasets import REPOSITORY
from training.own_data import IncompleteDataError, parse_data
from training.received_descriptors import CODEC_MODELS

CARD = Path(__file__).with_name("cards") / "own_data.md"


def add_own_data(parser: argparse.ArgumentParser, known: Collection[str]) -> None:
    """Add ``--data NAME=DIR`` with the names ``known``, and ``--models``."""

    def data(text: str) -> tuple[str, Path]:
        try:
            return parse_data(text, known)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    parser.add_argument("--data", type=data, metavar="NAME=DIR", help=f"your own data set: {', '.join(known)}")
    parser.add_argument(
        "--models",
        type=Path,
        default=REPOSITORY / "model_repository",
        help="with --data: repository whose extraction and codec describe and send the faces",
    )


def described_by(arguments: argparse.Namespace) -> Path:
    """Return the repository whose codec sends the faces: ``--models`` for own data, else the one written into.

    Ends the program when own data has no codec to be sent through.
    """
    if not arguments.data:
        return arguments.output
    missing = [name for name in CODEC_MODELS if not (arguments.models / name / "1" / "model.onnx").exists()]
    if missing:
        sys.exit(f"{arguments.models} lacks {' and '.join(missing)}; name a whole repository with --models")
    return arguments.models


def require_both_parts(selection: NDArray[np.bool_]) -> None:
    """Raise IncompleteDataError unless some faces are for selection (N,) and some are not."""
    if selection.all() or not selection.any():
        raise IncompleteDataError(f"{len(selection)} faces are too few: about a tenth is kept apart for selection")


@contextmanager
def told_in_one_line() -> Iterator[None]:
    """End the program with one line for data that is half there, instead of a traceback."""
    try:
        yield
    except (IncompleteDataError, SemfaceError) as error:
        sys.exit(str(error))


def own_card(
    model: str,
    arguments: argparse.Namespace,
    counts: str,
    columns: Sequence[str],
    figures: Sequence[tuple[str, *tuple[float, ...]]],
    thresholds: Mapping[str, float] | None = None,
) -> str:
    """Return the model card of a network trained on a user's own data, in Markdown."""
    lines = ["| " + " | ".join(columns) + " |", "|---" * len(columns) + "|"]
    lines += [f"| {name} | " + " | ".join(f"{value:.3f}" for value in values) + " |" for name, *values in figures]
    chosen = "\n".join(f"| `{name}` | {value:.4f} |" for name, value in (thresholds or {}).items())
    return CARD.read_text().format(
        model=model,
        data=arguments.data[0],
        counts=counts,
        epochs=arguments.epochs,
        seed=arguments.seed,
        figures="\n".join(lines),
        thresholds=f"\n| threshold (in `config.pbtxt`) | cosine |\n|---|---|\n{chosen}\n" if chosen else "",
    )
