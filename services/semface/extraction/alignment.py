"""From a detected box to the square crop that the extraction network sees."""

from math import ceil, floor
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from semface import recognisers

CROP_SCALE: Final = 1.2
"""Side of the face square over the longer side of the detected box."""

CROP_SIZE: Final = recognisers.CROP_SIZE
"""Side in pixels of the crop that the extraction network takes."""

Picture = NDArray[np.uint8] | Image.Image
"""An upright photograph: RGB uint8 (H, W, 3), or an image in RGB, of which no copy has to be made."""

Square = tuple[float, float, float]
"""Left, top and side of an axis-aligned square, in pixels of the upright photograph."""


def size_of(picture: Picture) -> tuple[int, int]:
    """Return width and height of ``picture``."""
    return picture.size if isinstance(picture, Image.Image) else (picture.shape[1], picture.shape[0])


def face_square(box: ArrayLike) -> Square:
    """Return the face square of ``box`` (x0, y0, x1, y1 in pixels): same centre, side 1.2 × the box's longer side."""
    x0, y0, x1, y1 = (float(value) for value in np.asarray(box, dtype=np.float64))
    side = CROP_SCALE * max(x1 - x0, y1 - y0)
    return (x0 + x1 - side) / 2, (y0 + y1 - side) / 2, side


def resample(image: Image.Image, square: Square, size: int, outside: tuple[int, int, int] = (0, 0, 0)) -> Image.Image:
    """Return the part of ``image`` inside ``square`` at ``size`` × ``size`` pixels; ``outside`` beyond the picture.

    Bilinear, with a wider kernel when shrinking, so that nothing aliases.
    """
    left, top, side = square
    reach = _reach(side, size)
    if min(left, top) < reach or left + side + reach > image.width or top + side + reach > image.height:
        x0, y0, x1, y1 = _region(square, size)
        surrounded = Image.new(image.mode, (x1 - x0, y1 - y0), outside)
        part = max(x0, 0), max(y0, 0), min(x1, image.width), min(y1, image.height)
        if part[0] < part[2] and part[1] < part[3]:
            surrounded.paste(image.crop(part), (part[0] - x0, part[1] - y0))
        image, left, top = surrounded, left - x0, top - y0
    box = left, top, left + side, top + side
    return image.resize((size, size), Image.Resampling.BILINEAR, box)


def _reach(side: float, size: int) -> float:
    """Return how far beyond a square its kernel reaches: by one of its own pixels, at least one of the picture's."""
    return max(side / size, 1.0) + 1


def _region(square: Square, size: int) -> tuple[int, int, int, int]:
    """Return the whole pixels (x0, y0, x1, y1) that have a say when ``square`` is resampled to ``size``."""
    left, top, side = square
    reach = _reach(side, size)
    return floor(left - reach), floor(top - reach), ceil(left + side + reach), ceil(top + side + reach)


def crop_face(picture: Picture, square: Square, size: int = CROP_SIZE) -> NDArray[np.uint8]:
    """Return the ``square`` of ``picture`` as uint8 (size, size, 3); black outside the picture."""
    width, height = size_of(picture)
    x0, y0, x1, y1 = _region(square, size)
    x0, y0, x1, y1 = max(x0, 0), max(y0, 0), min(x1, width), min(y1, height)
    if x0 >= x1 or y0 >= y1:
        return np.zeros((size, size, 3), np.uint8)
    # Only this part is copied, however large the picture is.
    if isinstance(picture, Image.Image):
        part = picture.crop((x0, y0, x1, y1))
    else:
        part = Image.fromarray(picture[y0:y1, x0:x1])
    left, top, side = square
    return np.asarray(resample(part, (left - x0, top - y0, side), size))
