"""Range coding of many faces at once: the arithmetic of ``docs/bitstream.md`` on arrays, all faces in step.

It makes and reads the bytes that :mod:`semface.codec.entropy` makes and reads one face at a time, some ten times
faster: one symbol of all faces takes as many calls as one symbol of one face.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

Symbols = NDArray[np.int32]
Units = NDArray[np.uint64]

_PROBABILITY_BITS: Final = np.uint64(24)
_WORD_BITS: Final = np.uint64(32)
_WORD: Final = np.uint64(0xFFFFFFFF)
_WORD_BYTES: Final = 4
_ALL: Final = np.uint64(0xFFFFFFFFFFFFFFFF)


class DamagedPayload(Exception):
    """One of the payloads is no message of these tables; ``index`` tells which comes first."""

    def __init__(self, index: int) -> None:
        super().__init__(f"payload {index} is damaged")
        self.index = index


def encode_batch(bounds: Units, symbols: Symbols) -> list[bytes]:
    """Return the shortest payload of each row of ``symbols`` (N, n).

    ``bounds`` (n, S + 1): where the symbols of each table begin among 2^24 units, from 0 to 2^24.
    """
    columns = np.arange(len(bounds))[:, None]
    begins = bounds[columns, symbols.T]
    shares = bounds[columns, symbols.T + 1] - begins
    low, width = np.zeros(len(symbols), np.uint64), np.full(len(symbols), _ALL)
    # Column 0 takes no word: a carry may be added to the word before, whatever the place.
    words = np.zeros((len(symbols), len(bounds) + 3), np.uint64)
    place = np.ones(len(symbols), np.intp)
    for begin, share in zip(begins, shares, strict=True):
        unit = width >> _PROBABILITY_BITS
        before = low
        low = low + unit * begin
        width = unit * share
        carried = np.flatnonzero(low < before)
        words[carried, place[carried] - 1] += np.uint64(1)
        moved = np.flatnonzero(width <= _WORD)
        if len(moved):
            words[moved, place[moved]] = low[moved] >> _WORD_BITS
            place[moved] += 1
            low[moved] <<= _WORD_BITS
            width[moved] <<= _WORD_BITS
    _end(words, place, low, width)
    return _bytes(words, place)


def _end(words: Units, place: NDArray[np.intp], low: Units, width: Units) -> None:
    """Write the number in [low, low + width) with the most zero bytes at its end, the smallest of those."""
    rows = np.arange(len(words))
    chosen = low.copy()
    for free in range(8, 64, 8):
        below = np.uint64((1 << free) - 1)
        rounding = -low & below
        chosen = np.where(rounding < width, low + rounding, chosen)
    # A multiple of 2^64 in the interval: low itself where it is 0, else the carry into the words.
    chosen = np.where(-low < width, np.uint64(0), chosen)
    words[rows, place - 1] += chosen < low
    words[rows, place] = chosen >> _WORD_BITS
    words[rows, place + 1] = chosen & _WORD


def _bytes(words: Units, place: NDArray[np.intp]) -> list[bytes]:
    used = int(place.max()) + 2
    for column in range(used - 1, 0, -1):
        words[:, column - 1] += words[:, column] >> _WORD_BITS
    whole = words[:, 1:used].astype(np.uint32).astype(">u4").tobytes()
    stride = _WORD_BYTES * (used - 1)
    # Zeros follow whatever is sent, so they need not be sent.
    return [whole[start : start + stride].rstrip(b"\0") for start in range(0, stride * len(words), stride)]


def decode_batch(bounds: Units, payloads: Sequence[bytes]) -> Symbols:
    """Return the symbols (N, n) of ``payloads``; ``bounds`` as in ``encode_batch``.

    Raises :class:`DamagedPayload` for the first byte string that ``encode_batch`` does not make.
    """
    most = _WORD_BYTES * (len(bounds) + 2)
    lengths = np.array([len(payload) for payload in payloads])
    padded = b"".join(payload[:most].ljust(most, b"\0") for payload in payloads)
    words = np.frombuffer(padded, ">u4").reshape(len(payloads), -1).astype(np.uint64)
    # How far the payload's number lies above the lower end of the interval.
    offset = words[:, 0] << _WORD_BITS | words[:, 1]
    width = np.full(len(payloads), _ALL)
    place = np.full(len(payloads), 2)
    damaged = np.zeros(len(payloads), np.bool_)
    symbols = np.empty((len(bounds), len(payloads)), np.int32)
    last = np.int64(bounds.shape[1] - 2)
    for column, table in enumerate(bounds):
        unit = width >> _PROBABILITY_BITS
        target = offset // unit
        damaged |= target >= table[-1]
        found = np.minimum(table.searchsorted(target, side="right") - 1, last)
        begin = table[found]
        symbols[column] = found
        offset = offset - unit * begin
        width = unit * (table[found + 1] - begin)
        moved = np.flatnonzero(width <= _WORD)
        if len(moved):
            offset[moved] = offset[moved] << _WORD_BITS | words[moved, place[moved]]
            width[moved] <<= _WORD_BITS
            place[moved] += 1
    damaged |= ~_shortest(payloads, lengths, place, offset, width)
    if damaged.any():
        raise DamagedPayload(int(damaged.argmax()))
    return symbols.T


def _shortest(
    payloads: Sequence[bytes], lengths: NDArray[np.intp], place: NDArray[np.intp], offset: Units, width: Units
) -> NDArray[np.bool_]:
    """Return whether each payload is the one that ``_end`` chooses in the interval [−offset, −offset + width)."""
    free = 8 * (_WORD_BYTES * place - lengths)
    ends = np.array([payload[-1] if payload else 1 for payload in payloads], np.uint64)
    step = np.where(free < 64, np.uint64(1) << np.minimum(free, 63).clip(0).astype(np.uint64), _ALL)
    smallest = offset < step
    # The next number with one zero byte more lies this many steps above; a payload of no byte has none.
    rounder = (np.uint64(256) - ends) * np.where(free < 64, step, np.uint64(0))
    none_shorter = (free >= 64) | (rounder >= width - offset)
    return (free >= 0) & (ends > 0) & smallest & none_shorter
