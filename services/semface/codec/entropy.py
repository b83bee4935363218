"""Range coding of integers over frozen tables of integer frequencies, exact on every machine.

The coder is ``constriction``'s range coder (32-bit words, 64-bit state, 24-bit precision). Its categorical model takes
weights as floats, gives each of the S symbols one unit of 2^24 and shares the remaining 2^24 − S units in proportion to
the weights. Weights of ``256 · frequency − 1`` sum to exactly 2^24 − S, so the scale is exactly 1, every partial sum is
a whole number below 2^24 (exact in float32), and each symbol gets exactly ``256 · frequency`` units: no rounding ever
happens. ``docs/bitstream.md`` gives the integer arithmetic; the tests hold it against a decoder written from that page.

To encode, the interval of one symbol is all that matters: the table of 3 symbols that holds this interval and what lies
on its two sides makes the same bytes as the table of S, in a time that does not grow with S.
"""

from collections.abc import Sequence
from functools import cached_property
from typing import Final

import constriction
import numpy as np
from numpy.typing import NDArray

from semface.codec.batch_coding import DamagedPayload, Units, decode_batch, encode_batch
from semface.errors import Reason, SemfaceError

FREQUENCY_BITS: Final = 16
"""Frequencies of one table sum to 2^16."""

FREQUENCY_TOTAL: Final = 1 << FREQUENCY_BITS

# The coder works with 24-bit probabilities: one frequency is 2^8 of its units.
_UNITS: Final = 1 << 24
_UNITS_PER_FREQUENCY: Final = _UNITS // FREQUENCY_TOTAL
_STATE_BITS: Final = 64
_WORD_BITS: Final = 32
_WORD_BYTES: Final = _WORD_BITS // 8
FEW_TO_ENCODE: Final = 112
FEW_TO_DECODE: Final = 48
"""So many payloads are coded one by one; from there on the arrays of a batch are quicker."""
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
        places, weights = self._intervals
        chosen = self._rows + symbols
        encoder = constriction.stream.queue.RangeEncoder()
        encoder.encode(places[chosen], _FAMILY, weights[chosen])
        return shortest(encoder)

    def encode_all(self, symbols: Symbols) -> list[bytes]:
        """Return what ``encode`` makes of each row of ``symbols`` (N, n)."""
        if len(symbols) < FEW_TO_ENCODE or not len(self):
            return [self.encode(row) for row in symbols]
        return encode_batch(self.bounds, symbols)

    def decode_all(self, payloads: Sequence[bytes]) -> Symbols:
        """Return the symbols (N, n) of payloads that ``encode`` made.

        Raises :class:`DamagedPayload`, which tells the first payload that ``decode`` would refuse.
        """
        if len(payloads) >= FEW_TO_DECODE and len(self):
            return decode_batch(self.bounds, payloads)
        symbols = np.empty((len(payloads), len(self)), np.int32)
        for index, payload in enumerate(payloads):
            try:
                symbols[index] = self.decode(payload)
            except SemfaceError as error:
                raise DamagedPayload(index) from error
        return symbols

    def decode(self, payload: bytes) -> Symbols:
        """Return the symbols (n,) of a payload that ``encode`` made.

        Raises BITSTREAM_CORRUPT for any byte string that ``encode`` does not make. Bytes after the end read as zero, so
        the work is bounded by n whatever the payload holds.
        """
        next_symbol = range_decoder(payload).decode
        try:
            symbols = np.array([next_symbol(model) for model in self._models], np.int32)
        except (AssertionError, ValueError) as error:
            raise SemfaceError(Reason.BITSTREAM_CORRUPT, "a payload is damaged: no symbol at this place") from error
        # One message has one payload: this refuses what is longer or other than needed, and most damage a CRC misses.
        if self.encode(symbols) != payload:
            raise SemfaceError(Reason.BITSTREAM_CORRUPT, "a payload is damaged: it is not what its symbols code to")
        return symbols

    @cached_property
    def _models(self) -> list[constriction.stream.model.Categorical]:
        """One model for each symbol of a payload, made once: making it takes longer than decoding with it."""
        weights = (self._frequencies * _UNITS_PER_FREQUENCY - 1).astype(np.float32)
        return [constriction.stream.model.Categorical(row, perfect=False, lazy=False) for row in weights]

    @cached_property
    def _rows(self) -> NDArray[np.intp]:
        """(n,) where each table begins among all entries laid end to end."""
        return np.arange(len(self)) * self.symbols

    @cached_property
    def bounds(self) -> Units:
        """(n, S + 1) where each symbol begins among the coder's units."""
        ends = _UNITS_PER_FREQUENCY * self._frequencies.cumsum(axis=1)
        return np.concatenate([np.zeros((len(self), 1), np.int64), ends], axis=1).astype(np.uint64)

    @cached_property
    def _intervals(self) -> tuple[Symbols, NDArray[np.float32]]:
        """For each entry of all tables: its place (n·S,) in a table of 3 symbols, and that table's weights (n·S, 3)."""
        below = self.bounds[:, :-1].astype(np.int64).ravel()
        share = _UNITS_PER_FREQUENCY * self._frequencies.ravel()
        above = _UNITS - below - share
        # No symbol may have no units: where nothing lies on one side, the other side is halved.
        first, last = below == 0, above == 0
        units = np.stack([below, share, above], axis=1)
        units[first] = np.stack([share, above // 2, above - above // 2], axis=1)[first]
        units[last] = np.stack([below // 2, below - below // 2, share], axis=1)[last]
        places = np.where(first, 0, np.where(last, 2, 1)).astype(np.int32)
        return places, (units - 1).astype(np.float32)


def range_decoder(message: bytes) -> constriction.stream.queue.RangeDecoder:
    """Return a decoder of ``message``, after which zeros are read."""
    words = np.frombuffer(message + bytes(-len(message) % _WORD_BYTES), dtype=">u4")
    return constriction.stream.queue.RangeDecoder(words.astype(np.uint32))


def shortest(encoder: constriction.stream.queue.RangeEncoder, lead: int = 0) -> bytes:
    """Return the shortest byte string that, followed by zeros, lies in the final interval [low, low + width).

    It begins with ``lead`` bits of 0 that are no part of the number.
    """
    position, (low_end, width) = encoder.pos()
    words = encoder.get_compressed()
    inside = int.from_bytes(words.astype(">u4").tobytes(), "big")
    total_bits = position * _WORD_BITS + _STATE_BITS
    inside <<= total_bits - len(words) * _WORD_BITS
    # The state keeps only the last 64 bits of the lower end; the compressed words lie inside the interval above it.
    low = inside - ((inside - low_end) & ((1 << _STATE_BITS) - 1))
    # Lengths that end on a byte after the lead: what is left out is a multiple of 8 beyond it.
    free_bits = (width.bit_length() - 1 - lead) // 8 * 8 + lead
    while free_bits + 8 <= total_bits and _round_up(low, free_bits + 8) < low + width:
        free_bits += 8
    value = _round_up(low, free_bits) >> free_bits
    return value.to_bytes((total_bits - free_bits + lead) // 8, "big")


def _round_up(value: int, bits: int) -> int:
    """Return the smallest multiple of 2^bits that is at least ``value``."""
    return -(-value >> bits) << bits
