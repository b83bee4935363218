"""Our own ONNX files behind plain FastAPI, written the naive way: `uvicorn semface.evaluation.load.rival_naive:app`.

One level of the pyramid after the other, each from the whole picture; one crop after the other; floats as JSON; the
work in the endpoint. The same thresholds as the detector's, so that the same face is found.
"""

import io
from typing import Any

import numpy as np
import onnxruntime as ort
from fastapi import FastAPI, UploadFile
from numpy.typing import NDArray
from PIL import Image

from semface.inference.repository import ModelRepository
from semface.rpc.settings import ServerSettings

Floats = NDArray[np.float32]
REPOSITORY = ModelRepository(ServerSettings().model_repository)

app = FastAPI()
proposal, refinement, output, description = (
    ort.InferenceSession(REPOSITORY.model(name).path, providers=["CPUExecutionProvider"])
    for name in (
        "face_detection_proposal",
        "face_detection_refinement",
        "face_detection_output",
        "descriptor_extraction",
    )
)


@app.post("/faces")
async def faces(file: UploadFile) -> list[dict[str, Any]]:
    """Find every face of a photograph and answer its 257 numbers."""
    picture = Image.open(io.BytesIO(await file.read())).convert("RGB")
    boxes = squared(propose(picture))
    boxes = squared(refine(picture, boxes, refinement, 24, 0.7))
    found = refine(picture, boxes, output, 48, 0.9)
    answers = []
    for x0, y0, x1, y1 in found.tolist():
        half = 0.6 * max(x1 - x0, y1 - y0)
        middle = (x0 + x1) / 2, (y0 + y1) / 2
        crop = np.array(cut(picture, (middle[0] - half, middle[1] - half, middle[0] + half, middle[1] + half), 112))
        numbers = description.run(["descriptors"], {"crops": crop[None]})[0][0]
        answers.append({"box": [x0, y0, x1, y1], "descriptors": numbers.tolist()})
    return answers


def propose(picture: Image.Image) -> Floats:
    """Return boxes (N, 4) that may be faces."""
    found, scores, scale = [], [], 12 / 32
    while min(picture.size) * scale >= 12:
        size = round(picture.width * scale), round(picture.height * scale)
        answers = proposal.run(["scores", "regression"], {"images": planes(picture.resize(size))[None]})
        score, regression = answers[0][0, 0], answers[1][0]
        for row, column in zip(*np.nonzero(score > 0.8), strict=True):
            corner = np.array([2 * column, 2 * row], np.float32)
            box = np.concatenate([corner, corner + 12]) / scale
            found.append(box + 12 / scale * regression[:, row, column])
            scores.append(score[row, column])
        scale *= 0.709
    return suppressed(np.array(found, np.float32).reshape(-1, 4), np.array(scores))


def refine(picture: Image.Image, boxes: Floats, network: ort.InferenceSession, size: int, threshold: float) -> Floats:
    """Return those of ``boxes`` (N, 4) that ``network`` takes for faces, moved as it says."""
    kept, scores = [], []
    for box in boxes:
        crop = planes(cut(picture, tuple(box.tolist()), size))[None]
        score, regression = network.run(["scores", "regression"], {"images": crop})
        if score.ravel()[0] > threshold:
            kept.append(box + (box[2] - box[0]) * regression[0])
            scores.append(score.ravel()[0])
    return suppressed(np.array(kept, np.float32).reshape(-1, 4), np.array(scores))


def suppressed(boxes: Floats, scores: NDArray[Any]) -> Floats:
    """Return ``boxes`` (N, 4) without those that overlap a better one by 0.7."""
    kept: list[Floats] = []
    for index in np.argsort(-scores):
        box = boxes[index]
        if all(overlap(box, other) <= 0.7 for other in kept):
            kept.append(box)
    return np.array(kept, np.float32).reshape(-1, 4)


def overlap(one: Floats, other: Floats) -> float:
    """Return intersection over union of two boxes."""
    sides = np.maximum(np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2]), 0)
    common = float(sides.prod())
    return common / float((one[2:] - one[:2]).prod() + (other[2:] - other[:2]).prod() - common)


def squared(boxes: Floats) -> Floats:
    """Return squares around ``boxes`` (N, 4)."""
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2
    half = (boxes[:, 2:] - boxes[:, :2]).max(axis=1, keepdims=True) / 2 if len(boxes) else np.empty((0, 1), np.float32)
    return np.concatenate([middle - half, middle + half], axis=1)


def cut(picture: Image.Image, box: tuple[float, ...], size: int) -> Image.Image:
    """Return the part of ``picture`` in ``box`` at ``size`` × ``size`` pixels."""
    part = picture.crop((round(box[0]), round(box[1]), round(box[2]), round(box[3])))
    return part.resize((size, size), Image.Resampling.BILINEAR)


def planes(picture: Image.Image) -> Floats:
    """Return ``picture`` as (3, h, w), (RGB - 127.5) / 128."""
    return ((np.array(picture).transpose(2, 0, 1) - 127.5) / 128).astype(np.float32)
