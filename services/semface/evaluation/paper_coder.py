"""The paper's entropy coding of integer latents, to compare with: exponential Golomb codes, then an adaptive coder.

Zero-order exponential Golomb codes make bits of the integers (paper, section II.C). An adaptive model of order 0, which
starts anew at each face, codes these bits; so does the public software that the paper calls PPM. A real PPM stands
beside it: PPMd, variant H, of the package ``pyppmd`` (LGPL; the extra ``paper``).
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from semface.errors import Reason, SemfaceError

PPM_ORDER: Final = 6
PPM_MEMORY: Final = 1 << 20

MEAN_FACES: Final = 1000
"""The coders are slow: a mean is over this many faces, evenly chosen."""


def golomb_bits(integers: ArrayLike) -> list[int]:
    """Return the bits of ``integers`` (n,), each coded by itself: 0, 1, −1, 2, −2 … are numbered 0, 1, 2, 3, 4 …

    A number is told by the binary digits of it and 1, after as many zeros as digits follow the first.
    """
    bits: list[int] = []
    for value in np.asarray(integers).tolist():
        digits = bin((2 * value - 1 if value > 0 else -2 * value) + 1)[2:]
        bits += [0] * (len(digits) - 1)
        bits += map(int, digits)
    return bits


def read_golomb(bits: Iterator[int]) -> Iterator[int]:
    """Yield the integers whose ``golomb_bits`` are ``bits``, taking no bit before it is needed."""
    for bit in bits:
        zeros = 0
        while not bit:
            zeros, bit = zeros + 1, next(bits)
        number = 1
        for digit in islice(bits, zeros):
            number = 2 * number + digit
        yield number // 2 if number % 2 == 0 else -(number // 2)


def encode_order0(integers: ArrayLike) -> bytes:
    """Return the shortest bytes that the adaptive model of order 0 gives the ``golomb_bits`` of ``integers`` (n,).

    A bit's probability is its count so far, plus 1, over all bits so far, plus 2. The interval is kept as exact
    fractions, so nothing is lost to the coder's own arithmetic.
    """
    low, width, whole = 0, 1, 1
    counts = [1, 1]
    for bit in golomb_bits(integers):
        low, whole = low * sum(counts), whole * sum(counts)
        if bit:
            low += width * counts[0]
        width *= counts[bit]
        counts[bit] += 1
    size = 0
    while (value := -(-(low << 8 * size) // whole)) * whole >= (low + width) << 8 * size:
        size += 1
    return value.to_bytes(size, "big")


def decode_order0(payload: bytes, count: int) -> list[int]:
    """Return the ``count`` integers that ``encode_order0`` made ``payload`` of."""

    def bits() -> Iterator[int]:
        low, width, whole = 0, 1, 1
        counts = [1, 1]
        value = int.from_bytes(payload, "big")
        while True:
            low, whole = low * sum(counts), whole * sum(counts)
            border = low + width * counts[0]
            bit = int(value * whole >= border << 8 * len(payload))
            if bit:
                low = border
            width *= counts[bit]
            counts[bit] += 1
            yield bit

    return list(islice(read_golomb(bits()), count))


def encode_ppm(integers: ArrayLike) -> bytes:
    """Return what PPMd makes of the ``golomb_bits`` of ``integers`` (n,), eight in a byte, zeros filling the last.

    Raises MODEL_UNKNOWN when ``pyppmd`` is not installed.
    """
    pyppmd = _pyppmd()
    coder = pyppmd.Ppmd7Encoder(PPM_ORDER, PPM_MEMORY)
    return bytes(coder.encode(np.packbits(np.array(golomb_bits(integers), np.uint8)).tobytes()) + coder.flush())


def decode_ppm(payload: bytes, count: int) -> list[int]:
    """Return the ``count`` integers that ``encode_ppm`` made ``payload`` of. Raises what it raises."""
    pyppmd = _pyppmd()
    coder = pyppmd.Ppmd7Decoder(PPM_ORDER, PPM_MEMORY)

    def bits() -> Iterator[int]:
        left = payload
        while True:
            byte = coder.decode(left, 1)[0]
            left = b""
            yield from (byte >> place & 1 for place in range(7, -1, -1))

    return list(islice(read_golomb(bits()), count))


def evenly_chosen(integers: NDArray[np.int32]) -> list[NDArray[np.int32]]:
    """Return about ``MEAN_FACES`` of the faces' ``integers`` (N, 256), or all where there are no more."""
    return list(integers[:: max(1, len(integers) // MEAN_FACES)])


def mean_bits(encode: Callable[[ArrayLike], bytes], faces: Sequence[ArrayLike]) -> float:
    """Return the mean length in bits of what ``encode`` makes of the integers of each of ``faces``."""
    return 8 * float(np.mean([len(encode(integers)) for integers in faces]))


def _pyppmd() -> Any:
    try:
        import pyppmd
    except ImportError:
        message = "PPMd is not installed; run `pip install 'semface[paper]'`"
        raise SemfaceError(Reason.MODEL_UNKNOWN, message) from None
    return pyppmd
