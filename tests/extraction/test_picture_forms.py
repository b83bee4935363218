"""A picture gives the same numbers in whatever form it is stored, on the demonstration photograph."""

from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from semface.descriptors import GROUPS, Descriptors
from semface.extraction.core import Extractor
from semface.extraction.image import decode_image
from semface.inference.embedded import EmbeddedEngine
from tests.extraction.conftest import Pixels
from tests.extraction.test_image import UPRIGHT_TO_STORED, encoded, sixteen_bit_png, turned_by_exif

Stored = Callable[[Image.Image], bytes]

TOLERANCES = {
    "shape": 0.08,
    "texture": 0.08,
    "expression": 0.05,
    "rotation": 0.01,
    "translation": 5,
    "illumination": 0.01,
}
"""Root mean square by which a group may differ where the form loses something; the units are those of the group."""


@pytest.fixture
def portrait(photograph: Pixels) -> Image.Image:
    """The part of the photograph around the face, which takes less time."""
    return Image.fromarray(np.ascontiguousarray(photograph[:320, 60:380]))


async def described(engine: EmbeddedEngine, data: bytes) -> Descriptors:
    """Return the numbers (257,) of the one face of the picture in ``data``."""
    (face,) = await Extractor(engine).extract(decode_image(data))
    return face.descriptors


def assert_near(found: Descriptors, plain: Descriptors) -> None:
    for group, where in GROUPS.items():
        assert np.sqrt(np.mean((found[where] - plain[where]) ** 2)) < TOLERANCES[group], group


EXACT: dict[str, tuple[str, Stored]] = {
    "PNG with alpha": ("RGB", lambda image: encoded(image.convert("RGBA"), "PNG")),
    "16-bit PNG": ("RGB", sixteen_bit_png),
    "16-bit PNG with alpha": ("RGB", lambda image: sixteen_bit_png(image.convert("RGBA"))),
    "lossless WebP": ("RGB", lambda image: encoded(image, "WEBP", lossless=True)),
    "lossless WebP with alpha": ("RGB", lambda image: encoded(image.convert("RGBA"), "WEBP", lossless=True)),
    "grey PNG": ("L", lambda image: encoded(image, "PNG")),
    "grey PNG with alpha": ("L", lambda image: encoded(image.convert("LA"), "PNG")),
    "16-bit grey PNG": ("L", sixteen_bit_png),
    "16-bit grey PNG with alpha": ("L", lambda image: sixteen_bit_png(image.convert("LA"))),
    "palette PNG": ("P", lambda image: encoded(image, "PNG")),
    "palette PNG with a transparent colour": (
        "P",
        lambda image: encoded(image, "PNG", transparency=bytes([255] * 256)),
    ),
}
"""The mode that the picture is reduced to first, and how it is then stored."""


@pytest.mark.parametrize("form", EXACT)
async def test_a_lossless_form_gives_exactly_the_numbers_of_its_plain_version(
    trained_engine: EmbeddedEngine, portrait: Image.Image, form: str
) -> None:
    mode, store = EXACT[form]
    picture = portrait.convert(mode)
    plain = await described(trained_engine, encoded(picture.convert("RGB"), "PNG"))
    np.testing.assert_array_equal(await described(trained_engine, store(picture)), plain)


@pytest.mark.parametrize("orientation", UPRIGHT_TO_STORED)
@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
async def test_a_picture_turned_by_exif_gives_exactly_the_numbers_of_the_upright_one(
    trained_engine: EmbeddedEngine, portrait: Image.Image, orientation: int, kind: str
) -> None:
    stored = turned_by_exif(portrait, orientation, kind, **({"lossless": True} if kind == "WEBP" else {}))
    plain = await described(trained_engine, encoded(portrait, "PNG"))
    np.testing.assert_array_equal(await described(trained_engine, stored), plain)


async def test_a_progressive_jpeg_gives_exactly_the_numbers_of_a_plain_one(
    trained_engine: EmbeddedEngine, portrait: Image.Image
) -> None:
    plain, progressive = (encoded(portrait, "JPEG", progressive=progressive) for progressive in (False, True))
    found = await described(trained_engine, progressive)
    np.testing.assert_array_equal(found, await described(trained_engine, plain))


LOSSY: dict[str, Stored] = {
    "CMYK JPEG": lambda image: encoded(image.convert("CMYK"), "JPEG", quality=95),
    "JPEG": lambda image: encoded(image, "JPEG", quality=95),
    "JPEG turned by EXIF": lambda image: turned_by_exif(image, 6, "JPEG", quality=95),
    "WebP": lambda image: encoded(image, "WEBP", quality=95),
}


@pytest.mark.parametrize("form", LOSSY)
async def test_a_lossy_form_gives_nearly_the_numbers_of_the_plain_picture(
    trained_engine: EmbeddedEngine, portrait: Image.Image, form: str
) -> None:
    plain = await described(trained_engine, encoded(portrait, "PNG"))
    found = await described(trained_engine, LOSSY[form](portrait))
    assert (found != plain).any()
    assert_near(found, plain)


async def test_a_cut_out_gives_exactly_the_numbers_of_the_same_before_black(
    trained_engine: EmbeddedEngine, portrait: Image.Image
) -> None:
    pixels = np.asarray(portrait)
    kept = np.hypot(*np.mgrid[-120:200, -162:158]) < 70
    cut_out = Image.fromarray(np.dstack([pixels, 255 * kept.astype(np.uint8)]))
    before_black = Image.fromarray(pixels * kept[..., None])
    plain = await described(trained_engine, encoded(before_black, "PNG"))
    np.testing.assert_array_equal(await described(trained_engine, encoded(cut_out, "PNG")), plain)
