"""The check after each payload: CRC-8 with x^8 + x^2 + x + 1, of one payload or of many at once."""

from collections.abc import Sequence
from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

PAYLOAD_POLYNOMIAL: Final = 0x107  # x^8 + x^2 + x + 1
_PERIOD: Final = 127  # x^8 to this power is 1 modulo the polynomial
_FEW: Final = 24


def crc8(message: bytes, start: int = 0) -> int:
    """Return the remainder (0…255) of ``message`` with eight zero bits after it; ``start``: of what came before."""
    table = _table()
    for byte in message:
        start = table[start ^ byte]
    return start


def crc8_all(messages: Sequence[bytes], start: int = 0) -> list[int]:
    """Return ``crc8`` of each of ``messages``."""
    if len(messages) < _FEW:
        return [crc8(message, start) for message in messages]
    # The check is a sum over GF(2): each byte adds what it is worth at its distance from the end.
    worth = _worth_by_distance()
    lengths = np.array([len(message) for message in messages])
    ends = lengths.cumsum()
    data = np.frombuffer(b"".join(messages), np.uint8)
    distance = np.repeat(ends, lengths) - np.arange(len(data))
    sums = np.zeros(len(data) + 1, np.uint8)
    np.bitwise_xor.accumulate(worth[distance % _PERIOD, data], out=sums[1:])
    checks: NDArray[np.uint8] = sums[ends] ^ sums[ends - lengths] ^ worth[lengths % _PERIOD, start]
    return checks.tolist()


@cache
def _table() -> tuple[int, ...]:
    """The remainder of each byte with eight zero bits after it."""
    remainders = []
    for byte in range(256):
        value = byte << 8
        for bit in range(15, 7, -1):
            if value >> bit & 1:
                value ^= PAYLOAD_POLYNOMIAL << bit - 8
        remainders.append(value)
    return tuple(remainders)


@cache
def _worth_by_distance() -> NDArray[np.uint8]:
    """(127, 256): each byte times x^(8·distance), modulo the polynomial."""
    step = np.array(_table(), np.uint8)
    rows = [np.arange(256, dtype=np.uint8)]
    for _ in range(_PERIOD - 1):
        rows.append(step[rows[-1]])
    return np.stack(rows)
