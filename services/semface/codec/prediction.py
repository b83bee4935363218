"""Frames predicted from the one before: what changed in each integer latent, coded with tables that follow the motion.

A latent is predicted to stay. The difference is coded with one of ``SCALES`` frozen tables, chosen from how much this
latent moved lately and how lively the frame is as a whole. Everything is arithmetic of whole numbers on what the
decoder has too, so both sides choose alike on every machine. ``docs/bitstream.md`` is the specification.
"""

from dataclasses import dataclass
from typing import Final, Self

import constriction
import numpy as np
from numpy.typing import NDArray

from semface.codec.entropy import FREQUENCY_BITS, FREQUENCY_TOTAL, range_decoder, shortest
from semface.errors import Reason, SemfaceError

LIMIT: Final = 63
"""No difference is larger; a face that moves more is sent as a key frame."""

SYMBOLS: Final = 2 * LIMIT + 1

DECAYS: Final = (328, 536, 876, 1432, 2341, 3820, 6211, 10010, 15789, 23797, 33272, 42491, 50027, 55491, 59179, 61568)
"""For each scale: by how much, of 2^16, a difference larger by 1 is rarer; mean sizes from 0.01 to 16."""

SCALES: Final = len(DECAYS)

THRESHOLDS: Final = (52, 86, 140, 229, 375, 613, 1002, 1638, 2679, 4382, 7165, 11718, 19163, 31338, 51248)
"""The mean size, in 1/4096, from which the next scale is taken: between the means of neighbouring scales."""

MOTION_UNIT: Final = 4096
MOTION_START: Final = 1024
"""A quarter: what a latent's mean difference is taken to be after a key frame."""

MOTION_SHIFT: Final = 4
"""The newest difference has the weight 1/16 in the running mean."""

LIVELINESS: Final = 3
"""A frame moves all its latents' scales by −3 to 3."""

LIVELINESS_SCALE: Final = 11
"""The table with which that is coded: 0 in 1.7 bits, ±3 in 4.6."""

LEAD: Final = 4
"""A payload begins 4 bits into its first byte; those belong to the frame's check."""

_FAMILY: Final = constriction.stream.model.Categorical(perfect=False)

Integers = NDArray[np.int64]
"""The integer latents (n,) of one portion, or their differences."""


def difference_tables() -> NDArray[np.int64]:
    """Return the frozen frequencies (SCALES, SYMBOLS) of the differences −LIMIT…LIMIT, each row summing to 2^16."""
    rows = []
    for decay in DECAYS:
        weights = [1 << 40]
        for _ in range(LIMIT):
            weights.append(weights[-1] * decay >> 16)
        total = 2 * sum(weights) - weights[0]
        side = [1 + (FREQUENCY_TOTAL - SYMBOLS) * weight // total for weight in weights[1:]]
        rows.append([*reversed(side), FREQUENCY_TOTAL - 2 * sum(side), *side])
    return np.array(rows, np.int64)


_FREQUENCIES: Final = difference_tables()
_BITS: Final = FREQUENCY_BITS - np.log2(_FREQUENCIES)
_WEIGHTS: Final = (_FREQUENCIES * 256 - 1).astype(np.float32)


@dataclass(frozen=True, slots=True)
class Motion:
    """What both sides know after a frame: its integer latents and how much each moved lately."""

    latents: Integers
    means: Integers
    """Running mean (n,) of the sizes of the differences, in 1/4096."""

    @classmethod
    def after_key(cls, latents: NDArray[np.int32]) -> Self:
        """Return the state after a key frame of the integer ``latents`` (n,)."""
        return cls(latents.astype(np.int64), np.full(len(latents), MOTION_START, np.int64))

    def moved(self, differences: Integers) -> "Motion":
        """Return the state after ``differences`` (n,) were added."""
        means = self.means + (MOTION_UNIT * np.abs(differences) - self.means >> MOTION_SHIFT)
        return Motion(self.latents + differences, means)

    def scales(self, liveliness: int) -> Integers:
        """Return the number (n,) of each latent's table in a frame of this ``liveliness`` (−3…3)."""
        return np.clip(np.searchsorted(THRESHOLDS, self.means, side="right") + liveliness, 0, SCALES - 1)

    def bits(self) -> NDArray[np.float64]:
        """Return the bits (n, SYMBOLS) of each difference in a frame of liveliness 0."""
        return _BITS[self.scales(0)]

    def encode(self, differences: Integers) -> bytes:
        """Return the payload of ``differences`` (n,), each within ±LIMIT; its first 4 bits are 0 and no part of it."""
        symbols = differences + LIMIT
        choices = range(-LIVELINESS, LIVELINESS + 1)
        costs = [
            _BITS[self.scales(choice), symbols].sum() + _BITS[LIVELINESS_SCALE, choice + LIMIT] for choice in choices
        ]
        return self._code(choices[int(np.argmin(costs))], symbols)

    def decode(self, payload: bytes) -> Integers:
        """Return the differences (n,) of a ``payload`` that ``encode`` made from the same state.

        Its first 4 bits are not looked at. Raises BITSTREAM_CORRUPT for what ``encode`` cannot have made.
        """
        moved = int.from_bytes(payload, "big") << LEAD & (1 << 8 * len(payload)) - 1
        decoder = range_decoder(moved.to_bytes(len(payload), "big"))
        try:
            first = int(decoder.decode(_FAMILY, _WEIGHTS[LIVELINESS_SCALE][None])[0])
            liveliness = first - LIMIT
            if abs(liveliness) > LIVELINESS:
                raise ValueError("no liveliness")
            symbols = decoder.decode(_FAMILY, _WEIGHTS[self.scales(liveliness)]).astype(np.int64)
        except (AssertionError, ValueError) as error:
            raise SemfaceError(Reason.BITSTREAM_CORRUPT, "a payload is damaged: no symbol at this place") from error
        # Any liveliness decodes to differences: what counts is that coding them so gives the same bytes.
        again = self._code(liveliness, symbols)
        if len(again) != len(payload) or int.from_bytes(again, "big") << LEAD != moved:
            raise SemfaceError(Reason.BITSTREAM_CORRUPT, "a payload is damaged: it is not what its symbols code to")
        return symbols - LIMIT

    def _code(self, liveliness: int, symbols: Integers) -> bytes:
        encoder = constriction.stream.queue.RangeEncoder()
        encoder.encode(np.array([liveliness + LIMIT], np.int32), _FAMILY, _WEIGHTS[LIVELINESS_SCALE][None])
        encoder.encode(symbols.astype(np.int32), _FAMILY, _WEIGHTS[self.scales(liveliness)])
        return shortest(encoder, LEAD)
