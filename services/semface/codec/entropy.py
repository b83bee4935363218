"""Range coding of integers over frozen tables of integer frequencies, exact on every machine.

The coder is ``constriction``'s range coder (32-bit words, 64-bit state, 24-bit precision). Its categorical model takes
weights as floats, gives each of the S symbols one unit of 2^24 and shares the remaining 2^24 − S units in proportion to
the weights. Weights of ``256 · frequency − 1`` sum to exactly 2^24 − S, so the scale is exactly 1, every partial sum is
a whole number below 2^24 (exact in float32), and each symbol gets exactly ``256 · frequency`` units: no rounding ever
happens. ``docs/bitstream.md`` gives the integer arithmetic; the tests hold it against a decoder written from that page.
"""

from typing import Final

import constriction
import numpy as np
from numpy.typing import NDArray

from semface.errors import Reason, SemfaceError

FREQUENCY_BITS: Final = 16
"""Frequencies of one table sum to 2^16."""

FREQUENCY_TOTAL: Final = 1 << FREQUENCY_BITS

# The coder works with 24-bit probabilities: one frequency is 2^8 of its units.
_UNITS_PER_FREQUENCY: Final = 1 << (24 - FREQUENCY_BITS)
_STATE_BITS: Final = 64
_WORD_BITS: Final = 32
_FAMILY: Final = constriction.stream.model.Categorical(perfect=False)

Symbols = NDArray[np.int32]


class FrequencyTables:
    """The frozen models of one payload: row i is the table of its i-th symbol.

    ``frequencies``: unsigned integers (n, S), S ≥ 2, each at least 1, each row summing to 2^16. Symbols are 0…S−1.
    Raises ``ValueError`` for anything else.
    """

    def __init__(self, frequencies: NDArray[np.unsignedinteger]) -> None:
        table = np.asarray(frequencies)
        if table.ndim != 2 or table.shape[1] < 2 or not np.issubdtype(table.dtype, np.integer):
            raise ValueError("frequency tables must be integers of shape (n, S) with S of at least 2")
        if table.size and (table.min() < 1 or (table.sum(axis=1, dtype=np.int64) != FREQUENCY_TOTAL).any()):
            raise ValueError("each frequency must be at least 1 and each table must sum to 2^16")
        self._frequencies = table.astype(np.int64)
        self._weights = (self._frequencies * _UNITS_PER_FREQUENCY - 1).astype(np.float32)

    def __len__(self) -> int:
        return len(self._frequencies)

    @property
    def frequencies(self) -> NDArray[np.int64]:
        """The tables (n, S)."""
        return self._frequencies

    @property
    def symbols(self) -> int:
        """How many different symbols each table has."""
        return self._frequencies.shape[1]

    def ideal_bits(self, symbols: Symbols) -> float:
        """Σ −log2 p of ``symbols`` (n,), or of a batch (N, n) over all of it: what no coder can beat on average."""
        chosen = self._frequencies[np.arange(len(self)), np.asarray(symbols)]
        return float(FREQUENCY_BITS * chosen.size - np.log2(chosen).sum())

    def encode(self, symbols: Symbols) -> bytes:
        """Return the shortest byte string in the coder's final interval for ``symbols`` (n,), each in 0…S−1."""
        if not len(self):
            return b""
        encoder = constriction.stream.queue.RangeEncoder()
        encoder.encode(np.ascontiguousarray(symbols, dtype=np.int32), _FAMILY, self._weights)
        return _shortest(encoder)

    def decode(self, payload: bytes) -> Symbols:
        """Return the symbols (n,) of a payload that ``encode`` made.

        Raises BITSTREAM_CORRUPT for any byte string that ``encode`` does not make. Bytes after the end read as zero, so
        the work is bounded by n whatever the payload holds.
        """
        if not len(self):
            symbols = np.zeros(0, np.int32)
        else:
            words = np.frombuffer(payload + bytes(-len(payload) % 4), dtype=">u4").astype(np.uint32)
            try:
                symbols = constriction.stream.queue.RangeDecoder(words).decode(_FAMILY, self._weights)
            except (AssertionError, ValueError) as error:
                raise SemfaceError(Reason.BITSTREAM_CORRUPT, "a payload is damaged: no symbol at this place") from error
        # One message has one payload: this refuses what is longer or other than needed, and most damage a CRC misses.
        if self.encode(symbols) != payload:
            raise SemfaceError(Reason.BITSTREAM_CORRUPT, "a payload is damaged: it is not what its symbols code to")
        return symbols


def _shortest(encoder: constriction.stream.queue.RangeEncoder) -> bytes:
    """Return the shortest byte string that, followed by zeros, lies in the final interval [low, low + width)."""
    position, (low_end, width) = encoder.pos()
    words = encoder.get_compressed()
    inside = int.from_bytes(words.astype(">u4").tobytes(), "big")
    total_bits = position * _WORD_BITS + _STATE_BITS
    inside <<= total_bits - len(words) * _WORD_BITS
    # The state keeps only the last 64 bits of the lower end; the compressed words lie inside the interval above it.
    low = inside - ((inside - low_end) & ((1 << _STATE_BITS) - 1))
    free_bits = (width.bit_length() - 1) // 8 * 8
    while free_bits < total_bits and _round_up(low, free_bits + 8) < low + width:
        free_bits += 8
    value = _round_up(low, free_bits) >> free_bits
    return value.to_bytes((total_bits - free_bits) // 8, "big")


def _round_up(value: int, bits: int) -> int:
    """Return the smallest multiple of 2^bits that is at least ``value``."""
    return -(-value >> bits) << bits
