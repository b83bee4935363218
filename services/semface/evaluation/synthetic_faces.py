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
from semface.evaluation.geometry_measures import move, nearest_on_surface, similarity
from semface.morphable.camera import project, rotation_matrix
from semface.morphable.illumination import CHANNELS, HARMONICS, shading
from semface.morphable.model import MorphableModel, vertex_normals
from semface.morphable.rasterizer import rasterize

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
        ict = self._ict
        people, units = len(ict.identity), len(ict.expression)
        neutral = ict.mean + np.tensordot(random.standard_normal(people), ict.identity, 1)
        chosen = random.choice(units, EXPRESSION_UNITS, replace=False)
        head = neutral + np.tensordot(random.uniform(0.0, 1.0, EXPRESSION_UNITS), ict.expression[chosen], 1)
        limits = np.array([PITCH_AND_ROLL_LIMIT, YAW_LIMIT, PITCH_AND_ROLL_LIMIT])
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
        colours = np.clip(self._albedo * tone * shading(normals[None], _random_light(random))[0], 0.0, 255.0)
        picture = _random_background(random, size)
        seen = fragments.triangle >= 0
        corners = colours[triangles[fragments.triangle[seen]]]
        picture[seen] = (corners * fragments.weights[seen][:, :, None]).sum(axis=1)
        return np.asarray(Image.fromarray(picture.round().astype(np.uint8)).reduce(SUPERSAMPLING)), pixels


def skin_places(ict: IctModel, model: MorphableModel) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """Return where each vertex of ``ict`` takes its colour from: corners (V, 3) and weights (V, 3) on ``model``."""
    placed = move(ict.mean, similarity(ict.mean[ict.landmarks68], model.mean_shape[model.landmarks68]))
    # Beyond the face photographs taught the model no colour: neck and skull take that of the face's border.
    known = model.triangles[model.face_region[model.triangles].all(axis=1)]
    return nearest_on_surface(placed, model.mean_shape, known)


def _random_light(random: np.random.Generator) -> Array:
    """Return γ (1, 27): one light for the three channels, which differ a little."""
    common = random.normal(0.0, LIGHT_SPREAD)
    return (common + random.normal(0.0, TINT_SPREAD, (CHANNELS, HARMONICS))).reshape(1, -1)


def _random_background(random: np.random.Generator, size: int) -> Array:
    """Return (size, size, 3) of smoothly changing colours."""
    cells = random.integers(0, 256, (BACKGROUND_CELLS, BACKGROUND_CELLS, 3), dtype=np.uint8)
    return np.array(Image.fromarray(cells).resize((size, size), Image.Resampling.BICUBIC), dtype=np.float64)
