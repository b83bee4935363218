"""Small files that would cost much: refused, or answered, within a second of processor time."""

import struct
import time
import zlib

import numpy as np
import pytest
from PIL import Image

from semface.errors import Reason, SemfaceError
from semface.extraction.image import MAX_SCANS, START_OF_SCAN, decode_image
from tests.extraction.test_image import encoded, one_bit_png
from tests.faults.conftest import Figure

LONGEST_SECONDS = 1.0
BOMB = 100_000_000


def outcome(data: bytes) -> tuple[Reason | None, float]:
    """Return why ``data`` is refused, None where it is read, and the processor time that it takes."""
    started = time.process_time()
    try:
        decode_image(data)
    except SemfaceError as error:
        return error.reason, time.process_time() - started
    return None, time.process_time() - started


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def picture(side: int = 16) -> Image.Image:
    return Image.fromarray(np.zeros((side, side, 3), np.uint8))


def large_header(kind: str) -> bytes:
    """Return a picture of 16 × 16 pixels whose header tells of 100 megapixels or more."""
    data = encoded(picture(), kind) if kind != "WEBP" else encoded(picture(), kind, lossless=True)
    match kind:
        case "JPEG":
            place = data.index(b"\xff\xc0") + 5
            return data[:place] + struct.pack(">HH", 10_000, 10_001) + data[place + 4 :]
        case "PNG":
            size = data[:8] + chunk(b"IHDR", struct.pack(">II", 10_000, 10_001) + data[24:29])
            return size + data[33:]
        case _:
            place = data.index(b"VP8L") + 9
            (bits,) = struct.unpack("<I", data[place : place + 4])
            bits = bits & ~0xFFFFFFF | 16_383 | 16_383 << 14
            return data[:place] + struct.pack("<I", bits) + data[place + 4 :]


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_a_header_of_a_hundred_megapixels_is_refused_before_decoding(kind: str, figure: Figure) -> None:
    reason, seconds = outcome(large_header(kind))
    figure("refusal, s", seconds)
    assert reason is Reason.IMAGE_TOO_LARGE
    assert seconds < 0.1


def with_scans(scans: int) -> bytes:
    """Return a progressive JPEG of 4,000 × 4,000 pixels that ends in so many empty scans of eight bytes each."""
    data = encoded(picture(4000), "JPEG", progressive=True)
    last = data.rindex(START_OF_SCAN)
    return data[:-2] + scans * data[last:-2] + data[-2:]


def test_a_jpeg_of_many_scans_is_refused(figure: Figure) -> None:
    reason, seconds = outcome(with_scans(5_000))
    figure("refusal, s", seconds)
    assert reason is Reason.IMAGE_UNDECODABLE
    assert seconds < LONGEST_SECONDS
    few, _ = outcome(encoded(picture(64), "JPEG", progressive=True))
    assert few is None
    assert encoded(picture(64), "JPEG", progressive=True).count(START_OF_SCAN) < MAX_SCANS / 5


@pytest.mark.parametrize("kind", [b"zTXt", b"iTXt", b"iCCP"])
def test_a_png_whose_notes_unfold_to_a_hundred_megabytes_takes_neither_time_nor_memory(
    kind: bytes, figure: Figure
) -> None:
    packed = zlib.compress(bytes(BOMB), 9)
    body = {b"zTXt": b"a\0\0", b"iTXt": b"a\0\1\0\0\0", b"iCCP": b"a\0\0"}[kind] + packed
    whole = one_bit_png(16, 16)
    reason, seconds = outcome(whole[:33] + chunk(kind, body) + whole[33:])
    figure("answer, s", seconds)
    assert reason in (None, Reason.IMAGE_UNDECODABLE)
    assert seconds < LONGEST_SECONDS


def test_an_animation_of_many_pictures_costs_its_first_one(figure: Figure) -> None:
    noise = np.random.default_rng(1).integers(0, 255, (300, 64, 64, 3), dtype=np.uint8)
    first, *others = map(Image.fromarray, noise)
    for kind in ("WEBP", "PNG"):
        reason, seconds = outcome(encoded(first, kind, save_all=True, append_images=others))
        figure(f"answer, {kind}, s", seconds)
        assert reason is None
        assert seconds < LONGEST_SECONDS
