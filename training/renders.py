"""Faces with known geometry to learn from: ``python -m training.renders`` draws heads of the ICT face model.

Light, background and skin come from :mod:`training.render_pictures`, not from the generator that the evaluation draws
with, and no random stream is shared with it. The cache then holds ``faces/ict_crops.npy`` and ``faces/ict.npz`` with

- ``squares`` (N, 3), ``detected`` (N,), ``landmarks68`` (N, 68, 2) in fractions of the face square,
- ``identity_number`` (N,), ``rotation`` (N, 3) and ``translation`` (N, 3) of our head in the face square's camera,
- ``shape`` (N, 80) and ``expression`` (N, 64): the coefficients of our model nearest to the head that is shown.
"""

import argparse
import asyncio
from dataclasses import dataclass
from functools import cache as remember
from multiprocessing import Pool
from typing import Final

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from semface.descriptors import DESCRIPTOR_SIZE, GROUPS
from semface.evaluation.geometry import HeadComparison
from semface.evaluation.pictures import chosen_face
from semface.evaluation.synthetic_faces import FaceGenerator, IctModel
from semface.extraction.alignment import Square, crop_face, face_square
from semface.extraction.detection import FaceDetector
from semface.inference.embedded import EmbeddedEngine
from semface.morphable.model import MorphableModel
from training.datasets import REPOSITORY, cache, root
from training.faces import CROP_MARGIN, CROP_SIDE
from training.known_heads import HeadFits, KnownFaces, our_pose, random_pose, shown_people
from training.render_pictures import CAMERA_SQUARE, CANVAS, Painter, photographed

DEFAULT_COUNT: Final = 12000
FACES_STREAM: Final = 7002
"""First number of the random streams of pictures; people have another, and the evaluation draws from 0."""
USUAL_SIDE: Final = 1.42
"""Side of the detector's face square over the extent of the 68 landmarks: mean of renders that it finds."""
USUAL_OFFSET: Final = (0.0, -0.117)
"""Centre of that square from the middle of the landmarks, in their extents."""
BOUND_FACES: Final = 200
"""Renders of the evaluation on which the bounds are measured."""
FACE_SIZES: Final = (60.0, 140.0)
"""Extent of the 68 landmarks, in pixels of the picture."""
Array = NDArray[np.floating]


@dataclass(frozen=True, slots=True)
class Render:
    """One picture as the cache keeps it; see the module for the fields."""

    crop: NDArray[np.uint8]
    square: Square
    detected: bool
    landmarks68: Array
    identity_number: int
    rotation: Array
    translation: Array
    shape: Array
    expression: Array


class RenderBooth:
    """Draws known faces and finds them with our detector."""

    def __init__(self, ict: IctModel, model: MorphableModel) -> None:
        """Make ready to draw heads of ``ict`` and to describe them in coefficients of ``model``."""
        self._faces, self._painter = KnownFaces(ict, model), Painter(ict, model)
        self._detector = FaceDetector(EmbeddedEngine(REPOSITORY / "model_repository"))
        self._loop = asyncio.new_event_loop()

    def render(self, number: int, identity_number: int) -> Render:
        """Return the picture ``number``, of the person ``identity_number``: the same one every time."""
        person = self._faces.person(identity_number)
        random = np.random.default_rng((FACES_STREAM, number))
        # Skin and hair are drawn anew for each picture of a person: they must tell nothing of the shape.
        look = self._painter.look(np.random.default_rng((FACES_STREAM, number, 1)))
        offsets, expression = self._faces.expression(person, random)
        rotation, translation = random_pose(random)
        canvas, marks = self._painter.draw(person.neutral + offsets, rotation, translation, look, random)
        scale = min(random.uniform(*FACE_SIZES) / float(np.ptp(marks, axis=0).max()), 1.0)
        picture = photographed(canvas, scale, random)
        scale = picture.shape[0] / CANVAS
        marks = marks * scale
        square, detected = self._square(picture, marks)
        corner = (CANVAS - CAMERA_SQUARE) / 2 * scale
        camera = (corner, corner, CAMERA_SQUARE * scale)
        theta, shift = our_pose(rotation, translation, person.placed, camera, square)
        left, top, side = square
        margin = side * (CROP_MARGIN - 1.0) / 2.0
        crop = crop_face(picture, (left - margin, top - margin, side * CROP_MARGIN), CROP_SIDE)
        places = (marks - [left, top]) / side
        return Render(crop, square, detected, places, identity_number, theta, shift, person.shape, expression)

    def _square(self, picture: NDArray[np.uint8], marks: Array) -> tuple[Square, bool]:
        """Return the face square of ``picture`` and whether the detector found it; else it is put around ``marks``."""
        height, width = picture.shape[:2]
        found = self._loop.run_until_complete(self._detector.detect(picture))
        face = chosen_face(found, width, height)
        usual = square_around(marks)
        if face is not None:
            square = face_square(face.box)
            middle = np.array(square[:2]) + square[2] / 2 - usual[:2] - np.full(2, usual[2] / 2)
            # Now and then the detector sees a face in the background.
            if np.linalg.norm(middle) < 0.3 * usual[2] and 0.6 < square[2] / usual[2] < 1.7:
                return square, True
        return usual, False


def square_around(landmarks: Array) -> Square:
    """Return the face square (left, top, side) that the detector gives on average to ``landmarks`` (68, 2)."""
    low, high = landmarks.min(axis=0), landmarks.max(axis=0)
    extent = float((high - low).max())
    x, y = (low + high) / 2 + np.array(USUAL_OFFSET) * extent
    side = USUAL_SIDE * extent
    return float(x) - side / 2, float(y) - side / 2, side


@remember
def _booth() -> RenderBooth:
    return RenderBooth(IctModel.load(root() / "ict_face.npz"), MorphableModel.shipped())


def _render(work: tuple[int, int]) -> Render:
    return _booth().render(*work)


def build(count: int, processes: int) -> None:
    """Write ``count`` renders to the cache."""
    with Pool(processes) as pool:
        work = enumerate(shown_people(count))
        renders = list(tqdm(pool.imap(_render, work, chunksize=16), total=count, desc="renders", mininterval=10))
    folder = cache() / "faces"
    folder.mkdir(exist_ok=True)
    np.save(folder / "ict_crops.npy", np.stack([render.crop for render in renders]))
    np.savez(
        folder / "ict.npz",
        squares=np.array([render.square for render in renders], np.float32),
        detected=np.array([render.detected for render in renders]),
        identity_number=np.array([render.identity_number for render in renders], np.int32),
        landmarks68=_column(renders, "landmarks68"),
        rotation=_column(renders, "rotation"),
        translation=_column(renders, "translation"),
        shape=_column(renders, "shape"),
        expression=_column(renders, "expression"),
    )
    print(f"{np.mean([render.detected for render in renders]) * 100:.1f} % were found by the detector")


def _column(renders: list[Render], field: str) -> NDArray[np.float32]:
    return np.array([getattr(render, field) for render in renders], np.float32)


def shape_gain_bound(ict: IctModel, model: MorphableModel, count: int = BOUND_FACES) -> float:
    """Return the ``shape_gain`` that the coefficients nearest to the first ``count`` heads of the evaluation reach."""
    fits, comparison = HeadFits(ict, model), HeadComparison(ict, model)
    errors = []
    for face in FaceGenerator(ict, model).faces(count):
        descriptors = np.zeros(DESCRIPTOR_SIZE, np.float32)
        descriptors[GROUPS["shape"]] = fits.shape(face.neutral)[0]
        errors.append(comparison.shape_errors(descriptors, face))
    own, mean = np.mean(errors, axis=0)
    return float(1.0 - own / mean)


def main() -> None:
    """Draw the renders, or tell the bound of ``shape_gain``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=DEFAULT_COUNT)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--bound", action="store_true", help="only print the shape_gain that our basis can reach")
    arguments = parser.parse_args()
    ict, model = IctModel.load(root() / "ict_face.npz"), MorphableModel.shipped()
    print(f"shape_gain of the nearest coefficients: {shape_gain_bound(ict, model):.3f}")
    if not arguments.bound:
        build(arguments.count, arguments.processes)


if __name__ == "__main__":
    main()
