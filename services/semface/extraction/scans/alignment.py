"""A scan's face, brought to where the morphable model's mean head looks at us (AMDFN, section III.B.1).

A picture of the scan is drawn, the landmarks of its face are found there by the networks that serve photographs,
carried back onto the scan by the picture's depth, and brought to the mean head's by least squares (Arun et al., 1987).
"""

import asyncio
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from semface.descriptors import Descriptors, split
from semface.errors import Reason, SemfaceError
from semface.extraction.core import Extractor, Face
from semface.extraction.scans.frontal_view import FrontalView, coarse, view
from semface.extraction.scans.mesh import Array, Scan
from semface.morphable.camera import project
from semface.morphable.model import MorphableModel
from semface.morphable.similarity import Similarity, similarity

STEADY_LANDMARKS: Final = (27, 28, 29, 30, 31, 33, 35, 36, 39, 42, 45)
"""Of the 68 landmarks those that an expression hardly moves: the nose, and the corners of the eyes."""
NOSE_TIP: Final = 30
OUTER_EYES: Final = (36, 45)

FEWEST_LANDMARKS: Final = 6
LARGEST_MISFIT: Final = 0.1
"""Mean distance of the landmarks from the mean head's, over that of the outer eye corners; beyond it is no face."""
LEAST_CONFIDENCE: Final = 0.9

_X, _Y, _Z = np.eye(3)
FRONTS: Final = (
    (_Z, _Y),
    (-_Y, _Z),
    (-_Z, -_Y),
    (_Y, _Z),
    (-_Z, _Y),
    (_X, _Y),
    (-_X, _Y),
    (_X, _Z),
    (-_X, _Z),
    (_Z, -_Y),
)
"""The ways in which scans are laid out, as the directions forward and up, the usual ones first: glTF's, that of
programs with z up, that of a camera with y down."""


@dataclass(frozen=True)
class Template:
    """The mean head's landmarks that a face is brought to."""

    model: MorphableModel

    @cached_property
    def landmarks(self) -> Array:
        """(K, 3) the steady landmarks, in millimetres."""
        return self.model.mean_shape[self.model.landmarks68[list(STEADY_LANDMARKS)]].astype(np.float64)

    @cached_property
    def nose_tip(self) -> Array:
        """(3,) millimetres."""
        return self.model.mean_shape[self.model.landmarks68[NOSE_TIP]].astype(np.float64)

    @cached_property
    def eye_distance(self) -> float:
        """Millimetres between the outer corners of the eyes."""
        first, second = self.model.mean_shape[self.model.landmarks68[list(OUTER_EYES)]]
        return float(np.linalg.norm(first - second))

    @cached_property
    def _bases(self) -> tuple[Array, Array, Array]:
        kept = self.model.landmarks68[list(STEADY_LANDMARKS)]
        return self.model.mean_shape[kept], self.model.shape_basis[:, kept], self.model.expression_basis[:, kept]

    def seen_at(self, descriptors: Descriptors) -> Array:
        """Return where the steady landmarks of a described face (257,) fall in its square, (K, 2) fractions."""
        groups = split(descriptors[None])
        mean, shape, expression = self._bases
        head = mean + np.tensordot(groups["shape"], shape, 1) + np.tensordot(groups["expression"], expression, 1)
        points, _ = project(head, groups["rotation"], groups["translation"])
        return points[0]


class FaceAligner:
    """Finds the face of a scan with the networks that find and describe faces in photographs."""

    def __init__(self, extractor: Extractor, model: MorphableModel | None = None) -> None:
        """Use ``extractor``; the template is the mean head of ``model``, by default the shipped one."""
        self._extractor = extractor
        self.template = Template(model or MorphableModel.shipped())

    async def align(self, scan: Scan) -> Similarity:
        """Return the similarity that brings ``scan`` to the mean head, in millimetres. Raises NO_FACE."""
        scan = await asyncio.to_thread(coarse, scan)
        bare = Scan(scan.vertices, scan.triangles)
        for forward, up in FRONTS:
            axes = np.stack([np.cross(up, forward), up, forward])
            # In strange light, or painted, a face is found by its surface alone.
            for shown in (bare,) if scan.colours is None else (scan, bare):
                try:
                    seen = await asyncio.to_thread(view, shown, axes)
                except SemfaceError:
                    # Large triangles in many layers are no face; drawing them would take long.
                    continue
                face = _largest(await self._extractor.extract(seen.picture))
                if face is not None and (found := self._similarity(seen, face)) is not None:
                    return found
        raise SemfaceError(
            Reason.NO_FACE,
            "no face was found in the scan from any side; it is to show one face from the front, at least a sixth of "
            "the scan's height",
            field="scan",
        )

    def _similarity(self, seen: FrontalView, face: Face) -> Similarity | None:
        """Return how the landmarks of ``face`` come to the template's; None where they do not look like a face's."""
        left, top, side = face.square
        points, kept = seen.lift(self.template.seen_at(face.descriptors) * side + [left, top])
        for _ in range(2):
            if kept.sum() < FEWEST_LANDMARKS:
                return None
            by = similarity(points[kept], self.template.landmarks[kept])
            misfit = _distances(points, by, self.template.landmarks)
            # One that fell beside the nose or into a hole lies far off.
            kept = kept & (np.nan_to_num(misfit, nan=np.inf) <= 3.0 * np.median(misfit[kept]))
        return by if misfit[kept].mean() < LARGEST_MISFIT * self.template.eye_distance else None


def _distances(points: Array, by: Similarity, targets: Array) -> NDArray[np.floating]:
    return np.linalg.norm(by.scale * points @ by.rotation.T + by.shift - targets, axis=1)


def _largest(faces: list[Face]) -> Face | None:
    sure = [face for face in faces if face.confidence >= LEAST_CONFIDENCE]
    return max(sure, key=lambda face: face.size, default=None)
