"""A session in a file: the codec model's hash, the frame rate, then the frames with their lengths.

``docs/bitstream.md`` is the specification.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final, Self

from semface.codec.bitstream import HASH_BYTES, MAX_FRAME_BYTES
from semface.errors import Reason, SemfaceError

SIGNATURE: Final = b"\xd3SEM"
"""How a recording begins; no frame of this version does."""

_RATE_BYTES: Final = 2
_LARGEST: Final = (1 << 8 * _RATE_BYTES) - 1
_LONG: Final = 1 << 7


def is_recording(data: bytes) -> bool:
    """Return whether ``data`` calls itself a recorded session."""
    return data.startswith(SIGNATURE)


@dataclass(frozen=True, slots=True)
class Recording:
    """The frames of one session."""

    model_hash: bytes
    """The first 8 bytes of the codec model's hash."""
    frames_per_second: Fraction
    frames: Sequence[bytes]
    """In order; an empty one stands for a moment without a frame."""

    def write(self) -> bytes:
        """Return the bytes of the file."""
        rate = self.frames_per_second.limit_denominator(1001)
        numbers = (min(rate.numerator, _LARGEST), rate.denominator)
        parts = [SIGNATURE, self.model_hash[:HASH_BYTES], *(number.to_bytes(_RATE_BYTES, "big") for number in numbers)]
        for frame in self.frames:
            length = len(frame)
            parts.append(bytes((length,)) if length < _LONG else (length | _LONG << 8).to_bytes(2, "big"))
            parts.append(frame)
        return b"".join(parts)

    @classmethod
    def read(cls, data: bytes) -> Self:
        """Return the recording in ``data``; raises BITSTREAM_CORRUPT where it is none or ends too early."""
        place = len(SIGNATURE) + HASH_BYTES
        head = data[place : place + 2 * _RATE_BYTES]
        denominator = int.from_bytes(head[_RATE_BYTES:], "big")
        if not is_recording(data) or len(head) < 2 * _RATE_BYTES or not denominator:
            raise SemfaceError(Reason.BITSTREAM_CORRUPT, "the head of the recording is damaged")
        rate = Fraction(int.from_bytes(head[:_RATE_BYTES], "big"), denominator)
        frames, place = [], place + len(head)
        while place < len(data):
            length, place = data[place], place + 1
            if length & _LONG:
                length, place = (length ^ _LONG) << 8 | int.from_bytes(data[place : place + 1], "big"), place + 1
            if length > min(MAX_FRAME_BYTES, len(data) - place):
                raise SemfaceError(Reason.BITSTREAM_CORRUPT, "the recording ends inside a frame, or is damaged")
            frames.append(data[place : place + length])
            place += length
        return cls(data[len(SIGNATURE) : len(SIGNATURE) + HASH_BYTES], rate, frames)
