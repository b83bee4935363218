"""Renders of the ICT face model with known geometry: another model than ours, so that nothing is judged by itself.

The file is that of the data sets: mean head, identity and expression offsets in centimetres, triangles, 68 landmarks.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from semface.errors import Reason, SemfaceError
from semface.evaluation.geometry_measures import carry, nearest_on_surface
from semface.morphable.camera import project, rotation_matrix
from semface.morphable.illumination import CHANNELS, HARMONICS, shading
from semface.morphable.model import MorphableModel, vertex_normals
from semface.morphable.rasterizer import rasterize
from semface.morphable.similarity import move, similarity

MILLIMETRES: Final = 10.0
"""Millimetres in the file's unit, the centimetre."""
PICTURE_SIZE: Final = 240
SQUARE_SIZE: Final = 160
"""Side in pixels of the camera's square, in the picture's middle."""
SUPERSAMPLING: Final = 2

EXPRESSION_UNITS: Final = 6
YAW_LIMIT: Final = np.radians(40.0)
PITCH_AND_ROLL_LIMIT: Final = np.radians(20.0)
SHIFT_LIMIT: Final = 30.0
"""Largest shift of the head across the picture, in millimetres."""

SHOWN_EXPRESSIONS: Final[dict[str, dict[str, float]]] = {
    "neutral": {},
    "smile": {"mouthSmile": 0.8, "cheekSquint": 0.4},
    "surprise": {"browInnerUp": 0.8, "browOuterUp": 0.8, "eyeWide": 0.6, "jawOpen": 0.5},
    "anger": {"browDown": 0.9, "noseSneer": 0.5, "mouthPress": 0.5},
    "sadness": {"browInnerUp": 0.8, "mouthFrown": 0.8, "mouthShrugLower": 0.4},
}
"""The five expressions that each person of :meth:`FaceGenerator.people` shows: strengths of units, of both sides."""
PEOPLE_SEED: Final = 1
FRONTAL_LIMIT: Final = np.radians(10.0)
"""Largest pitch, yaw and roll of these people."""

LIGHT_SPREAD: Final = np.repeat((0.1, 0.12, 0.03), (1, 3, 5))
"""Standard deviation of the light's harmonics, by band."""
TINT_SPREAD: Final = 0.03
"""Standard deviation by which the colour channels' harmonics differ."""
SKIN_TONES: Final = (0.7, 1.3)
"""Range of the factor on our model's mean albedo."""
BACKGROUND_CELLS: Final = 6
"""Cells along a side of the coarse grid of colours that makes the background."""
EYE_WHITE: Final = (200.0, 195.0, 190.0)
EYE_CENTRE: Final = (50.0, 35.0, 25.0)
MOUTH_INSIDE: Final = (70.0, 25.0, 25.0)

Array = NDArray[np.floating]


@dataclass(frozen=True, slots=True)
class SyntheticFace:
    """One render: ``picture`` uint8 (H, W, 3), the 68 landmarks (68, 2) in its pixels, and the heads it shows.

    ``neutral`` (V, 3) is the person without expression, ``posed`` (V, 3) what the camera saw; both in millimetres.
    """

    picture: NDArray[np.uint8]
    landmarks: Array
    neutral: Array
    posed: Array


@dataclass(frozen=True)
class IctModel:
    """The ICT face model in millimetres, its origin in the middle of its vertices."""

    mean: NDArray[np.float64]
    identity: NDArray[np.float32]
    expression: NDArray[np.float32]
    expression_names: tuple[str, ...]
    triangles: NDArray[np.int32]
    landmarks68: NDArray[np.int32]

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read the model at ``path``; raises FIELD_INVALID when it is absent or of another form."""
        try:
            with np.load(path) as file:
                mean = file["mean"].astype(np.float64) * MILLIMETRES
                return cls(
                    mean - mean.mean(axis=0),
                    file["identity"].astype(np.float32) * np.float32(MILLIMETRES),
                    file["expression"].astype(np.float32) * np.float32(MILLIMETRES),
                    tuple(file["expression_names"].tolist()),
                    file["triangles"],
                    file["landmarks68"],
                )
        except FileNotFoundError:
            raise SemfaceError(Reason.FIELD_INVALID, f"there is no file {path}; name ict_face.npz") from None
        except (OSError, KeyError, ValueError):
            raise SemfaceError(Reason.FIELD_INVALID, f"{path} is not the ICT face model") from None

    @cached_property
    def openings(self) -> list[NDArray[np.intp]]:
        """The loops of vertices around mouth and eyes, in that order: all borders of the mesh but the outermost."""
        edges = {edge for a, b, c in self.triangles.tolist() for edge in ((a, b), (b, c), (c, a))}
        following = {b: a for a, b in edges if (b, a) not in edges}
        loops = []
        while following:
            start = next(iter(following))
            loop = [start]
            while (after := following.pop(loop[-1])) != start:
                loop.append(after)
            loops.append(np.array(loop))
        inner = sorted(loops, key=len)[:-1]
        return sorted(inner, key=lambda loop: float(self.mean[loop, 1].mean()))

    @cached_property
    def filled_triangles(self) -> NDArray[np.int32]:
        """The triangles, with a fan over each of the ``openings`` around a vertex that :meth:`fill` adds."""
        fans = []
        for number, loop in enumerate(self.openings):
            centre = np.full(len(loop), len(self.mean) + number)
            fans.append(np.stack([loop, np.roll(loop, -1), centre], axis=1))
        return np.concatenate([self.triangles, *fans]).astype(np.int32)

    def fill(self, vertices: Array) -> Array:
        """Return heads (V, 3) with one more vertex in the middle of each of the ``openings``."""
        return np.concatenate([vertices, [vertices[loop].mean(axis=0) for loop in self.openings]])


class FaceGenerator:
    """Draws faces at random: identity N(0, 1), six units at 0 to 1, pose, skin, light, background; seed 0."""

    def __init__(self, ict: IctModel, model: MorphableModel) -> None:
        """Dress ``ict`` in the mean skin of ``model``, found by the place next to each vertex on the mean faces."""
        self._ict = ict
        corners, weights = skin_places(ict, model)
        skin = (model.mean_albedo[corners] * weights[..., None]).sum(axis=1)
        for number, loop in enumerate(ict.openings):
            skin[loop] = EYE_WHITE if number else skin[loop]
        centres = [EYE_CENTRE if number else MOUTH_INSIDE for number in range(len(ict.openings))]
        self._albedo = np.concatenate([skin, centres])

    def faces(self, count: int) -> Iterator[SyntheticFace]:
        """Yield ``count`` faces, the same ones every time and the same first ones whatever ``count`` is."""
        random = np.random.default_rng(0)
        for _ in range(count):
            yield self._face(random)

    def _face(self, random: np.random.Generator) -> SyntheticFace:
        neutral = self._neutral(random)
        strengths = np.zeros(len(self._ict.expression))
        chosen = random.choice(len(strengths), EXPRESSION_UNITS, replace=False)
        strengths[chosen] = random.uniform(0.0, 1.0, EXPRESSION_UNITS)
        return self._show(neutral, strengths, np.array([PITCH_AND_ROLL_LIMIT, YAW_LIMIT, PITCH_AND_ROLL_LIMIT]), random)

    def people(self, count: int) -> Iterator[list[SyntheticFace]]:
        """Yield ``count`` people, each in the five ``SHOWN_EXPRESSIONS``, nearly frontal; seed 1.

        Identity stays the same; pose, skin tone, light and background of each picture are drawn anew.
        """
        random = np.random.default_rng(PEOPLE_SEED)
        shown = [self._strengths(units) for units in SHOWN_EXPRESSIONS.values()]
        for _ in range(count):
            neutral = self._neutral(random)
            yield [self._show(neutral, strengths, np.full(3, FRONTAL_LIMIT), random) for strengths in shown]

    def _neutral(self, random: np.random.Generator) -> Array:
        people = len(self._ict.identity)
        return self._ict.mean + np.tensordot(random.standard_normal(people), self._ict.identity, 1)

    def _strengths(self, units: dict[str, float]) -> Array:
        """Return the strength (units,) of each unit of the file; raises FIELD_INVALID when it lacks one."""
        strengths = np.zeros(len(self._ict.expression))
        for name, strength in units.items():
            sides = [k for k, full in enumerate(self._ict.expression_names) if full in (name, f"{name}_L", f"{name}_R")]
            if not sides:
                raise SemfaceError(Reason.FIELD_INVALID, f"the ICT face model lacks the expression {name}")
            strengths[sides] = strength
        return strengths

    def _show(self, neutral: Array, strengths: Array, limits: Array, random: np.random.Generator) -> SyntheticFace:
        """Draw a person (V, 3) with expression ``strengths``, turned by up to ``limits`` (3,) radians."""
        ict = self._ict
        head = neutral + np.tensordot(strengths, ict.expression, 1)
        rotation = random.uniform(-limits, limits)[None]
        shift = np.append(random.uniform(-SHIFT_LIMIT, SHIFT_LIMIT, 2), 0.0)[None]
        picture, points = self._draw(head, rotation, shift, random)
        posed = head @ rotation_matrix(rotation)[0].T + shift
        return SyntheticFace(picture, points[ict.landmarks68], neutral, posed)

    def _draw(
        self, head: Array, rotation: Array, shift: Array, random: np.random.Generator
    ) -> tuple[NDArray[np.uint8], Array]:
        """Return the picture of ``head`` (V, 3) and its vertices in the picture's pixels."""
        vertices, triangles = self._ict.fill(head), self._ict.filled_triangles
        points, depth = project(vertices[None], rotation, shift)
        pixels = points[0] * SQUARE_SIZE + (PICTURE_SIZE - SQUARE_SIZE) / 2
        size = PICTURE_SIZE * SUPERSAMPLING
        fragments = rasterize(pixels * SUPERSAMPLING, depth[0], triangles, size, size)
        normals = vertex_normals(vertices, triangles) @ rotation_matrix(rotation)[0].T
        tone = random.uniform(*SKIN_TONES) * random.normal(1.0, TINT_SPREAD, CHANNELS)
        colours = np.clip(self._albedo * tone * shading(normals[None], random_light(random))[0], 0.0, 255.0)
        picture = _random_background(random, size)
        seen = fragments.triangle >= 0
        corners = colours[triangles[fragments.triangle[seen]]]
        picture[seen] = (corners * fragments.weights[seen][:, :, None]).sum(axis=1)
        return np.asarray(Image.fromarray(picture.round().astype(np.uint8)).reduce(SUPERSAMPLING)), pixels


def skin_places(ict: IctModel, model: MorphableModel) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """Return where each vertex of ``ict`` takes its colour from: corners (V, 3) and weights (V, 3) on ``model``."""
    theirs, ours = ict.mean[ict.landmarks68], model.mean_shape[model.landmarks68]
    by = similarity(theirs, ours)
    placed = carry(move(ict.mean, by), move(theirs, by), ours)
    # Beyond the face photographs taught the model no colour: neck and skull take that of the face's border.
    known = model.triangles[model.face_region[model.triangles].all(axis=1)]
    return nearest_on_surface(placed, model.mean_shape, known)


def random_light(random: np.random.Generator) -> Array:
    """Return γ (1, 27): one light for the three channels, which differ a little."""
    common = random.normal(0.0, LIGHT_SPREAD)
    return (common + random.normal(0.0, TINT_SPREAD, (CHANNELS, HARMONICS))).reshape(1, -1)


def _random_background(random: np.random.Generator, size: int) -> Array:
    """Return (size, size, 3) of smoothly changing colours."""
    cells = random.integers(0, 256, (BACKGROUND_CELLS, BACKGROUND_CELLS, 3), dtype=np.uint8)
    return np.array(Image.fromarray(cells).resize((size, size), Image.Resampling.BICUBIC), dtype=np.float64)
