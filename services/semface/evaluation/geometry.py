"""Is the geometry right? Described heads against known ones in renders, and against a landmark teacher on photographs.

On renders, ``landmark_nme`` compares the 68 landmarks in the picture. ``shape_gain`` compares persons: our head of α
alone and the known head without expression, at the vertices of our face region, each with the place of the known mesh
next to it when a smooth map has brought the 68 landmarks of both mean faces together. ``depth_error_mm`` compares, at
the same places, what the camera saw: both heads with expression and turned, along the camera's axis, after the best
scale and shift only.
``identity_ratio`` tells whether a smile moves δ and not α: 100 people in neutral, smile, surprise, anger and sadness,
nearly frontal, each picture in another light; the mean distance of α within a person over that between people.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

import numpy as np
from numpy.typing import NDArray

from semface.descriptors import GROUPS, Descriptors, split
from semface.errors import Reason, SemfaceError
from semface.evaluation.geometry_measures import (
    OUTER_EYES_68,
    OUTER_EYES_468,
    carry,
    identity_ratio,
    mean_distance,
    nearest_on_surface,
    normalised_mean_error,
)
from semface.evaluation.landmark_teacher import LandmarkTeacher
from semface.evaluation.pictures import CROP_BATCH, FaceView, PictureArchive, Pixels, Progress, view_face
from semface.evaluation.synthetic_faces import SHOWN_EXPRESSIONS, FaceGenerator, IctModel, SyntheticFace
from semface.extraction.alignment import CROP_SIZE, Square, crop_face
from semface.extraction.core import Extractor
from semface.extraction.detection import FaceDetector
from semface.inference.engine import Engine
from semface.morphable.camera import project, rotation_matrix
from semface.morphable.model import MorphableModel
from semface.morphable.rendering import draw
from semface.morphable.similarity import move, similarity

DEFAULT_COUNT: Final = 500
"""Renders that are judged when nothing else is asked for."""
EXPRESSIVE_PEOPLE: Final = 100
"""People whose α is compared over expressions."""

Array = NDArray[np.floating]


@dataclass(frozen=True, slots=True)
class RenderFigures:
    """Figures on renders: means over ``faces``; of these, ``fallback`` were not found by the detector.

    ``identity_ratio`` is of other renders, and None when they show one person only.
    """

    landmark_nme: float
    shape_gain: float
    depth_error_mm: float
    identity_ratio: float | None
    faces: int
    fallback: int

    def as_json(self) -> dict[str, float | int | None]:
        """Return the figures under the keys that the command promises; a render can always be decoded."""
        return {
            "landmark_nme": self.landmark_nme,
            "shape_gain": self.shape_gain,
            "depth_error_mm": self.depth_error_mm,
            "faces": self.faces,
            "skipped": 0,
            "identity_ratio": self.identity_ratio,
        }


@dataclass(frozen=True, slots=True)
class PhotographFigures:
    """Figures on photographs: means over ``faces``; of these, ``fallback`` were not found by the detector.

    ``photometric_error`` is None when no fitted mesh lies in its picture.
    """

    landmark_nme_468: float
    photometric_error: float | None
    faces: int
    skipped: int
    fallback: int

    def as_json(self) -> dict[str, float | int | None]:
        """Return the figures under the keys that the command promises."""
        return {
            "landmark_nme_468": self.landmark_nme_468,
            "photometric_error": self.photometric_error,
            "faces": self.faces,
            "skipped": self.skipped,
        }


class HeadComparison:
    """Compares our heads with ICT heads at places chosen once on the mean faces."""

    def __init__(self, ict: IctModel, model: MorphableModel) -> None:
        """Choose the place on the mean ICT face next to each vertex of our face region, carried by the 68 landmarks."""
        self._model = model
        self._region = model.face_region
        ours, theirs = model.mean_shape[model.landmarks68], ict.mean[ict.landmarks68]
        by = similarity(ours, theirs)
        laid = carry(move(model.mean_shape[self._region], by), move(ours, by), theirs)
        self._corners, self._weights = nearest_on_surface(laid, ict.mean, ict.triangles)

    def shape_errors(self, descriptors: Descriptors, face: SyntheticFace) -> tuple[float, float]:
        """Return the mean distances in mm of our head of α alone, and of our mean head, from the person's neutral one.

        ``descriptors`` is (257,). Each head is brought to the known one by the best similarity.
        """
        truth = self.places(face.neutral)
        groups = split(descriptors[None])
        ours = self._model.vertices(groups["shape"], np.zeros_like(groups["expression"]))[0]
        heads = (ours[self._region], self._model.mean_shape[self._region])
        own, mean = (mean_distance(move(head, similarity(head, truth)), truth) for head in heads)
        return own, mean

    def depth_error(self, descriptors: Descriptors, face: SyntheticFace) -> float:
        """Return the mean error in mm along the camera's axis of the head that was seen, its rotation as described.

        ``descriptors`` is (257,). Scale and shift, which one picture does not tell, are the best ones.
        """
        truth = self.places(face.posed)
        groups = split(descriptors[None])
        head = self._model.vertices(groups["shape"], groups["expression"])[0, self._region]
        turned = head @ rotation_matrix(groups["rotation"])[0].T
        moved = move(turned, similarity(turned, truth, rotate=False))
        return float(np.abs(moved[:, 2] - truth[:, 2]).mean())

    def places(self, vertices: Array) -> Array:
        """Return the places (P, 3) of an ICT head (V, 3) that stand opposite the P vertices of our face region."""
        return (vertices[self._corners] * self._weights[..., None]).sum(axis=1)


async def evaluate_renders(engine: Engine, ict: IctModel, count: int, progress: Progress) -> RenderFigures:
    """Describe the first ``count`` renders of ``ict`` and compare the geometry with what is known of them.

    Of the people who show expressions as many are described, at most 100.
    """
    model = MorphableModel.shipped()
    generator, comparison = await asyncio.to_thread(lambda: (FaceGenerator(ict, model), HeadComparison(ict, model)))
    rows: list[tuple[float, float, float, float]] = []
    fallback = 0
    async for face, view, row in _described(engine, generator.faces(count), progress):
        points = landmark_points(model, row, view.square, dense=False)
        nme = normalised_mean_error(points, face.landmarks, OUTER_EYES_68)
        rows.append((nme, *comparison.shape_errors(row, face), comparison.depth_error(row, face)))
        fallback += view.eyes is None
    nme, own, mean, depth = np.mean(rows, axis=0).tolist()
    people = min(count, EXPRESSIVE_PEOPLE)
    shown = (face for faces in generator.people(people) for face in faces)
    shapes = [row[GROUPS["shape"]] async for _, _, row in _described(engine, shown, progress)]
    ratio = identity_ratio(np.stack(shapes).reshape(people, len(SHOWN_EXPRESSIONS), -1))
    return RenderFigures(nme, 1.0 - own / mean, depth, ratio, len(rows), fallback)


def pictures_judged(count: int) -> int:
    """Return how many renders :func:`evaluate_renders` describes for ``count``, those of expressions with them."""
    return count + min(count, EXPRESSIVE_PEOPLE) * len(SHOWN_EXPRESSIONS)


async def evaluate_photographs(
    engine: Engine, archive: PictureArchive, teacher: LandmarkTeacher, limit: int | None, progress: Progress
) -> PhotographFigures:
    """Describe one face of each of the first ``limit`` pictures and compare it with the teacher and with the pixels.

    Raises FIELD_INVALID when no picture can be decoded.
    """
    model = MorphableModel.shipped()
    detector, extractor = FaceDetector(engine), Extractor(engine)
    stems = archive.stems[:limit]
    landmark_errors: list[float] = []
    colour_errors: list[float | None] = []
    fallback = 0
    for start in range(0, len(stems), CROP_BATCH):
        group = stems[start : start + CROP_BATCH]
        pictures = await asyncio.to_thread(_readable, archive, group)
        views = [await view_face(detector, picture) for picture in pictures]
        fallback += sum(view.eyes is None for view in views)
        described = await extractor.describe([view.crop for view in views])
        for picture, view, row in zip(pictures, views, described, strict=True):
            truth, _ = teacher.landmarks(picture, view.box, view.eyes)
            points = landmark_points(model, row, view.square, dense=True)
            landmark_errors.append(normalised_mean_error(points, truth[:, :2], OUTER_EYES_468))
            colour_errors.append(colour_error(model, row, picture, view))
        progress(len(group))
    if not landmark_errors:
        raise SemfaceError(Reason.FIELD_INVALID, f"{archive.path} holds no picture that can be decoded")
    measured = [error for error in colour_errors if error is not None]
    photometric = float(np.mean(measured)) if measured else None
    faces = len(landmark_errors)
    return PhotographFigures(float(np.mean(landmark_errors)), photometric, faces, len(stems) - faces, fallback)


def colour_error(model: MorphableModel, descriptors: Descriptors, picture: Pixels, view: FaceView) -> float | None:
    """Return the mean absolute RGB difference, 0 to 255, between the crop and its redrawn face.

    Only pixels inside the photograph count where the mesh of ``descriptors`` (257,) shows its face region; None when
    there are none.
    """
    fragments, colours = draw(model, descriptors[None], (0.0, 0.0), CROP_SIZE, CROP_SIZE, CROP_SIZE)
    corners = model.triangles[fragments.triangle]
    inside = crop_face(np.full_like(picture, 255), view.square)[..., 0] == 255
    judged = (fragments.triangle >= 0) & model.face_region[corners].all(axis=-1) & inside
    if not judged.any():
        return None
    redrawn = (colours[corners[judged]] * fragments.weights[judged][:, :, None]).sum(axis=1)
    return float(np.abs(redrawn - view.crop[judged]).mean())


async def _described(
    engine: Engine, faces: Iterator[SyntheticFace], progress: Progress
) -> AsyncIterator[tuple[SyntheticFace, FaceView, Descriptors]]:
    """Yield each of ``faces`` with the view of it and its descriptors (257,); they are drawn in a thread."""
    detector, extractor = FaceDetector(engine), Extractor(engine)
    while batch := await asyncio.to_thread(_next_faces, faces):
        views = [await view_face(detector, face.picture) for face in batch]
        described = await extractor.describe([view.crop for view in views])
        for face, view, row in zip(batch, views, described, strict=True):
            yield face, view, row
        progress(len(batch))


def _next_faces(faces: Iterator[SyntheticFace]) -> list[SyntheticFace]:
    return list(islice(faces, CROP_BATCH))


def _readable(archive: PictureArchive, stems: Sequence[str]) -> list[Pixels]:
    pictures = [archive.pixels(stem) for stem in stems]
    return [picture for picture in pictures if picture is not None]


def landmark_points(model: MorphableModel, descriptors: Descriptors, square: Square, *, dense: bool) -> Array:
    """Return the 468 landmarks, or the 68, (K, 2) of ``descriptors`` (257,) in pixels of the picture."""
    groups = split(descriptors[None])
    vertices = model.vertices(groups["shape"], groups["expression"])
    landmarks = model.landmarks(vertices) if dense else vertices[:, model.landmarks68]
    points, _ = project(landmarks, groups["rotation"], groups["translation"])
    left, top, side = square
    return points[0] * side + np.array([left, top])
