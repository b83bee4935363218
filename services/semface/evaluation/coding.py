"""The way over the wire: descriptors of the pictures, coded, counted and decoded."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from semface.codec.bitstream import unpack
from semface.codec.core import Codec
from semface.codec.prior import LATENT_SIZE, Quality
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
    frames, faces = await transmit(codec, descriptors, portions, bits=target_bits)
    return ReceivedFaces(faces, portions, np.array([8 * len(frame) for frame in frames]))


async def transmit(
    codec: Codec,
    faces: Descriptors,
    portions: Portion = Portion.ALL,
    *,
    quality: str | int | None = None,
    bits: int | None = None,
) -> tuple[list[bytes], Descriptors]:
    """Return the frames of ``faces`` (N, 257), coded as ``Codec.encode`` says, and the numbers decoded from them."""
    frames: list[bytes] = []
    decoded: list[Descriptors] = []
    for start in range(0, len(faces), CODING_BATCH):
        batch = await codec.encode(faces[start : start + CODING_BATCH], quality, portions, bits=bits)
        frames += batch
        decoded += [face.descriptors for face in await codec.decode(batch)]
    return frames, np.array(decoded, np.float32).reshape(-1, faces.shape[1])


def mean_frame_bits(frames: Sequence[bytes]) -> float:
    """Return the mean length of ``frames`` in bits."""
    return 8 * float(np.mean([len(frame) for frame in frames]))


def read_integers(codec: Codec, quality: Quality, frames: Sequence[bytes]) -> tuple[NDArray[np.int32], float, float]:
    """Return the integers (N, 256) of ``frames`` at one quality, and the mean bits of payloads and of their entropy.

    Latents that are not coded are 0. Payload bits are without checks.
    """
    payloads = [unpack(frame, bytes.fromhex(codec.model_hash))[1] for frame in frames]
    integers = np.zeros((len(frames), LATENT_SIZE), np.int32)
    spent, ideal = 0, 0.0
    for portion, prior in quality.portions.items():
        symbols = prior.tables.decode_all([held[portion] for held in payloads])
        integers[:, prior.latents] = symbols + prior.minimum
        spent += sum(8 * len(held[portion]) for held in payloads)
        ideal += prior.tables.ideal_bits(symbols)
    return integers, spent / len(frames), ideal / len(frames)
