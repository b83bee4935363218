"""The teachers: networks of others, run as ONNX, that the recipes learn from. ``SEMFACE_TEACHERS`` names their folder.

``make teachers`` builds them from the packages that carry them; none of them ships with semface.
"""

from functools import cache
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from semface.evaluation.identity_teacher import IDENTITY_FILE, IdentityTeacher, identity_square
from semface.evaluation.landmark_teacher import TEACHER_FILE, LandmarkTeacher, teacher_folder, teacher_session

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


@cache
def _identity_teacher() -> IdentityTeacher:
    return IdentityTeacher(folder() / IDENTITY_FILE)


def identity_embedding(picture: Picture, box: Array) -> Array:
    """Return the identity teacher's 1,024 numbers, neither centred nor scaled; ``box`` is that of the landmarks."""
    return _identity_teacher().embedding(picture, identity_square(box))
