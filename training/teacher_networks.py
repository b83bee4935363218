"""The teachers: networks of others, run as ONNX, that the recipes learn from. ``SEMFACE_TEACHERS`` names their folder.

``make teachers`` builds them from the packages that carry them; none of them ships with semface.
"""

from functools import cache
from pathlib import Path
from typing import Final

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from semface.evaluation.landmark_teacher import TEACHER_FILE, LandmarkTeacher, teacher_folder, teacher_session, warp

IDENTITY_INPUT: Final = 224
IDENTITY_MARGIN: Final = 1.2
IDENTITY_MEAN_BGR: Final = np.array([103.939, 116.779, 123.68], np.float32)

Picture = NDArray[np.uint8]
Array = NDArray[np.floating]


def folder() -> Path:
    """Return where the teachers' ONNX files are."""
    return teacher_folder()


@cache
def session(name: str) -> onnxruntime.InferenceSession:
    """Open the teacher ``name`` with one thread."""
    return teacher_session(folder() / f"{name}.onnx")


@cache
def _landmark_teacher() -> LandmarkTeacher:
    return LandmarkTeacher(folder() / TEACHER_FILE)


def dense_landmarks(picture: Picture, box: Array, eyes: Array | None) -> tuple[Array, float]:
    """Return the 468 landmarks (468, 3) and the presence logit; see :meth:`LandmarkTeacher.landmarks`."""
    return _landmark_teacher().landmarks(picture, box, eyes)


def landmark_box(landmarks: Array) -> Array:
    """Return the bounding box (left, top, right, bottom) of landmarks (468, 3)."""
    return np.concatenate([landmarks[:, :2].min(axis=0), landmarks[:, :2].max(axis=0)])


def identity_embedding(picture: Picture, box: Array) -> Array:
    """Return the identity teacher's 1,024 numbers, neither centred nor scaled; ``box`` is that of the landmarks."""
    centre = (box[:2] + box[2:]) / 2.0
    side = max(box[2] - box[0], box[3] - box[1]) * IDENTITY_MARGIN
    scale = side / IDENTITY_INPUT
    crop = warp(
        picture, np.array([[scale, 0.0, centre[0] - side / 2], [0.0, scale, centre[1] - side / 2]]), IDENTITY_INPUT
    )
    network = session("faceres")
    pixels = crop[None, :, :, ::-1].astype(np.float32) - IDENTITY_MEAN_BGR
    return network.run(None, {network.get_inputs()[0].name: pixels})[0].reshape(-1)
