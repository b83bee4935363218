"""Picture data is told apart from heads, in streams laid out by hand."""

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from semface.evaluation.rate_accuracy.bitstreams import (
    avif_data_bits,
    hevc_slice_bits,
    jpeg_scan_bits,
    nal_units,
    vvc_slice_bits,
)

LONG, SHORT = b"\x00\x00\x00\x01", b"\x00\x00\x01"


def vvc_unit(kind: int, size: int) -> bytes:
    """A NAL unit of ``size`` bytes: layer 0, type in the upper five bits of the second byte."""
    return bytes([0, kind << 3 | 1]) + b"\x55" * (size - 2)


def test_only_slices_and_picture_headers_of_vvc_are_picture_data() -> None:
    # Parameter sets 14 to 16, adaptation sets 17, access unit delimiter 20, SEI 23 and 24.
    heads = [vvc_unit(kind, 9) for kind in (14, 15, 16, 17, 20, 23, 24)]
    stream = LONG.join([b"", *heads]) + SHORT + vvc_unit(19, 5) + LONG + vvc_unit(7, 40) + SHORT + vvc_unit(8, 30)
    assert vvc_slice_bits(stream) == 8 * (5 + 40 + 30)


def test_only_slices_of_hevc_are_picture_data() -> None:
    def unit(kind: int, size: int) -> bytes:
        return bytes([kind << 1, 1]) + b"\x55" * (size - 2)

    # Parameter sets 32 to 34, SEI 39; 19 and 20 are slices of an instantaneous refresh.
    stream = b"".join(
        LONG + unit(kind, size) for kind, size in ((32, 20), (33, 30), (34, 6), (39, 8), (19, 50), (20, 7))
    )
    assert hevc_slice_bits(stream) == 8 * 57


@given(st.lists(st.binary(min_size=2, max_size=20).filter(lambda b: b"\x00\x00" not in b and b[-1]), max_size=6))
def test_units_come_out_as_they_went_in(units: list[bytes]) -> None:
    assert list(nal_units(b"".join(LONG + unit for unit in units))) == units


def test_media_data_of_avif_is_found_behind_other_boxes() -> None:
    def box(name: bytes, body: bytes) -> bytes:
        return (8 + len(body)).to_bytes(4) + name + body

    assert avif_data_bits(box(b"ftyp", b"avif") + box(b"meta", b"x" * 100) + box(b"mdat", b"y" * 33)) == 8 * 33
    to_the_end = box(b"ftyp", b"avif") + (0).to_bytes(4) + b"mdat" + b"z" * 12
    assert avif_data_bits(to_the_end) == 8 * 12
    with pytest.raises(ValueError, match="no media data"):
        avif_data_bits(box(b"ftyp", b"avif"))


def test_the_scan_of_a_jpeg_is_what_lies_between_its_heads_and_its_end() -> None:
    random = np.random.default_rng(0)
    stream = io.BytesIO()
    Image.fromarray(random.integers(0, 256, (40, 40, 3), np.uint8)).save(stream, "JPEG", quality=30)
    file = stream.getvalue()
    start = file.index(b"\xff\xda")
    head = 2 + int.from_bytes(file[start + 2 : start + 4])
    assert jpeg_scan_bits(file) == 8 * (len(file) - 2 - start - head)
    progressive = io.BytesIO()
    Image.open(io.BytesIO(file)).save(progressive, "JPEG", progressive=True)
    assert 0 < jpeg_scan_bits(progressive.getvalue()) < 8 * len(progressive.getvalue())
