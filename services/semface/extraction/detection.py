"""Face detection: the three-stage cascade of MTCNN over an image pyramid.

Zhang et al., "Joint face detection and alignment using multitask cascaded convolutional networks", 2016.
"""

import asyncio
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from semface.extraction.alignment import resample
from semface.inference.engine import Arrays, Engine

Floats = NDArray[np.float32]

WINDOW: Final = 12
"""Side in pixels of the window that the proposal network looks through."""

STRIDE: Final = 2
PYRAMID_FACTOR: Final = 0.709
"""From one scale to the next the picture's area halves."""

PICTURE_FILL: Final = (127, 127, 127)
"""What lies around the picture: the grey that the networks see as zero."""


@dataclass(frozen=True, slots=True)
class DetectorOptions:
    """What the cascade looks for.

    ``minimum_face`` is the side in pixels of the smallest face sought, but never less than ``minimum_face_fraction`` of
    the picture's longer side, so that a large picture does not take long. ``maximum_proposals`` windows go on to the
    second stage. A margin of ``margin_fraction`` of the shorter side, at most ``margin_limit`` pixels, is laid around
    the picture.
    """

    minimum_face: float = 32.0
    minimum_face_fraction: float = 1 / 32
    maximum_proposals: int = 128
    margin_fraction: float = 0.5
    margin_limit: int = 48


@dataclass(frozen=True, slots=True)
class _Thresholds:
    """The least score, between 0 and 1, that each stage lets pass."""

    proposal: float
    refinement: float
    output: float


STRICT: Final = _Thresholds(0.6, 0.7, 0.9)
LENIENT: Final = _Thresholds(0.2, 0.1, 0.85)
"""Second look at a picture in which the first one found nothing: early stages tolerant, the last one still sure."""

SMALL_PICTURE_FACE: Final = 0.4
"""In a small picture, faces down to this fraction of its shorter side are sought."""


@dataclass(frozen=True, slots=True)
class Detection:
    """One face: ``box`` (x0, y0, x1, y1) and ``landmarks`` (5, 2) in pixels of the upright photograph.

    Coordinates are continuous (a pixel's left edge is at its index) and may lie outside the picture. Landmarks: the
    eye, on the picture's left and right, the nose's tip, the corners of the mouth, left and right.
    """

    box: Floats
    landmarks: Floats
    confidence: float


@dataclass(frozen=True, slots=True)
class _Level:
    """Where one scale of the pyramid lies on the canvas, in pixels of the canvas."""

    scale_x: float
    scale_y: float
    left: int
    top: int
    width: int
    height: int


class FaceDetector:
    """Finds faces with the networks ``face_detection_proposal``, ``_refinement`` and ``_output`` of an engine."""

    def __init__(self, engine: Engine, options: DetectorOptions | None = None) -> None:
        """Use ``engine``, which must serve the three networks."""
        self._engine = engine
        self._options = options or DetectorOptions()

    async def detect(self, rgb: NDArray[np.uint8]) -> list[Detection]:
        """Return the faces in ``rgb`` uint8 (H, W, 3), the most certain first."""
        # A face that fills the picture, or is cut by its edge, is found only with something around it.
        height, width = rgb.shape[:2]
        margin = min(round(self._options.margin_fraction * min(height, width)), self._options.margin_limit)
        smallest = max(
            min(self._options.minimum_face, SMALL_PICTURE_FACE * min(height, width)),
            self._options.minimum_face_fraction * max(height, width),
        )
        levels = _pyramid((width + 2 * margin, height + 2 * margin), smallest)
        if not levels:
            return []
        # Resampling goes to a thread: on a large picture it takes longer than the event loop may be held.
        image, canvas = await asyncio.to_thread(_draw, rgb, margin, levels)
        windows = await self._engine.infer("face_detection_proposal", {"images": canvas})
        for thresholds in (STRICT, LENIENT):
            boxes = self._propose(windows, levels, thresholds)
            boxes = await self._refine(image, boxes, thresholds)
            boxes, landmarks, scores = await self._finish(image, boxes, thresholds)
            if len(boxes):
                break
        order = np.argsort(-scores, kind="stable")
        return [
            Detection(boxes[i] - np.float32(margin), landmarks[i] - np.float32(margin), float(scores[i])) for i in order
        ]

    def _propose(self, windows: Arrays, levels: list[_Level], thresholds: _Thresholds) -> Floats:
        scores, regression = windows["scores"][0, 1], windows["regression"][0]
        found = [_proposals(scores, regression, level, thresholds.proposal) for level in levels]
        boxes, certainty = np.concatenate([b for b, _ in found]), np.concatenate([s for _, s in found])
        kept = non_maximum_suppression(boxes, certainty, 0.7)[: self._options.maximum_proposals]
        return boxes[kept]

    async def _stage(self, model: str, image: Image.Image, squares: Floats, size: int) -> dict[str, Floats]:
        crops = await asyncio.to_thread(_crops, image, squares, size)
        return await self._engine.infer(model, {"images": crops})

    async def _refine(self, image: Image.Image, boxes: Floats, thresholds: _Thresholds) -> Floats:
        if not len(boxes):
            return boxes
        squares = _squared(boxes)
        outputs = await self._stage("face_detection_refinement", image, squares, 24)
        scores = outputs["scores"][:, 1]
        sure = scores >= thresholds.refinement
        boxes = _moved(squares[sure], outputs["regression"][sure])
        return boxes[non_maximum_suppression(boxes, scores[sure], 0.7)]

    async def _finish(
        self, image: Image.Image, boxes: Floats, thresholds: _Thresholds
    ) -> tuple[Floats, Floats, Floats]:
        if not len(boxes):
            return boxes, np.empty((0, 5, 2), np.float32), np.empty(0, np.float32)
        squares = _squared(boxes)
        outputs = await self._stage("face_detection_output", image, squares, 48)
        scores = outputs["scores"][:, 1]
        sure = scores >= thresholds.output
        squares, scores = squares[sure], scores[sure]
        side = squares[:, 2:3] - squares[:, 0:1]
        points = outputs["landmarks"][sure].reshape(-1, 2, 5).transpose(0, 2, 1)
        landmarks = squares[:, None, :2] + points * side[:, None]
        boxes = _moved(squares, outputs["regression"][sure])
        kept = non_maximum_suppression(boxes, scores, 0.7, of_smaller=True)
        return boxes[kept], landmarks[kept], scores[kept]


def non_maximum_suppression(
    boxes: Floats, scores: Floats, overlap: float, *, of_smaller: bool = False
) -> NDArray[np.intp]:
    """Return indices of the boxes (N, 4) that overlap no better one by more than ``overlap``, the best first.

    Overlap is intersection over union, or over the smaller box's area when ``of_smaller``.
    """
    order = np.argsort(-scores, kind="stable")
    area = np.maximum(boxes[:, 2] - boxes[:, 0], 0) * np.maximum(boxes[:, 3] - boxes[:, 1], 0)
    kept = []
    while order.size:
        best, rest = order[0], order[1:]
        kept.append(best)
        low, high = np.maximum(boxes[best, :2], boxes[rest, :2]), np.minimum(boxes[best, 2:], boxes[rest, 2:])
        common = np.prod(np.maximum(high - low, 0), axis=1)
        whole = np.minimum(area[best], area[rest]) if of_smaller else area[best] + area[rest] - common
        order = rest[common <= overlap * whole]
    return np.array(kept, dtype=np.intp)


def _pyramid(size: tuple[int, int], smallest: float) -> list[_Level]:
    """Lay every scale of a picture of ``size`` on one canvas, so that one call of the network sees them all."""
    width, height = size
    scale, sizes = WINDOW / smallest, []
    while min(width, height) * scale >= WINDOW:
        sizes.append((max(round(width * scale), WINDOW), max(round(height * scale), WINDOW)))
        scale *= PYRAMID_FACTOR
    columns: list[list[int]] = []  # left edge, width, height used
    levels = []
    for w, h in sizes:
        column = next((c for c in columns if c[2] + h <= sizes[0][1] and w <= c[1]), None)
        if column is None:
            column = [columns[-1][0] + columns[-1][1] if columns else 0, _even(w), 0]
            columns.append(column)
        levels.append(_Level(w / width, h / height, column[0], column[2], w, h))
        column[2] += _even(h)
    return levels


def _even(value: int) -> int:
    # The network pools by two, so each scale starts where a pooling window starts.
    return value + value % 2


def _draw(rgb: NDArray[np.uint8], margin: int, levels: list[_Level]) -> tuple[Image.Image, Floats]:
    """Return the picture with its margin, and the canvas with all its scales as input of the network."""
    image = ImageOps.expand(Image.fromarray(rgb), margin, PICTURE_FILL)
    size = max(v.left + v.width for v in levels), max(v.top + v.height for v in levels)
    canvas = Image.new("RGB", size, PICTURE_FILL)
    source = image
    for level in levels:
        source = source.resize((level.width, level.height), Image.Resampling.BILINEAR)
        canvas.paste(source, (level.left, level.top))
    return image, _normalise(np.asarray(canvas)[None])


def _crops(image: Image.Image, squares: Floats, size: int) -> Floats:
    parts = [resample(image, (x0, y0, x1 - x0), size) for x0, y0, x1, _ in squares.tolist()]
    return _normalise(np.stack([np.asarray(part) for part in parts]))


def _proposals(scores: Floats, regression: Floats, level: _Level, threshold: float) -> tuple[Floats, Floats]:
    rows = slice(level.top // STRIDE, (level.top + level.height - WINDOW) // STRIDE + 1)
    columns = slice(level.left // STRIDE, (level.left + level.width - WINDOW) // STRIDE + 1)
    part = scores[rows, columns]
    row, column = np.nonzero(part >= threshold)
    certainty = part[row, column]
    corner = np.stack([column, row], axis=1) * STRIDE
    scale = np.array([level.scale_x, level.scale_y])
    windows = np.concatenate([corner / scale, (corner + WINDOW) / scale], axis=1).astype(np.float32)
    moves = regression[:, rows, columns][:, row, column].T
    kept = non_maximum_suppression(windows, certainty, 0.5)
    return _moved(windows[kept], moves[kept]), certainty[kept]


def _moved(boxes: Floats, regression: Floats) -> Floats:
    """Return ``boxes`` with each edge moved by ``regression`` (N, 4), a fraction of the box's width or height."""
    size = boxes[:, 2:] - boxes[:, :2]
    return boxes + regression * np.concatenate([size, size], axis=1)


def _squared(boxes: Floats) -> Floats:
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2
    half = np.maximum((boxes[:, 2:] - boxes[:, :2]).max(axis=1, keepdims=True), 1) / 2
    return np.concatenate([centre - half, centre + half], axis=1)


def _normalise(pictures: NDArray[np.uint8]) -> Floats:
    """Turn uint8 (N, h, w, 3) into float32 (N, 3, h, w), (RGB - 127.5) / 128, as the networks were trained."""
    return np.ascontiguousarray(pictures.transpose(0, 3, 1, 2), dtype=np.float32) / np.float32(128) - np.float32(
        127.5 / 128
    )
