"""Face detection: the three-stage cascade of MTCNN over an image pyramid.

Zhang et al., "Joint face detection and alignment using multitask cascaded convolutional networks", 2016.
"""

import asyncio
from dataclasses import dataclass
from math import floor, log2
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from semface.extraction.alignment import resample
from semface.extraction.pyramid import LEVEL_MARGIN, SURROUNDINGS, Level, Size, draw, lay_out
from semface.inference.engine import Arrays, Engine

Floats = NDArray[np.float32]

Halved = dict[int, Image.Image]
"""A picture by how often it was halved: the whole picture once, rather than every large square by itself."""

MATRIX_BOXES: Final = 160
"""Up to so many boxes the overlaps of all pairs are quicker than those of one box after the other."""

WINDOW: Final = 12
"""Side in pixels of the window that the proposal network looks through."""

STRIDE: Final = 2

LARGEST_FACE: Final = 1 / 0.6
"""Largest face sought, over the picture's shorter side: one that the picture's edges cut may be larger than it."""


@dataclass(frozen=True, slots=True)
class DetectorOptions:
    """What the cascade looks for.

    ``minimum_face`` is the side in pixels of the smallest face sought, but never less than ``minimum_face_fraction`` of
    the picture's longer side, so that a large picture does not take long. ``maximum_proposals`` windows go on to the
    second stage.
    """

    minimum_face: float = 32.0
    minimum_face_fraction: float = 1 / 32
    maximum_proposals: int = 128


@dataclass(frozen=True, slots=True)
class _Look:
    """What one look lets pass: the least score (0 to 1) at each stage, the smallest face over the shorter side."""

    proposal: float
    refinement: float
    output: float
    smallest: float = 0.0


STRICT: Final = _Look(0.8, 0.7, 0.9)
LENIENT: Final = _Look(0.05, 0.02, 0.8, smallest=0.5)
"""Second look at a picture in which the first one found nothing: tolerant, but only of a face that fills the picture.

Chosen on FER+ training pictures, and on pictures without faces: small windows would be taken for faces there.
"""

LEAST_SHRINKING: Final = 2
"""Squares come from a picture halved as often as leaves them this many times as large as a network sees them."""

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


class FaceDetector:
    """Finds faces with the networks ``face_detection_proposal``, ``_refinement`` and ``_output`` of an engine."""

    def __init__(self, engine: Engine, options: DetectorOptions | None = None) -> None:
        """Use ``engine``, which must serve the three networks."""
        self._engine = engine
        self._options = options or DetectorOptions()

    async def detect(self, rgb: NDArray[np.uint8]) -> list[Detection]:
        """Return the faces in ``rgb`` uint8 (H, W, 3), the most certain first."""
        height, width = rgb.shape[:2]
        shorter = min(height, width)
        smallest = max(
            min(self._options.minimum_face, SMALL_PICTURE_FACE * shorter),
            self._options.minimum_face_fraction * max(height, width),
        )
        levels = lay_out((width, height), WINDOW, smallest, LARGEST_FACE * shorter)
        if not levels:
            return []
        # Resampling goes to a thread: on a large picture it takes longer than the event loop may be held.
        image, canvas = await asyncio.to_thread(_prepare, rgb, levels)
        halved = {0: image}
        windows = await self._engine.infer("face_detection_proposal", {"images": canvas})
        for look in (STRICT, LENIENT):
            chosen = [level for level in levels if level.face >= look.smallest * shorter]
            boxes = self._propose(windows, (width, height), chosen, look.proposal)
            boxes = await self._refine(halved, boxes, look.refinement)
            boxes, landmarks, scores = await self._finish(halved, boxes, look.output)
            if len(boxes):
                break
        order = np.argsort(-scores, kind="stable")
        return [Detection(boxes[i], landmarks[i], float(scores[i])) for i in order]

    def _propose(self, windows: Arrays, size: Size, levels: list[Level], threshold: float) -> Floats:
        scores, regression = windows["scores"][0, 0], windows["regression"][0]
        found = [_proposals(scores, regression, level, size, threshold) for level in levels]
        boxes, certainty = np.concatenate([b for b, _ in found]), np.concatenate([s for _, s in found])
        kept = non_maximum_suppression(boxes, certainty, 0.7)[: self._options.maximum_proposals]
        return boxes[kept]

    async def _stage(self, model: str, halved: Halved, squares: Floats, size: int) -> dict[str, Floats]:
        crops = await asyncio.to_thread(_crops, halved, squares, size)
        return await self._engine.infer(model, {"images": crops})

    async def _refine(self, halved: Halved, boxes: Floats, threshold: float) -> Floats:
        if not len(boxes):
            return boxes
        squares = _squared(boxes)
        outputs = await self._stage("face_detection_refinement", halved, squares, 24)
        scores = outputs["scores"][:, 0]
        sure = scores >= threshold
        boxes = _moved(squares[sure], outputs["regression"][sure])
        return boxes[non_maximum_suppression(boxes, scores[sure], 0.7)]

    async def _finish(self, halved: Halved, boxes: Floats, threshold: float) -> tuple[Floats, Floats, Floats]:
        if not len(boxes):
            return boxes, np.empty((0, 5, 2), np.float32), np.empty(0, np.float32)
        squares = _squared(boxes)
        outputs = await self._stage("face_detection_output", halved, squares, 48)
        scores = outputs["scores"][:, 0]
        sure = scores >= threshold
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
    if len(order) <= MATRIX_BOXES:
        return order[_kept_of_matrix(boxes[order], overlap, of_smaller=of_smaller)]
    low, high = boxes[order, :2], boxes[order, 2:]
    area = np.maximum(high - low, 0).prod(axis=1)
    left, kept = np.ones(len(order), bool), []
    for place in range(len(order)):
        if not left[place]:
            continue
        kept.append(order[place])
        sides = np.minimum(high[place], high) - np.maximum(low[place], low)
        common = np.maximum(sides[:, 0], 0) * np.maximum(sides[:, 1], 0)
        whole = np.minimum(area[place], area) if of_smaller else area[place] + area - common
        left &= common <= overlap * whole
    return np.array(kept, dtype=np.intp)


def _kept_of_matrix(boxes: Floats, overlap: float, *, of_smaller: bool) -> NDArray[np.intp]:
    """Return which of the ordered ``boxes`` (N, 4) are kept, from the overlaps of all pairs at once.

    The same arithmetic as one box after the other; some calls of numpy in place of some for each box.
    """
    low, high = boxes[:, :2], boxes[:, 2:]
    area = np.maximum(high - low, 0).prod(axis=1)
    sides = np.maximum(np.minimum(high[:, None], high) - np.maximum(low[:, None], low), 0)
    common = sides[..., 0] * sides[..., 1]
    whole = np.minimum(area[:, None], area) if of_smaller else area[:, None] + area - common
    apart = common <= overlap * whole
    left, kept = np.ones(len(boxes), bool), []
    for place in range(len(boxes)):
        if left[place]:
            kept.append(place)
            left &= apart[place]
    return np.array(kept, dtype=np.intp)


def _prepare(rgb: NDArray[np.uint8], levels: list[Level]) -> tuple[Image.Image, Floats]:
    """Return the picture as an image, and the canvas with all its scales as input of the network."""
    image = Image.fromarray(rgb)
    return image, _normalise(np.asarray(draw(image, levels))[None])


def _crops(halved: Halved, squares: Floats, size: int) -> Floats:
    parts = []
    for x0, y0, x1, _ in squares.tolist():
        halvings = max(floor(log2((x1 - x0) / (LEAST_SHRINKING * size))), 0)
        if halvings not in halved:
            halved[halvings] = halved[0].reduce(2**halvings)
        square = x0 / 2**halvings, y0 / 2**halvings, (x1 - x0) / 2**halvings
        parts.append(np.asarray(resample(halved[halvings], square, size, SURROUNDINGS)))
    return _normalise(np.stack(parts))


def _proposals(scores: Floats, regression: Floats, level: Level, size: Size, threshold: float) -> tuple[Floats, Floats]:
    """Return the windows of a level that pass ``threshold``, in pixels of the picture of ``size``, and their scores."""
    rows = slice(level.top // STRIDE, (level.top + level.frame[1] - WINDOW) // STRIDE + 1)
    columns = slice(level.left // STRIDE, (level.left + level.frame[0] - WINDOW) // STRIDE + 1)
    part = scores[rows, columns]
    row, column = np.nonzero(part >= threshold)
    if not len(row):
        return np.empty((0, 4), np.float32), np.empty(0, np.float32)
    certainty = part[row, column]
    corner = np.stack([column, row], axis=1) * STRIDE - LEVEL_MARGIN
    scale = np.array(level.size) / size
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
    planes = pictures.transpose(0, 3, 1, 2).astype(np.float32, order="C")
    planes -= np.float32(127.5)
    planes /= np.float32(128)
    return planes
