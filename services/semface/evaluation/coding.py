"""The way over the wire: descriptors of the pictures, coded, counted and decoded."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from semface.codec.core import Codec
from semface.descriptors import Descriptors, Portion
from semface.errors import Reason, SemfaceError

CODING_BATCH = 256
"""Faces that are coded together."""

UNCODED = "none"
"""The name that asks for no coding at all."""

GROUP_CHOICES = {None: Portion.ALL, "identity": Portion.IDENTITY, "expression": Portion.EXPRESSION}
"""What ``--groups`` may name, and which payloads are then coded."""


@dataclass(frozen=True, slots=True)
class ReceivedFaces:
    """What the receiver has: descriptors (N, 257), the portions that came, the frames' bits (N,) or None if uncoded."""

    descriptors: Descriptors
    portions: Portion
    bits: NDArray[np.int64] | None

    @property
    def bits_mean(self) -> float | None:
        """Mean frame length in bits, or None when nothing was coded."""
        return None if self.bits is None or len(self.bits) == 0 else float(self.bits.mean())


def portions_of(groups: str | None) -> Portion:
    """Return the portions that ``groups`` names; raises FIELD_INVALID for another name."""
    if groups not in GROUP_CHOICES:
        names = ", ".join(name for name in GROUP_CHOICES if name)
        raise SemfaceError(Reason.FIELD_INVALID, f"there are no groups {groups!r}; choose one of {names}")
    return GROUP_CHOICES[groups]


async def send(
    codec: Codec | None, descriptors: Descriptors, portions: Portion, target_bits: int | None = None
) -> ReceivedFaces:
    """Encode and decode each face (N, 257) at the codec's default quality; without a codec they come as they are.

    With ``target_bits`` each face takes the finest quality that fits.
    """
    if codec is None:
        return ReceivedFaces(descriptors, portions, None)
    bits: list[int] = []
    faces = []
    for start in range(0, len(descriptors), CODING_BATCH):
        batch = descriptors[start : start + CODING_BATCH]
        frames = await codec.encode(batch, portions=portions, bits=target_bits)
        bits += [8 * len(frame) for frame in frames]
        faces += [decoded.descriptors for decoded in await codec.decode(frames)]
    return ReceivedFaces(np.array(faces, np.float32).reshape(-1, descriptors.shape[1]), portions, np.array(bits))
