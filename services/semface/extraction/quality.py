"""How well a face can be described: one number, the product of six that each say what takes it away."""

from dataclasses import dataclass
from math import cos, hypot
from types import MappingProxyType
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from semface.descriptors import GROUPS, Descriptors

FULL_SIZE: Final = 80.0
"""Side in pixels of a detected box from which size takes nothing away."""

FULL_SHARPNESS: Final = 0.12
"""Share of fine detail from which blur takes nothing away."""

DETAIL_SIDE: Final = 112
"""Side in pixels at which a crop's detail is measured, whatever the network takes."""

DETAIL_RADIUS: Final = 1.0
"""Standard deviation, in pixels of that size, of the blur below which detail counts as fine."""

BLUR_REACH: Final = 8
"""Pixels from which that blur takes something, with room to spare."""

NOSE_DEPTH: Final = 0.4
"""How far the nose's tip stands out before the eyes, in distances of the eyes."""

UNRECOGNISABLE: Final = 0.5
"""Cosine that the network expects where nothing is left of the person: of a black or wholly blurred crop."""

RECOGNISABLE: Final = 0.8
"""Cosine that the network expects of a sharp face that is not covered, at the middle of LFW people in no fold."""

DEFAULT_GATE: Final = 0.06
"""The least quality of a face on which something is decided, unless a setting says otherwise."""

COMPLAINTS: Final = MappingProxyType(
    {
        "size": "it is too small",
        "sharpness": "it is blurred",
        "frontality": "it is turned away",
        "visibility": "it is cut off by the picture's edge",
        "detection": "it may be no face",
        "recognisability": "it is covered or unclear",
    }
)
"""What to say of a face by the factor that takes away most."""


@dataclass(frozen=True, slots=True)
class QualityFactors:
    """What makes the quality of a face; each factor lies between 0 (useless) and 1 (takes nothing away)."""

    size: float
    """Longer side of the detected box over 80 pixels, at most 1."""
    sharpness: float
    """Share of the crop's contrast that a slight blur takes away, over what a sharp photograph loses; at most 1."""
    frontality: float
    """Cosine of the angle between where the face looks and the camera: ½ at 60°, 0 in profile.

    The smaller one of what the network's rotation and the detector's landmarks say.
    """
    visibility: float
    """Share of the detected box that lies inside the picture."""
    detection: float
    """How sure the detector is that this is a face."""
    recognisability: float
    """How far the network expects to recognise the person: its answer between 0.5 (not at all) and 0.8 (well)."""

    @classmethod
    def measure(
        cls,
        crop: NDArray[np.uint8],
        box: NDArray[np.float32],
        landmarks: NDArray[np.float32],
        picture_size: tuple[int, int],
        confidence: float,
        descriptors: Descriptors,
        expected_cosine: float,
    ) -> Self:
        """Measure a face from its ``crop`` uint8 (S, S, 3) and what detector and network say of it.

        ``box`` (x0, y0, x1, y1), ``landmarks`` (5, 2) and ``confidence`` (0 to 1) are the detector's, in pixels of a
        picture of ``picture_size`` (width, height). ``descriptors`` (257,) and ``expected_cosine`` (0 to 1), between
        this face's identity and that of an undisturbed picture, are the network's.
        """
        return cls(
            size=min(1.0, float(max(box[2] - box[0], box[3] - box[1])) / FULL_SIZE),
            sharpness=min(1.0, fine_detail(crop) / FULL_SHARPNESS),
            frontality=min(frontality(descriptors), frontality_of_landmarks(landmarks)),
            visibility=share_inside(box, picture_size),
            detection=min(max(confidence, 0.0), 1.0),
            recognisability=min(max((expected_cosine - UNRECOGNISABLE) / (RECOGNISABLE - UNRECOGNISABLE), 0.0), 1.0),
        )

    @property
    def quality(self) -> float:
        """The quality of the face, 0 (useless) to 1 (good): the product of all factors."""
        return self.size * self.sharpness * self.frontality * self.visibility * self.detection * self.recognisability

    @property
    def complaint(self) -> str:
        """What is worst about the face, as the end of a sentence."""
        return min(COMPLAINTS.items(), key=lambda item: getattr(self, item[0]))[1]


def fine_detail(crop: NDArray[np.uint8]) -> float:
    """Return the share (0 to 1) of the contrast in the middle of ``crop`` uint8 (S, S, 3) that slight blur removes."""
    grey = Image.fromarray(crop).convert("L")
    if grey.width != DETAIL_SIDE:
        grey = grey.resize((DETAIL_SIDE, DETAIL_SIDE), Image.Resampling.BILINEAR)
    # The middle half is face whatever the background; what blurs into it comes along.
    begin, end = DETAIL_SIDE // 4 - BLUR_REACH, DETAIL_SIDE - DETAIL_SIDE // 4 + BLUR_REACH
    part = grey.crop((begin, begin, end, end))
    blurred = part.filter(ImageFilter.GaussianBlur(DETAIL_RADIUS))
    middle = slice(BLUR_REACH, -BLUR_REACH)
    sharp, smooth = (np.asarray(image, dtype=np.float32)[middle, middle] for image in (part, blurred))
    contrast = float(sharp.std())
    return float((sharp - smooth).std()) / contrast if contrast > 0 else 0.0


def frontality(descriptors: Descriptors) -> float:
    """Return the cosine, at least 0, of the angle between where a face of ``descriptors`` (257,) looks and the camera.

    A tilt of the head (roll) does not turn the face away.
    """
    pitch, yaw, _ = descriptors[GROUPS["rotation"]].tolist()
    return max(cos(pitch), 0.0) * max(cos(yaw), 0.0)


def frontality_of_landmarks(landmarks: NDArray[np.float32]) -> float:
    """Return the cosine of a head's turn to the side as ``landmarks`` (5, 2) tell it: eyes, nose, corners of the mouth.

    The nose's tip lies halfway between the eyes of a frontal face; seen from the side it moves by its depth over the
    distance of the eyes, times the tangent of the turn.
    """
    (left_x, left_y), (right_x, right_y), (nose_x, nose_y) = landmarks[:3].tolist()
    across, down = right_x - left_x, right_y - left_y
    length = across**2 + down**2
    if length == 0:
        return 0.0
    aside = ((nose_x - left_x) * across + (nose_y - left_y) * down) / length - 0.5
    return 1 / hypot(1.0, aside / NOSE_DEPTH)


def share_inside(box: NDArray[np.float32], picture_size: tuple[int, int]) -> float:
    """Return the share (0 to 1) of ``box`` (x0, y0, x1, y1) inside a picture of ``picture_size`` (width, height)."""
    x0, y0, x1, y1 = box.tolist()
    width, height = picture_size
    whole = (x1 - x0) * (y1 - y0)
    seen = max(min(x1, width) - max(x0, 0), 0.0) * max(min(y1, height) - max(y0, 0), 0.0)
    return seen / whole if whole > 0 else 0.0
