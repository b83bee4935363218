"""How well a face can be described: one number from its size, its sharpness and its turn."""

from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

FULL_SIZE: Final = 80.0
"""Side in pixels of a detected box from which size takes nothing away."""

FULL_SHARPNESS: Final = 0.12
"""Share of fine detail from which blur takes nothing away."""

DETAIL_RADIUS: Final = 1.0
"""Standard deviation in crop pixels of the blur below which detail counts as fine."""


def face_quality(crop: NDArray[np.uint8], box: NDArray[np.float32], landmarks: NDArray[np.float32]) -> float:
    """Return the quality of a face, 0 (useless) to 1 (good): the product of size, sharpness and frontality.

    ``crop`` is the uint8 (S, S, 3) face square, ``box`` (4,) and ``landmarks`` (5, 2) are the detector's. Size is the
    box's longer side over 80 pixels. Sharpness is the share of the crop's contrast that a slight blur takes away, over
    what a sharp photograph loses. Frontality is 1 for a face seen from the front and ½ in profile. Each is at most 1.
    """
    size = float(max(box[2] - box[0], box[3] - box[1])) / FULL_SIZE
    factors = (size, fine_detail(crop) / FULL_SHARPNESS, frontality(landmarks))
    return float(np.prod(np.clip(factors, 0.0, 1.0)))


def fine_detail(crop: NDArray[np.uint8]) -> float:
    """Return the share (0 to 1) of the contrast in the middle of ``crop`` uint8 (S, S, 3) that slight blur removes."""
    grey = Image.fromarray(crop).convert("L")
    blurred = grey.filter(ImageFilter.GaussianBlur(DETAIL_RADIUS))
    # The middle half is face whatever the background.
    quarter = crop.shape[0] // 4
    middle = slice(quarter, crop.shape[0] - quarter)
    sharp, smooth = (np.asarray(image, dtype=np.float32)[middle, middle] for image in (grey, blurred))
    contrast = float(sharp.std())
    return float((sharp - smooth).std()) / contrast if contrast > 0 else 0.0


def frontality(landmarks: NDArray[np.float32]) -> float:
    """Return 1 when the nose's tip lies halfway between the eyes, ½ when it lies at or beyond one of them.

    ``landmarks`` (5, 2) are the left eye, the right eye, the nose's tip and the corners of the mouth.
    """
    left, right, nose = landmarks[:3].astype(np.float64)
    across = right - left
    length = float(across @ across)
    along = float((nose - left) @ across) / length if length > 0 else 0.0
    return 1.0 - min(1.0, abs(2.0 * along - 1.0)) / 2.0
