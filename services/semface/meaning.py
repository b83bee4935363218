"""What is told of a face: its expression by name, the size of its embedding, and the thresholds to decide by."""

from enum import StrEnum
from typing import Final, Literal, get_args

ExpressionName = Literal["neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt"]

EXPRESSIONS: Final[tuple[ExpressionName, ...]] = get_args(ExpressionName)
"""The eight classes in the order of the network's confidences."""

ScanExpressionName = Literal[
    "neutral", "smile", "mouth_stretch", "anger", "jaw_left", "jaw_right", "jaw_forward", "mouth_left", "mouth_right",
    "dimpler", "lip_puckerer", "lip_funneler", "sadness", "lip_roll", "eye_closed", "brow_raiser",
]  # fmt: skip

SCAN_EXPRESSIONS: Final[tuple[ScanExpressionName, ...]] = get_args(ScanExpressionName)
"""The sixteen classes that are told of a 3-D scan: those of FaceScape that the AMDFN paper uses, in its order."""

EMBEDDING_SIZE: Final = 512
"""How many numbers an embedding has."""


class OperatingPoint(StrEnum):
    """How often a verification may accept a stranger. The value is the suffix of the model's threshold parameter."""

    FAR_1E_2 = "far_1e-2"
    FAR_1E_3 = "far_1e-3"
    ACCURACY = "accuracy"


DEFAULT_OPERATING_POINT: Final = OperatingPoint.FAR_1E_2
"""Decides where a caller names none."""
