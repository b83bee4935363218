"""How many bits of a coded picture are its picture data, and how many are heads around it.

A picture that is coded alone carries heads (parameter sets, containers, tables) that a long session sends once. So both
figures are told of each: all bits, and those of the picture data alone.
"""

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Final

START_CODE: Final = re.compile(b"\x00\x00\x01")
VVC_LAST_SLICE: Final = 11
"""Types 0 to 11 of H.266's NAL units (table 5) are slices."""
VVC_PICTURE_HEADER: Final = 19
HEVC_LAST_SLICE: Final = 31
"""Types 0 to 31 of H.265's NAL units (table 7-1) are slices."""
JPEG_START_OF_SCAN: Final = 0xDA


def nal_units(stream: bytes) -> Iterator[bytes]:
    """Yield the NAL units of a byte stream (H.266 or H.265, annex B), without start codes and the zeros before them."""
    starts = [match.end() for match in START_CODE.finditer(stream)]
    for start, following in pairwise([*starts, len(stream) + 3]):
        unit = stream[start : following - 3].rstrip(b"\x00")
        if len(unit) >= 2:
            yield unit


def vvc_slice_bits(stream: bytes) -> int:
    """Return the bits of the slices, and of picture headers, in an H.266 byte stream."""
    units = [unit for unit in nal_units(stream) if _vvc_type(unit) in (*range(VVC_LAST_SLICE + 1), VVC_PICTURE_HEADER)]
    return 8 * sum(map(len, units))


def _vvc_type(unit: bytes) -> int:
    return unit[1] >> 3


def hevc_slice_bits(stream: bytes) -> int:
    """Return the bits of the slices in an H.265 byte stream."""
    return 8 * sum(len(unit) for unit in nal_units(stream) if unit[0] >> 1 & 0x3F <= HEVC_LAST_SLICE)


def avif_data_bits(file: bytes) -> int:
    """Return the bits of the media data (``mdat``) in an AVIF file; raises ValueError when it holds none."""
    place = 0
    while place + 8 <= len(file):
        size = int.from_bytes(file[place : place + 4])
        head = 8
        if size == 1:
            size, head = int.from_bytes(file[place + 8 : place + 16]), 16
        size = size or len(file) - place
        if file[place + 4 : place + 8] == b"mdat":
            return 8 * (size - head)
        place += max(size, 8)
    raise ValueError("the file holds no media data")


def jpeg_scan_bits(file: bytes) -> int:
    """Return the bits of the entropy-coded scans in a JPEG file, heads of the scans left out."""
    place, bits = 2, 0
    while place + 4 <= len(file):
        marker, length = file[place + 1], int.from_bytes(file[place + 2 : place + 4])
        place += 2 + length
        if marker == JPEG_START_OF_SCAN:
            end = place
            # A scan ends at the next marker; 0xFF00 and restart markers lie inside.
            while file[end] != 0xFF or file[end + 1] == 0 or 0xD0 <= file[end + 1] <= 0xD7:
                end += 1
            bits += 8 * (end - place)
            place = end
    return bits
