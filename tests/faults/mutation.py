"""Broken inputs made from whole ones, the same every time."""

from collections.abc import Iterator, Sequence

import numpy as np

INTERESTING = tuple(
    bytes.fromhex(text) for text in ("00", "01", "7f", "80", "ff", "ffff", "7fffffff", "ffffffff", "80000000")
)


def mutations(whole: Sequence[bytes], count: int, seed: int) -> Iterator[bytes]:
    """Yield ``count`` inputs: bytes of ``whole`` ones changed, cut, doubled, crossed, and now and then mere noise."""
    random = np.random.default_rng(seed)
    for number in range(count):
        if number % 16 == 15:
            yield random.bytes(int(random.integers(0, 200)))
            continue
        data = bytearray(whole[int(random.integers(len(whole)))])
        for _ in range(int(random.integers(1, 5))):
            _change(data, whole, random)
        yield bytes(data)


def _change(data: bytearray, whole: Sequence[bytes], random: np.random.Generator) -> None:
    place = int(random.integers(len(data) + 1))
    length = int(random.integers(1, 32))
    match random.integers(7):
        case 0 if data:
            data[place % len(data)] ^= 1 << int(random.integers(8))
        case 1:
            data[place : place + 1] = random.bytes(1)
        case 2:
            value = INTERESTING[int(random.integers(len(INTERESTING)))]
            data[place : place + len(value)] = value
        case 3:
            del data[place : place + length]
        case 4:
            data[place:place] = random.bytes(length)
        case 5:
            data[place:place] = data[place : place + length]
        case _:
            other = whole[int(random.integers(len(whole)))]
            start = int(random.integers(len(other) + 1))
            data[place:] = other[start:]
