"""Face detection: the three-stage cascade of MTCNN over an image pyramid.

Zhang et al., "Joint face detection and alignment using multitask cascaded convolutional networks", 2016.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from semface.extraction.alignment import Picture, resample, size_of
from semface.extraction.pyramid import LEVEL_MARGIN, SURROUNDINGS, Halved, Level, canvas_size, draw, lay_out
from semface.inference.engine import Arrays, Engine, Worker

Floats = NDArray[np.float32]

PROPOSAL_MODEL: Final = "face_detection_proposal"
REFINEMENT_MODEL: Final = "face_detection_refinement"
OUTPUT_MODEL: Final = "face_detection_output"
DETECTION_MODELS: Final = (PROPOSAL_MODEL, REFINEMENT_MODEL, OUTPUT_MODEL)
"""The networks that find faces, in the order in which they look."""
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


STRICT: Final = _Look(0.9, 0.7, 0.9)
LENIENT: Final = _Look(0.05, 0.02, 0.8, smallest=0.5)
"""Second look at a picture in which the first one found nothing: tolerant, but only of a face that fills the picture.

Chosen on FER+ training pictures, and on pictures without faces: small windows would be taken for faces there.
"""

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

    async def detect(self, picture: Picture) -> list[Detection]:
        """Return the faces in ``picture``, the most certain first."""
        return await self._engine.work_through(lambda worker: self.search(worker, picture))

    async def search(self, worker: Worker, picture: Picture) -> list[Detection]:
        """Do with ``worker`` what ``detect`` does."""
        width, height = size_of(picture)
        shorter = min(height, width)
        smallest = max(
            min(self._options.minimum_face, SMALL_PICTURE_FACE * shorter),
            self._options.minimum_face_fraction * max(height, width),
        )
        levels = lay_out((width, height), WINDOW, smallest, LARGEST_FACE * shorter)
        if not levels:
            return []
        halved, canvas = await worker.compute(_prepare, picture, levels)
        windows = await worker.infer(PROPOSAL_MODEL, {"images": canvas})
        for look in (STRICT, LENIENT):
            boxes = self._propose(windows, levels, look.smallest * shorter, look.proposal)
            boxes = await self._refine(worker, halved, boxes, look.refinement)
            boxes, landmarks, scores = await self._finish(worker, halved, boxes, look.output)
            if len(boxes):
                break
        order = np.argsort(-scores, kind="stable")
        return [Detection(boxes[i], landmarks[i], float(scores[i])) for i in order]

    def _propose(self, windows: Arrays, levels: tuple[Level, ...], smallest: float, threshold: float) -> Floats:
        """Return the windows of faces of at least ``smallest`` pixels that pass ``threshold``, the best first."""
        boxes, moves, scores, level = _passing(windows, levels, smallest, threshold)
        kept = non_maximum_suppression(boxes, scores, 0.5, groups=level)
        boxes = _moved(boxes[kept], moves[kept])
        return boxes[non_maximum_suppression(boxes, scores[kept], 0.7)[: self._options.maximum_proposals]]

    async def _refine(self, worker: Worker, halved: Halved, boxes: Floats, threshold: float) -> Floats:
        if not len(boxes):
            return boxes
        squares = _squared(boxes)
        outputs = await _stage(worker, REFINEMENT_MODEL, halved, squares, 24, 1)
        scores = outputs["scores"][:, 0]
        sure = scores >= threshold
        boxes = _moved(squares[sure], outputs["regression"][sure])
        return boxes[non_maximum_suppression(boxes, scores[sure], 0.7)]

    async def _finish(
        self, worker: Worker, halved: Halved, boxes: Floats, threshold: float
    ) -> tuple[Floats, Floats, Floats]:
        if not len(boxes):
            return boxes, np.empty((0, 5, 2), np.float32), np.empty(0, np.float32)
        squares = _squared(boxes)
        outputs = await _stage(worker, OUTPUT_MODEL, halved, squares, 48, 2)
        scores = outputs["scores"][:, 0]
        sure = scores >= threshold
        squares, scores = squares[sure], scores[sure]
        side = squares[:, 2:3] - squares[:, 0:1]
        points = outputs["landmarks"][sure].reshape(-1, 2, 5).transpose(0, 2, 1)
        landmarks = squares[:, None, :2] + points * side[:, None]
        boxes = _moved(squares, outputs["regression"][sure])
        kept = non_maximum_suppression(boxes, scores, 0.7, of_smaller=True)
        return boxes[kept], landmarks[kept], scores[kept]


async def _stage(worker: Worker, model: str, halved: Halved, squares: Floats, size: int, shrinking: float) -> Arrays:
    crops = await worker.compute(_crops, halved, squares, size, shrinking)
    return await worker.infer(model, {"images": crops})


def non_maximum_suppression(
    boxes: Floats,
    scores: Floats,
    overlap: float,
    *,
    of_smaller: bool = False,
    groups: NDArray[np.intp] | None = None,
) -> NDArray[np.intp]:
    """Return indices of the boxes (N, 4) that overlap no better one by more than ``overlap``, the best first.

    Overlap is intersection over union, or over the smaller box's area when ``of_smaller``. Only boxes of the same one
    of ``groups`` (N,) are compared, where they are given.
    """
    order = np.argsort(-scores, kind="stable")
    if len(order) <= MATRIX_BOXES:
        apart = _apart(boxes[order], overlap, of_smaller=of_smaller)
        if groups is not None:
            apart |= groups[order, None] != groups[order]
        return order[_kept(apart)]
    if groups is not None:
        parts = [np.flatnonzero(groups == group) for group in np.unique(groups)]
        kept = [
            part[non_maximum_suppression(boxes[part], scores[part], overlap, of_smaller=of_smaller)] for part in parts
        ]
        together = np.concatenate(kept)
        return together[np.argsort(-scores[together], kind="stable")]
    low, high = boxes[order, :2], boxes[order, 2:]
    area = np.maximum(high - low, 0).prod(axis=1)
    left, best = np.ones(len(order), bool), []
    for place in range(len(order)):
        if not left[place]:
            continue
        best.append(order[place])
        sides = np.minimum(high[place], high) - np.maximum(low[place], low)
        common = np.maximum(sides[:, 0], 0) * np.maximum(sides[:, 1], 0)
        whole = np.minimum(area[place], area) if of_smaller else area[place] + area - common
        left &= common <= overlap * whole
    return np.array(best, dtype=np.intp)


def _apart(boxes: Floats, overlap: float, *, of_smaller: bool) -> NDArray[np.bool_]:
    """Return (N, N) which of the ``boxes`` (N, 4) overlap by no more than ``overlap``.

    The same arithmetic as one box after the other; some calls of numpy in place of some for each box.
    """
    low, high = boxes[:, :2], boxes[:, 2:]
    area = np.maximum(high - low, 0).prod(axis=1)
    sides = np.maximum(np.minimum(high[:, None], high) - np.maximum(low[:, None], low), 0)
    common = sides[..., 0] * sides[..., 1]
    whole = np.minimum(area[:, None], area) if of_smaller else area[:, None] + area - common
    return common <= overlap * whole


def _kept(apart: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Return which of N boxes, the best first, stay: those ``apart`` (N, N) from every better one that stays."""
    left, kept = np.ones(len(apart), bool), []
    for place in range(len(apart)):
        if left[place]:
            kept.append(place)
            left &= apart[place]
    return np.array(kept, dtype=np.intp)


def _prepare(picture: Picture, levels: tuple[Level, ...]) -> tuple[Halved, Floats]:
    """Return the picture, and the canvas with all its scales as input of the network."""
    halved = Halved(picture if isinstance(picture, Image.Image) else Image.fromarray(picture))
    return halved, _normalise(np.asarray(draw(halved, levels))[None])


def _crops(halved: Halved, squares: Floats, size: int, shrinking: float) -> Floats:
    """Return the ``squares`` (N, 4) of a picture as input (N, 3, size, size) of a network.

    Each comes from a picture halved as often as leaves it ``shrinking`` times as large, at least.
    """
    # One under the other in one image, which is turned into an array at once.
    strip = Image.new("RGB", (size, size * len(squares)))
    for place, (x0, y0, x1, _) in enumerate(squares.tolist()):
        halvings = halved.within((x1 - x0) / (shrinking * size))
        square = x0 / 2**halvings, y0 / 2**halvings, (x1 - x0) / 2**halvings
        strip.paste(resample(halved.times(halvings), square, size, SURROUNDINGS), (0, size * place))
    return _normalise(np.asarray(strip).reshape(-1, size, size, 3))


@lru_cache(maxsize=16)
def _level_of_windows(levels: tuple[Level, ...]) -> NDArray[np.int16]:
    """Return (rows, columns) in which of ``levels`` each window of the canvas lies; -1 for one across their frames."""
    width, height = canvas_size(levels)
    found = np.full(((height - WINDOW) // STRIDE + 1, (width - WINDOW) // STRIDE + 1), -1, np.int16)
    for number, level in enumerate(levels):
        rows = slice(level.top // STRIDE, (level.top + level.frame[1] - WINDOW) // STRIDE + 1)
        columns = slice(level.left // STRIDE, (level.left + level.frame[0] - WINDOW) // STRIDE + 1)
        found[rows, columns] = number
    return found


def _passing(
    windows: Arrays, levels: tuple[Level, ...], smallest: float, threshold: float
) -> tuple[Floats, Floats, Floats, NDArray[np.intp]]:
    """Return the windows that pass ``threshold``, at levels of faces of at least ``smallest`` pixels.

    Their boxes (N, 4) in pixels of the picture, how the edges are to be moved (N, 4), scores (N,) and levels (N,).
    """
    scores, regression, level_of = windows["scores"][0, 0], windows["regression"][0], _level_of_windows(levels)
    finest = sum(level.face < smallest for level in levels)
    row, column = np.nonzero((scores >= threshold) & (level_of >= finest))
    level = level_of[row, column].astype(np.intp)
    origins = np.array([(level.left, level.top) for level in levels])
    scales = np.array([level.scale for level in levels])[level]
    corner = np.stack([column, row], axis=1) * STRIDE - origins[level] - LEVEL_MARGIN
    boxes = np.concatenate([corner / scales, (corner + WINDOW) / scales], axis=1).astype(np.float32)
    return boxes, regression[:, row, column].T, scores[row, column], level


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
    planes *= np.float32(1 / 128)
    return planes
