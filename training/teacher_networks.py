"""The teachers: networks of others, run as ONNX, that the recipes learn from. ``SEMFACE_TEACHERS`` names their folder.

``make teachers`` builds them from the packages that carry them; none of them ships with semface.
"""

import os
from functools import cache
from pathlib import Path
from typing import Final

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from PIL import Image

from training.datasets import REPOSITORY

LANDMARK_INPUT: Final = 192
LANDMARK_MARGIN: Final = 1.5
IDENTITY_INPUT: Final = 224
IDENTITY_MARGIN: Final = 1.2
IDENTITY_MEAN_BGR: Final = np.array([103.939, 116.779, 123.68], np.float32)

Picture = NDArray[np.uint8]
Array = NDArray[np.floating]


def folder() -> Path:
    """Return where the teachers' ONNX files are."""
    return Path(os.environ.get("SEMFACE_TEACHERS", REPOSITORY / "build" / "teachers"))


@cache
def session(name: str) -> onnxruntime.InferenceSession:
    """Open the teacher ``name`` with one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(folder() / f"{name}.onnx", options, providers=["CPUExecutionProvider"])


def warp(picture: Picture, matrix: Array, size: int) -> Picture:
    """Return ``size`` × ``size`` pixels; ``matrix`` (2, 3) maps their centres to ``picture``'s; black outside."""
    coefficients = tuple(float(value) for value in matrix.ravel())
    image = Image.fromarray(picture)
    return np.asarray(image.transform((size, size), Image.Transform.AFFINE, coefficients, Image.Resampling.BILINEAR))


def dense_landmarks(picture: Picture, box: Array, eyes: Array | None) -> tuple[Array, float]:
    """Return the 468 landmarks (468, 3) in pixels of ``picture`` (z at the same scale) and the presence logit.

    ``box`` is (left, top, right, bottom); ``eyes`` (2, 2) levels the crop, or None leaves it upright.
    """
    centre = (box[:2] + box[2:]) / 2.0
    scale = max(box[2] - box[0], box[3] - box[1]) * LANDMARK_MARGIN / LANDMARK_INPUT
    angle = 0.0 if eyes is None else float(np.arctan2(*(eyes[1] - eyes[0])[::-1]))
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    corner = centre - turn @ np.full(2, LANDMARK_INPUT / 2.0)
    crop = warp(picture, np.column_stack([turn, corner]), LANDMARK_INPUT)
    network = session("face_landmark")
    outputs = network.run(None, {network.get_inputs()[0].name: crop[None].astype(np.float32) / 255.0})
    points, presence = sorted(outputs, key=lambda output: -output.size)[:2]
    points = points.reshape(468, 3)
    return np.column_stack([points[:, :2] @ turn.T + corner, points[:, 2] * scale]), float(presence.ravel()[0])


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
