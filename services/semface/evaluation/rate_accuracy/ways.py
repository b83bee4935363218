"""How faces travel in a comparison: our frames whole and by portion, codecs retrained for a portion, the paper's codec.

Our codec has a payload for each portion, so a portion alone needs no retraining. The paper's codec is one network for
all 257 numbers: a portion alone is sent as the paper does it, with zeros in place of the others, without retraining and
with.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from semface.codec.core import Codec
from semface.descriptors import PORTION_SLICES, Descriptors, Portion
from semface.errors import Reason, SemfaceError
from semface.evaluation.coding import ReceivedFaces, read_integers, send, transmit
from semface.evaluation.paper_coder import encode_order0, evenly_chosen, mean_bits
from semface.evaluation.rate_accuracy.options import CodecModels
from semface.evaluation.rate_accuracy.points import EXPRESSION, VERIFICATION
from semface.evaluation.serving_path import ServingPath

SYSTEM: Final = "semface"
PAPER_SYSTEM: Final = "the paper's codec"
WHOLE: Final = "all 257 numbers"
UNCODED: Final = "uncoded"
NEEDED: Final = {VERIFICATION: Portion.IDENTITY, EXPRESSION: Portion.EXPRESSION}
"""The portion that each task needs."""
PORTION_NAMES: Final = {Portion.IDENTITY: "identity", Portion.EXPRESSION: "expression"}
PORTION_VARIANTS: Final = {portion: f"{name} only" for portion, name in PORTION_NAMES.items()}
RETRAINED: Final = ", retrained"


@dataclass(frozen=True, slots=True)
class Way:
    """One way of sending: the codec of each run, the payloads that are coded, and the numbers that are not zeroed.

    ``paper_coder``: the integers' bits are those of the paper's entropy coder, which has no frame.
    """

    system: str
    variant: str
    codecs: tuple[ServingPath, ...]
    coded: Portion = Portion.ALL
    kept: Portion = Portion.ALL
    paper_coder: bool = False

    @property
    def qualities(self) -> list[str]:
        """The names of the qualities."""
        return [quality.name for quality in Codec(self.codecs[0].engine, self.codecs[0].repository).prior.qualities]

    async def send(self, run: int, quality: str, faces: Descriptors) -> ReceivedFaces:
        """Return what arrives of ``faces`` (N, 257) by the codec of the run at place ``run``."""
        path = self.codecs[run]
        codec = Codec(path.engine, path.repository, quality)
        if self.kept is not Portion.ALL:
            zeroed = np.zeros_like(faces)
            zeroed[:, PORTION_SLICES[self.kept]] = faces[:, PORTION_SLICES[self.kept]]
            faces = zeroed
        return await (_sent_by_paper(codec, faces) if self.paper_coder else send(codec, faces, self.coded))


def ways_of(
    task: str, own: Sequence[ServingPath], folds: Sequence[frozenset[int]], opened: Mapping[CodecModels, ServingPath]
) -> list[Way]:
    """Return the ways in which ``task`` is judged, for runs of these ``own`` paths and ``folds``.

    Raises FIELD_INVALID when a codec was named for some runs and not for another.
    """
    portion = NEEDED[task]
    name, alone = PORTION_NAMES[portion], PORTION_VARIANTS[portion]
    ways = [Way(SYSTEM, WHOLE, tuple(own)), Way(SYSTEM, alone, tuple(own), coded=portion)]
    if retrained := _codecs(f"retrained-{name}", folds, opened):
        ways.append(Way(SYSTEM, alone + RETRAINED, retrained, coded=portion))
    if paper := _codecs("paper", folds, opened):
        ways.append(Way(PAPER_SYSTEM, WHOLE, paper, paper_coder=True))
        ways.append(Way(PAPER_SYSTEM, alone, paper, kept=portion, paper_coder=True))
    if retrained := _codecs(f"paper-{name}", folds, opened):
        ways.append(Way(PAPER_SYSTEM, alone + RETRAINED, retrained, kept=portion, paper_coder=True))
    return ways


def _codecs(
    kind: str, folds: Sequence[frozenset[int]], opened: Mapping[CodecModels, ServingPath]
) -> tuple[ServingPath, ...]:
    """Return the codec of ``kind`` for each run, or nothing where none is named."""
    named = {models.folds: path for models, path in opened.items() if models.kind == kind}
    found = [named.get(of_run, named.get(None)) for of_run in folds]
    if not any(found):
        return ()
    chosen = tuple(path for path in found if path is not None)
    if len(chosen) < len(folds):
        raise SemfaceError(Reason.FIELD_INVALID, f"name a codec {kind} for the folds of each --run, or one for all")
    return chosen


async def _sent_by_paper(codec: Codec, faces: Descriptors) -> ReceivedFaces:
    """Send all latents; the bits are the mean of what the paper's coder makes of some evenly chosen faces."""
    frames, decoded = await transmit(codec, faces)
    integers, _, _ = read_integers(codec, codec.default_quality, frames)
    bits = mean_bits(encode_order0, evenly_chosen(integers))
    # A mean stands for each face: the mean over all is the same.
    return ReceivedFaces(decoded, Portion.ALL, np.full(len(faces), round(bits), np.int64))
