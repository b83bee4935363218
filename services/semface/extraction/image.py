"""From encoded bytes to the upright picture."""

from dataclasses import dataclass
from io import BytesIO
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from semface.errors import Reason, SemfaceError

FORMATS: Final = ("JPEG", "PNG", "WEBP")
MAX_SCANS: Final = 100
"""Of a JPEG. Encoders write ten or so; each costs a pass over all pixels, for a few bytes of the file."""

START_OF_SCAN: Final = b"\xff\xda"
"""The marker; coded data hold no 0xFF without a zero after it."""

SIXTEEN_BIT_MODES: Final = ("I", "I;16", "I;16B", "I;16L")


@dataclass(frozen=True, slots=True)
class ImageLimits:
    """The largest picture that is decoded."""

    max_bytes: int = 10_000_000
    max_pixels: int = 50_000_000


DEFAULT_LIMITS: Final = ImageLimits()


def decode_image(data: bytes, limits: ImageLimits = DEFAULT_LIMITS) -> NDArray[np.uint8]:
    """Return the picture in ``data`` as RGB uint8 (height, width, 3), upright; raises as ``decode_picture`` does."""
    return np.asarray(decode_picture(data, limits))


def decode_picture(data: bytes, limits: ImageLimits = DEFAULT_LIMITS) -> Image.Image:
    """Return the picture in ``data`` (JPEG, PNG or WebP) in RGB, upright by its EXIF.

    Grey, palette, 16-bit and CMYK pictures become 8-bit RGB; what is transparent lies on black; of an animation the
    first picture is taken. Raises IMAGE_TOO_LARGE by the length of ``data`` or the size in the header, before anything
    is decoded, and IMAGE_UNDECODABLE when the bytes are no such picture, are damaged or end too early.
    """
    if len(data) > limits.max_bytes:
        message = f"the picture has {len(data)} bytes, more than the {limits.max_bytes} that are taken"
        raise SemfaceError(Reason.IMAGE_TOO_LARGE, message, field="image")
    try:
        with Image.open(BytesIO(data), formats=FORMATS) as image:
            _check_size(image.size, limits)
            _check_scans(data, image.format)
            # In place, since a large picture takes hundreds of megabytes for each copy.
            ImageOps.exif_transpose(image, in_place=True)
            return _rgb(image)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        message = f"the picture has more than the {limits.max_pixels} pixels that are taken"
        raise SemfaceError(Reason.IMAGE_TOO_LARGE, message, field="image") from None
    except SemfaceError:
        raise
    except Exception as error:  # hostile bytes make decoders raise nearly anything
        message = "the bytes are no JPEG, PNG or WebP picture, or are damaged or end too early"
        raise SemfaceError(Reason.IMAGE_UNDECODABLE, message, field="image") from error


def _check_size(size: tuple[int, int], limits: ImageLimits) -> None:
    width, height = size
    if width * height > limits.max_pixels:
        message = f"the picture has {width} × {height} pixels, more than the {limits.max_pixels} that are taken"
        raise SemfaceError(Reason.IMAGE_TOO_LARGE, message, field="image")


def _check_scans(data: bytes, kind: str | None) -> None:
    if kind == "JPEG" and data.count(START_OF_SCAN) > MAX_SCANS:
        message = f"the JPEG has more than the {MAX_SCANS} scans that are taken"
        raise SemfaceError(Reason.IMAGE_UNDECODABLE, message, field="image")


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode in SIXTEEN_BIT_MODES:
        # Pillow would clip these to 255 instead of scaling them.
        values = np.asarray(image).astype(np.uint32)
        image = Image.fromarray(((values * 255 + 32767) // 65535).astype(np.uint8))
    if image.has_transparency_data:
        opaque = Image.new("RGBA", image.size, (0, 0, 0, 255))
        image = Image.alpha_composite(opaque, image.convert("RGBA"))
    if image.mode != "RGB":
        return image.convert("RGB")
    image.load()
    return image
