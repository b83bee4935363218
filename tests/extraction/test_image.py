import io
import struct
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from semface.errors import Reason, SemfaceError
from semface.extraction.image import MAX_SCANS, START_OF_SCAN, ImageLimits, decode_image
from tests.extraction.conftest import Pixels

ORIENTATION = 0x0112
UPRIGHT_TO_STORED = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def png(width: int, height: int, depth: int, colour_type: int, rows: bytes) -> bytes:
    """Return a PNG of ``rows``, each of them behind its filter byte."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def one_bit_png(width: int, height: int) -> bytes:
    """Return a black picture that is small in bytes however large in pixels."""
    return png(width, height, 1, 0, (b"\0" + b"\0" * ((width + 7) // 8)) * height)


def sixteen_bit_png(image: Image.Image) -> bytes:
    """Return ``image`` (grey or RGB, perhaps with alpha) as a PNG of 16 bits a channel, which Pillow does not write."""
    values = np.asarray(image).astype(">u2") * 257
    colour_type = {"L": 0, "RGB": 2, "LA": 4, "RGBA": 6}[image.mode]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    return png(image.width, image.height, 16, colour_type, rows)


def turned_by_exif(upright: Image.Image, orientation: int, kind: str, **options: object) -> bytes:
    """Return ``upright`` stored turned, with the EXIF entry that says how."""
    turn = UPRIGHT_TO_STORED[orientation]
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    return encoded(upright if turn is None else upright.transpose(turn), kind, exif=exif, **options)


def refused(data: bytes, limits: ImageLimits | None = None) -> Reason:
    with pytest.raises(SemfaceError) as caught:
        decode_image(data, limits or ImageLimits())
    assert caught.value.field == "image"
    return caught.value.reason


LOSSLESS: dict[str, Callable[[Image.Image], bytes]] = {
    "png": lambda image: encoded(image, "PNG"),
    "lossless webp": lambda image: encoded(image, "WEBP", lossless=True),
    "opaque alpha": lambda image: encoded(image.convert("RGBA"), "PNG"),
    "opaque alpha in webp": lambda image: encoded(image.convert("RGBA"), "WEBP", lossless=True),
}


@pytest.mark.parametrize("form", LOSSLESS)
def test_every_lossless_form_gives_the_same_pixels(photograph: Pixels, form: str) -> None:
    np.testing.assert_array_equal(decode_image(LOSSLESS[form](Image.fromarray(photograph))), photograph)


@pytest.mark.parametrize("mode", ["RGB", "CMYK"])
def test_a_jpeg_is_near_the_original_in_rgb_and_in_cmyk(photograph: Pixels, mode: str) -> None:
    decoded = decode_image(encoded(Image.fromarray(photograph).convert(mode), "JPEG", quality=95))
    assert decoded.shape == photograph.shape
    assert np.abs(decoded.astype(int) - photograph).mean() < 3


@pytest.mark.parametrize("depth", [8, 16])
def test_grey_of_any_depth_becomes_three_equal_planes(photograph: Pixels, depth: int) -> None:
    grey = np.asarray(Image.fromarray(photograph).convert("L"))
    stored = grey.astype(np.uint16) * 257 if depth == 16 else grey
    decoded = decode_image(encoded(Image.fromarray(stored), "PNG"))
    np.testing.assert_array_equal(decoded, np.repeat(grey[..., None], 3, axis=2))


def test_a_palette_gives_its_colours() -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.putpixel((1, 0), 1)
    np.testing.assert_array_equal(decode_image(encoded(image, "PNG")), [[[10, 20, 30], [200, 100, 50]]])


def test_what_is_transparent_lies_on_black() -> None:
    image = Image.new("RGBA", (2, 1), (200, 100, 50, 0))
    image.putpixel((1, 0), (200, 100, 50, 255))
    np.testing.assert_array_equal(decode_image(encoded(image, "PNG")), [[[0, 0, 0], [200, 100, 50]]])


@pytest.mark.parametrize("orientation", UPRIGHT_TO_STORED)
@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_a_picture_stored_turned_comes_out_upright(photograph: Pixels, orientation: int, kind: str) -> None:
    upright = Image.fromarray(np.ascontiguousarray(photograph[:200, 100:400]))
    decoded = decode_image(turned_by_exif(upright, orientation, kind, **({"quality": 95} if kind == "JPEG" else {})))
    assert decoded.shape == (200, 300, 3)
    assert np.abs(decoded.astype(int) - np.asarray(upright)).mean() < 3


@pytest.mark.parametrize("data", [b"", b"hello", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF\0\0\0\0WEBPVP8 "])
def test_bytes_that_are_no_picture_are_refused(data: bytes) -> None:
    assert refused(data) is Reason.IMAGE_UNDECODABLE


def test_a_picture_of_another_format_is_refused(photograph: Pixels) -> None:
    assert refused(encoded(Image.fromarray(photograph), "GIF")) is Reason.IMAGE_UNDECODABLE


WHOLE: dict[str, Callable[[Image.Image], bytes]] = {
    "JPEG": lambda image: encoded(image, "JPEG"),
    "progressive JPEG": lambda image: encoded(image, "JPEG", progressive=True),
    "CMYK JPEG": lambda image: encoded(image.convert("CMYK"), "JPEG"),
    "PNG": lambda image: encoded(image, "PNG"),
    "16-bit PNG": sixteen_bit_png,
    "WebP": lambda image: encoded(image, "WEBP"),
    "lossless WebP": lambda image: encoded(image, "WEBP", lossless=True),
}


@pytest.mark.parametrize("kind", WHOLE)
@pytest.mark.parametrize("share", [0.02, 0.5, 0.98])
def test_a_picture_that_ends_too_early_is_refused(photograph: Pixels, kind: str, share: float) -> None:
    data = WHOLE[kind](Image.fromarray(photograph))
    assert refused(data[: int(share * len(data))]) is Reason.IMAGE_UNDECODABLE


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("side", [7_100, 12_000, 20_000])
def test_a_small_file_of_many_pixels_is_refused_before_decoding(side: int, monkeypatch: pytest.MonkeyPatch) -> None:
    data = one_bit_png(side, side)
    assert len(data) < 60_000

    def decoded(image: Image.Image) -> None:
        pytest.fail("the picture was decoded")

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", decoded)
    assert refused(data) is Reason.IMAGE_TOO_LARGE


def test_too_many_bytes_are_refused(photograph: Pixels) -> None:
    data = encoded(Image.fromarray(photograph), "PNG")
    assert refused(data, ImageLimits(max_bytes=len(data) - 1)) is Reason.IMAGE_TOO_LARGE
    assert decode_image(data, ImageLimits(max_bytes=len(data))).shape == photograph.shape


def test_the_limit_of_pixels_is_exact() -> None:
    data = one_bit_png(40, 25)
    assert decode_image(data, ImageLimits(max_pixels=1000)).shape == (25, 40, 3)
    assert refused(data, ImageLimits(max_pixels=999)) is Reason.IMAGE_TOO_LARGE


@settings(deadline=None, max_examples=150)
@given(st.sampled_from(["JPEG", "PNG", "WEBP"]), st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255))))
def test_damaged_bytes_give_a_picture_or_a_refusal(kind: str, changes: list[tuple[int, int]]) -> None:
    ramp = np.add.outer(np.arange(24), np.arange(32)).astype(np.uint8)
    data = bytearray(encoded(Image.fromarray(ramp).convert("RGB"), kind))
    for where, value in changes:
        data[where % len(data)] = value
    try:
        outcome: Reason | tuple[int, ...] = decode_image(bytes(data)).shape[2:]
    except SemfaceError as error:
        outcome = error.reason
    assert outcome in ((3,), Reason.IMAGE_UNDECODABLE, Reason.IMAGE_TOO_LARGE)


def test_a_jpeg_of_more_scans_than_are_taken_is_refused(photograph: Pixels) -> None:
    # Markers behind the picture count too: to tell them apart, all of it would have to be decoded.
    whole = encoded(Image.fromarray(photograph), "JPEG")
    assert decode_image(whole + START_OF_SCAN * (MAX_SCANS - 1), ImageLimits()).shape == photograph.shape
    assert refused(whole + START_OF_SCAN * MAX_SCANS) is Reason.IMAGE_UNDECODABLE
