"""What a run of accuracy against rate is asked to do."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from semface.errors import Reason, SemfaceError
from semface.evaluation.rate_accuracy.image_codecs import IMAGE_CODECS
from semface.evaluation.rate_accuracy.points import EXPRESSION, VERIFICATION
from semface.evaluation.verification import parse_folds

ENLARGED: Final = 224
"""Side to which pictures of expressions are enlarged once, as the paper does."""

PARAMETERS: Final[Mapping[str, Mapping[str, tuple[int, ...]]]] = {
    VERIFICATION: {
        "vvc": (43, 46, 49, 52, 55, 58, 61),
        "hevc": (33, 36, 39, 42, 45, 48, 51),
        "av1": (0, 2, 5, 10, 15, 20, 30),
        "jpeg": (1, 3, 5, 8, 12, 18, 25),
    },
    EXPRESSION: {
        "vvc": (31, 37, 43, 47, 51, 54, 57),
        "hevc": (31, 35, 39, 42, 45, 48, 51),
        "av1": (0, 5, 10, 20, 30, 40, 50),
        "jpeg": (1, 3, 5, 10, 15, 20, 30),
    },
}
"""By task and image codec: seven parameters, from about as few bits as it can to where accuracy no longer rises."""

ENLARGED_PARAMETERS: Final = (43, 46, 49, 52, 55, 58, 61)
"""QPs of VVC on enlarged pictures."""


@dataclass(frozen=True, slots=True)
class FoldModels:
    """A repository and the folds of pairs it is judged on (None: all): people none of its weights have seen."""

    repository: Path
    folds: frozenset[int] | None


def parse_run(text: str) -> FoldModels:
    """Return the run that ``text`` names, such as ``5-8=build/without-5-8``; raises FIELD_INVALID for another form."""
    folds, separator, folder = text.partition("=")
    if not separator or not folder:
        raise SemfaceError(Reason.FIELD_INVALID, f"cannot read the run {text!r}; write FOLDS=DIR, such as 5-8=models")
    return FoldModels(Path(folder), parse_folds(folds))


CODEC_KINDS: Final = ("retrained-identity", "retrained-expression", "paper", "paper-identity", "paper-expression")
"""What ``--codec`` may name: ours retrained for a portion, the paper's, the paper's retrained for a portion."""


@dataclass(frozen=True, slots=True)
class CodecModels:
    """A repository with another codec, of one of ``CODEC_KINDS``, and the folds of the run it is for (None: all)."""

    kind: str
    repository: Path
    folds: frozenset[int] | None


def parse_codec(text: str) -> CodecModels:
    """Return the codec that ``text`` names, such as ``paper=DIR`` or ``paper:5-8=DIR``; raises FIELD_INVALID."""
    named, separator, folder = text.partition("=")
    kind, _, folds = named.partition(":")
    if not separator or not folder or kind not in CODEC_KINDS:
        kinds = ", ".join(CODEC_KINDS)
        raise SemfaceError(Reason.FIELD_INVALID, f"cannot read the codec {text!r}; write KIND=DIR with one of {kinds}")
    return CodecModels(kind, Path(folder), parse_folds(folds) if folds else None)


def parse_names(text: str) -> tuple[str, ...]:
    """Return the image codecs that ``text`` names, such as ``vvc,jpeg``; raises FIELD_INVALID for an unknown one."""
    names = tuple(filter(None, text.split(",")))
    unknown = [name for name in names if name not in IMAGE_CODECS]
    if unknown:
        known = ", ".join(IMAGE_CODECS)
        raise SemfaceError(Reason.FIELD_INVALID, f"there is no baseline {unknown[0]!r}; choose of {known}")
    return names


def parse_numbers(text: str) -> tuple[int, ...]:
    """Return the whole numbers in ``text``, such as ``43,49,55``; raises FIELD_INVALID for anything else."""
    try:
        numbers = tuple(int(part) for part in text.split(","))
    except ValueError:
        numbers = ()
    if not numbers:
        raise SemfaceError(Reason.FIELD_INVALID, f"cannot read the numbers {text!r}; write them as 43,49,55")
    return numbers


@dataclass(frozen=True, slots=True)
class RateAccuracyOptions:
    """The pictures, the networks, and how far the run goes. ``models`` judges expressions, ``runs`` the pairs."""

    images: Path | None
    pairs: Path | None
    expressions: Path | None
    learn: Path | None
    """Labelled pictures of the training side, from which the leaks are learned."""
    models: Path
    runs: tuple[FoldModels, ...]
    teachers: Path
    baselines: tuple[str, ...] = tuple(IMAGE_CODECS)
    qps: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """QPs of VVC by task, in place of those of ``PARAMETERS``."""
    enlarged_qps: tuple[int, ...] = ENLARGED_PARAMETERS
    codecs: tuple[CodecModels, ...] = ()
    leaks: bool = False
    limit: int | None = None
    cache: Path | None = None
    workers: int = 1

    def __post_init__(self) -> None:
        """Raise FIELD_INVALID for options that do not go together."""
        if (self.images is None) != (self.pairs is None) or (self.images is None and self.expressions is None):
            raise SemfaceError(Reason.FIELD_INVALID, "name --images ZIP with --pairs CSV, or --expressions ZIP, or all")
        if self.leaks and self.expressions is not None and self.learn is None:
            message = "what leaks of expressions is learned from pictures of the training side; name them with --learn"
            raise SemfaceError(Reason.FIELD_INVALID, message)

    def parameters(self, task: str, codec: str) -> tuple[int, ...]:
        """Return the parameters at which ``codec`` is measured for ``task``."""
        return self.qps.get(task, PARAMETERS[task][codec]) if codec == "vvc" else PARAMETERS[task][codec]
