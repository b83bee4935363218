"""A decoder written from docs/bitstream.md alone, in whole numbers, sharing no code with the package."""

from collections.abc import Sequence

NAMES = {4: "illumination", 2: "expression", 1: "identity"}
BITS_64 = (1 << 64) - 1


class Refused(Exception):
    """The frame is damaged."""


def divide(value: int, polynomial: int) -> int:
    """Return the remainder of ``value`` by ``polynomial`` over GF(2), long division by hand."""
    width = polynomial.bit_length() - 1
    for position in range(max(value.bit_length() - 1 - width, -1), -1, -1):
        if value >> (position + width) & 1:
            value ^= polynomial << position
    return value


def read_frame(frame: bytes, model_hash: bytes) -> tuple[int, dict[str, bytes]]:
    """Return the quality and the payload of each portion."""
    if len(frame) < 2:
        raise Refused
    head = frame[0] << 8 | frame[1]
    version, kind, quality, mask = head >> 14, head >> 13 & 1, head >> 10 & 7, head >> 7 & 7
    if divide(head >> 3, 0b10011) or version or kind or not mask:
        raise Refused
    present = [bit for bit in (4, 2, 1) if mask & bit]
    lengths = frame[2 : 1 + len(present)]
    if len(lengths) < len(present) - 1 or divide((head & 7) << 8 * len(lengths) | int.from_bytes(lengths), 0b1011):
        raise Refused
    rest, payloads = frame[1 + len(present) :], {}
    for place, bit in enumerate(present):
        length = lengths[place] if place < len(lengths) else len(rest) - 1
        if length < 0 or len(rest) < length + 1:
            raise Refused
        payload, check, rest = rest[:length], rest[length], rest[length + 1 :]
        checked = model_hash[:8] + (quality << 10 | bit << 7).to_bytes(2) + payload
        if divide(int.from_bytes(checked) << 8, 0x107) != check:
            raise Refused
        payloads[NAMES[bit]] = payload
    return quality, payloads


def read_predicted(frame: bytes, reference: bytes) -> tuple[int, bytes]:
    """Return the series and the payload of a predicted frame, 4 zero bits before it."""
    if len(frame) < 2 or frame[0] >> 5 != 0b001 or divide(int.from_bytes(reference + frame), 0x107):
        raise Refused
    return frame[0] >> 4 & 1, bytes((frame[1] & 15,)) + frame[2:]


DECAYS = [328, 536, 876, 1432, 2341, 3820, 6211, 10010, 15789, 23797, 33272, 42491, 50027, 55491, 59179, 61568]
THRESHOLDS = [52, 86, 140, 229, 375, 613, 1002, 1638, 2679, 4382, 7165, 11718, 19163, 31338, 51248]


def difference_table(scale: int) -> list[int]:
    """Return the frequencies of the differences -63 to 63 at this scale."""
    weights = [2**40]
    while len(weights) < 64:
        weights.append(weights[-1] * DECAYS[scale] // 2**16)
    total = weights[0] + 2 * sum(weights[1:])
    side = [1 + 65409 * weight // total for weight in weights[1:]]
    return side[::-1] + [65536 - 2 * sum(side)] + side


def follow(symbols: list[int], means: list[int], payload: bytes) -> None:
    """Move ``symbols`` and the ``means`` of their motion by a predicted frame's payload, 4 zero bits before it."""
    bits = 8 * len(payload) - 4
    moved = (int.from_bytes(payload) << 4).to_bytes(bits // 8 + 1)
    liveliness = read_symbols(moved, [difference_table(11)])[0] - 63
    scales = [min(max(sum(mean >= t for t in THRESHOLDS) + liveliness, 0), 15) for mean in means]
    read = read_symbols(moved, [difference_table(11), *map(difference_table, scales)])
    for place, symbol in enumerate(read[1:]):
        symbols[place] += symbol - 63
        means[place] += (4096 * abs(symbol - 63) - means[place]) // 16


def read_symbols(payload: bytes, tables: Sequence[Sequence[int]]) -> list[int]:
    """Return one symbol for each of ``tables``, lists of frequencies that sum to 2^16."""
    source = iter(payload)

    def word() -> int:
        return int.from_bytes(bytes(next(source, 0) for _ in range(4)))

    low, width, point, symbols = 0, BITS_64, word() << 32 | word(), []
    for table in tables:
        unit = width >> 24
        target = ((point - low) & BITS_64) // unit
        symbol, below = 0, 0
        while below + 256 * table[symbol] <= target:
            below += 256 * table[symbol]
            symbol += 1
            if symbol == len(table):
                raise Refused
        low, width = (low + unit * below) & BITS_64, unit * 256 * table[symbol]
        if width < 1 << 32:
            low, width, point = low << 32 & BITS_64, width << 32, (point << 32 | word()) & BITS_64
        symbols.append(symbol)
    return symbols
