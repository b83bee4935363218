"""The dense-landmark teacher: a network of others, run as ONNX, that marks 468 points on a face.

``make teachers`` builds its file from the package that carries it; it does not ship with semface.
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from semface.errors import Reason, SemfaceError

if TYPE_CHECKING:
    import onnxruntime

TEACHER_FILE: Final = "face_landmark.onnx"
LANDMARK_INPUT: Final = 192
LANDMARK_MARGIN: Final = 1.5
"""Side of the teacher's crop over the longer side of the face's box."""

Picture = NDArray[np.uint8]
Array = NDArray[np.floating]


def teacher_folder() -> Path:
    """Return where the teachers' ONNX files are: ``SEMFACE_TEACHERS``, or ``build/teachers`` of the checkout."""
    beside_checkout = Path(__file__).resolve().parents[3] / "build" / "teachers"
    return Path(os.environ.get("SEMFACE_TEACHERS", beside_checkout if beside_checkout.is_dir() else "build/teachers"))


def teacher_session(path: Path) -> "onnxruntime.InferenceSession":
    """Open the teacher at ``path`` with one thread; raises FIELD_INVALID when it is absent or no network."""
    if not path.is_file():
        raise SemfaceError(
            Reason.FIELD_INVALID,
            f"there is no teacher {path}; build it with make teachers, or name it with --teacher or SEMFACE_TEACHERS",
        )
    # ONNX Runtime is loaded only where a network runs: the command's help needs none.
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime raises many kinds, all of them meaning that this file is no network
        raise SemfaceError(Reason.FIELD_INVALID, f"{path} is no network that can be run") from error


def warp(picture: Picture, matrix: Array, size: int) -> Picture:
    """Return ``size`` × ``size`` pixels; ``matrix`` (2, 3) maps their centres to ``picture``'s; black outside."""
    coefficients = tuple(float(value) for value in matrix.ravel())
    image = Image.fromarray(picture)
    return np.asarray(image.transform((size, size), Image.Transform.AFFINE, coefficients, Image.Resampling.BILINEAR))


class LandmarkTeacher:
    """Marks the 468 points of a face whose box is known."""

    def __init__(self, path: Path) -> None:
        """Open the network at ``path``; raises FIELD_INVALID when it is absent or no network."""
        self._network = teacher_session(path)
        self._input = self._network.get_inputs()[0].name

    def landmarks(self, picture: Picture, box: Array, eyes: Array | None) -> tuple[Array, float]:
        """Return the landmarks (468, 3) in pixels of ``picture`` (z at the same scale) and the presence logit.

        ``box`` is (left, top, right, bottom); ``eyes`` (2, 2) levels the crop, or None leaves it upright.
        """
        centre = (box[:2] + box[2:]) / 2.0
        scale = max(box[2] - box[0], box[3] - box[1]) * LANDMARK_MARGIN / LANDMARK_INPUT
        angle = 0.0 if eyes is None else float(np.arctan2(*(eyes[1] - eyes[0])[::-1]))
        turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        corner = centre - turn @ np.full(2, LANDMARK_INPUT / 2.0)
        crop = warp(picture, np.column_stack([turn, corner]), LANDMARK_INPUT)
        outputs = self._network.run(None, {self._input: crop[None].astype(np.float32) / 255.0})
        points, presence = sorted(outputs, key=lambda output: -output.size)[:2]
        points = points.reshape(468, 3)
        return np.column_stack([points[:, :2] @ turn.T + corner, points[:, 2] * scale]), float(presence.ravel()[0])
