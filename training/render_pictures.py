"""Pictures of known heads for training: skin, light, background and camera of another kind than the evaluation's.

Skin is drawn from our texture basis, light is a sum of lamps with highlights, the head has hair, the background is
noise, lines and shapes, and the picture is blurred, shrunk and compressed as photographs are.
"""

import io
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter

from semface.evaluation.synthetic_faces import IctModel, skin_places
from semface.morphable.camera import project, rotation_matrix
from semface.morphable.model import MorphableModel, vertex_normals
from semface.morphable.rasterizer import Fragments, rasterize

CANVAS: Final = 256
"""Side of the picture that is drawn, in pixels, before it is shrunk."""
CAMERA_SQUARE: Final = 150
"""Side of the camera's square on the canvas, in pixels."""

HAIRLINE: Final = (55.0, 100.0)
"""Range of the hairline's height above the mean head's middle, in millimetres."""
HAIRY: Final = 0.85
"""Share of heads that have hair."""
OCCLUDED: Final = 0.12
"""Share of faces that something covers in part."""
GLASSES: Final = 0.08
"""Share of faces with glasses."""

Array = NDArray[np.floating]
Picture = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Look:
    """The colours of a head: ``albedo`` (V, 3) of the skin, of hair and iris (3,)."""

    albedo: Array
    hair: Array
    iris: Array


class Painter:
    """Draws ICT heads that stand in our head coordinates."""

    def __init__(self, ict: IctModel, model: MorphableModel) -> None:
        """Find the place of our ``model`` that colours each vertex of ``ict``."""
        self._ict = ict
        self._triangles = ict.filled_triangles
        corners, weights = skin_places(ict, model)
        self._mean = (model.mean_albedo[corners] * weights[..., None]).sum(axis=1)
        self._texture = (model.texture_basis[:, corners] * weights[..., None].astype(np.float32)).sum(axis=2)

    def look(self, random: np.random.Generator) -> Look:
        """Draw skin, hair and iris."""
        skin = self._mean + np.tensordot(random.standard_normal(len(self._texture)), self._texture, 1)
        skin *= random.uniform(0.4, 1.4) * random.normal(1.0, 0.05, 3)
        hair = random.uniform(10.0, 60.0) * np.array([1.0, 0.85, 0.7])
        if random.random() < 0.3:
            hair = random.uniform(60.0, 200.0) * np.array([1.0, random.uniform(0.75, 1.0), random.uniform(0.5, 1.0)])
        iris = random.uniform(20.0, 110.0) * np.array([1.0, random.uniform(0.7, 1.2), random.uniform(0.5, 1.4)])
        return Look(np.clip(skin, 4.0, 250.0), hair, iris)

    def draw(
        self, head: Array, rotation: Array, translation: Array, look: Look, random: np.random.Generator
    ) -> tuple[Picture, Array]:
        """Return the canvas uint8 (CANVAS, CANVAS, 3) of ``head`` (V, 3) and its 68 landmarks (68, 2) in its pixels."""
        vertices = self._ict.fill(head)
        points, depth = project(vertices[None], rotation[None], translation[None])
        pixels = points[0] * CAMERA_SQUARE + (CANVAS - CAMERA_SQUARE) / 2
        fragments = rasterize(pixels, depth[0], self._triangles, CANVAS, CANVAS)
        turned = vertex_normals(vertices, self._triangles) @ rotation_matrix(rotation[None])[0].T
        light, shine = random_light(turned, random)
        hair = self._hair(random) if random.random() < HAIRY else np.zeros(len(self._ict.mean))
        skin = look.albedo * (1.0 - hair[:, None]) + look.hair * hair[:, None]
        albedo = np.concatenate([skin, np.zeros((len(vertices) - len(skin), 3))])
        shine[: len(hair)] *= 1.0 - hair[:, None]
        background = random_background(random, CANVAS)
        if hair.any():
            self._backdrop(background, pixels, look.hair * light.mean(axis=0), random)
        picture = np.asarray(background, float)
        seen = fragments.triangle >= 0
        corners, weights = self._triangles[fragments.triangle[seen]], fragments.weights[seen][..., None]
        colours = (albedo[corners] * weights).sum(axis=1)
        self._paint_openings(colours, fragments, seen, look, random)
        lit = colours * (light[corners] * weights).sum(axis=1) + (shine[corners] * weights).sum(axis=1)
        # A camera sets its exposure by what it sees, within limits.
        exposure = random.uniform(70.0, 190.0) / max(float(np.percentile(lit, 75)), 1.0)
        picture[seen] = lit * np.clip(exposure, 0.5, 2.5)
        marks = pixels[self._ict.landmarks68]
        image = Image.fromarray(np.clip(picture, 0.0, 255.0).astype(np.uint8))
        cover(image, marks, random)
        return np.asarray(image), marks

    def _hair(self, random: np.random.Generator) -> Array:
        """Return how much hair covers each vertex (V,), 0 to 1: above a wavy line over forehead and temples."""
        x, y, z = self._ict.mean.T
        waves = sum(
            random.normal(0.0, 4.0 / k) * np.sin(k * x / 25.0 + random.uniform(0, 2 * np.pi)) for k in (1, 2, 4)
        )
        line = random.uniform(*HAIRLINE) + waves - random.uniform(0.0, 0.012) * x * x
        line = np.minimum(line, np.where(z < -random.uniform(45.0, 75.0), random.uniform(-40.0, 60.0), np.inf))
        return 1.0 / (1.0 + np.exp(-(y - line) / random.uniform(1.0, 5.0)))

    def _backdrop(self, image: Image.Image, pixels: Array, colour: Array, random: np.random.Generator) -> None:
        """Draw the rest of the hair as an ellipse behind the head on ``image``."""
        low, high = pixels.min(axis=0), pixels.max(axis=0)
        marks = pixels[self._ict.landmarks68]
        middle = np.array([(low[0] + high[0]) / 2, marks[27, 1]]) + random.normal(0.0, 3.0, 2)
        width = (high[0] - low[0]) / 2 * random.uniform(0.95, 1.25)
        top = (middle[1] - low[1]) * random.uniform(1.0, 1.45)
        bottom = top if random.random() < 0.6 else top * random.uniform(1.0, 2.2)
        box = [middle[0] - width, middle[1] - top, middle[0] + width, middle[1] + bottom]
        ImageDraw.Draw(image).ellipse(box, fill=_tuple(colour * random.uniform(0.6, 1.3)))

    def _paint_openings(
        self, colours: Array, fragments: Fragments, seen: NDArray[np.bool_], look: Look, random: np.random.Generator
    ) -> None:
        """Give white, iris and pupil to the eyes and a dark or a toothed inside to the mouth, in ``colours`` (K, 3)."""
        triangle, weight = fragments.triangle[seen], fragments.weights[seen][:, 2]
        start = len(self._ict.triangles)
        mouth = np.array([70.0, 25.0, 25.0]) * random.uniform(0.3, 1.3)
        if random.random() < 0.4:
            mouth = np.array([215.0, 205.0, 185.0]) * random.uniform(0.6, 1.0)
        white = np.array([215.0, 208.0, 202.0]) * random.uniform(0.7, 1.05)
        iris_from, pupil_from = random.uniform(0.35, 0.55), random.uniform(0.7, 0.85)
        for number, loop in enumerate(self._ict.openings):
            inside = (triangle >= start) & (triangle < start + len(loop))
            start += len(loop)
            if number == 0:
                colours[inside] = mouth
                continue
            colours[inside] = white
            colours[inside & (weight > iris_from)] = look.iris
            colours[inside & (weight > pupil_from)] = 12.0


def random_light(normals: Array, random: np.random.Generator) -> tuple[Array, Array]:
    """Return what falls on unit ``normals`` (V, 3) of the camera's frame: a factor (V, 3), and highlights (V, 3)."""
    light = np.broadcast_to(random.uniform(0.15, 0.8) * random.normal(1.0, 0.06, 3), normals.shape).copy()
    shine = np.zeros_like(light)
    strength, sharpness = random.uniform(0.0, 60.0), random.uniform(6.0, 40.0)
    for _ in range(random.integers(1, 4)):
        direction = random.normal([0.0, 0.35, 0.6], [0.7, 0.5, 0.5])
        direction /= np.linalg.norm(direction)
        colour = random.uniform(0.15, 0.9) * random.normal(1.0, 0.1, 3)
        light += np.maximum(normals @ direction, 0.0)[:, None] * colour
        half = direction + [0.0, 0.0, 1.0]
        half /= max(float(np.linalg.norm(half)), 1e-6)
        shine += (np.maximum(normals @ half, 0.0) ** sharpness)[:, None] * colour * strength
    return np.maximum(light, 0.0), np.maximum(shine, 0.0)


def random_background(random: np.random.Generator, size: int) -> Image.Image:
    """Return (size, size) of a gradient and noise of several scales, often with shapes and lines over it."""
    ends = random.uniform(0.0, 255.0, (2, 3))
    angle = random.uniform(0.0, 2.0 * np.pi)
    ramp = np.linspace(-0.5, 0.5, size)
    along = np.clip(0.5 + ramp[:, None] * np.sin(angle) + ramp[None] * np.cos(angle), 0.0, 1.0)[..., None]
    picture = ends[0] * (1.0 - along) + ends[1] * along
    for cells in (3, 9, 30, 100):
        noise = random.normal(0.0, random.uniform(0.0, 40.0) / np.sqrt(cells / 3), (cells, cells, 3))
        picture += noise_field(noise + 128.0, size) - 128.0
    image = Image.fromarray(np.clip(picture, 0.0, 255.0).astype(np.uint8))
    drawing = ImageDraw.Draw(image)
    for _ in range(random.integers(0, 9)):
        corners = [tuple(corner) for corner in random.uniform(-0.2, 1.2, (random.integers(2, 6), 2)) * size]
        colour = _tuple(random.uniform(0.0, 255.0, 3))
        if len(corners) > 2 and random.random() < 0.6:
            drawing.polygon(corners, fill=colour)
        else:
            drawing.line(corners, fill=colour, width=int(random.integers(1, 12)))
    # Rooms and streets are less colourful than colours drawn at random.
    image = ImageEnhance.Color(image).enhance(random.uniform(0.0, 0.9))
    return image.filter(ImageFilter.GaussianBlur(random.uniform(0.0, 4.0)))


def noise_field(grid: Array, size: int) -> Array:
    """Return ``grid`` (C, C, 3), 0 to 255, enlarged smoothly to (size, size, 3)."""
    cells = Image.fromarray(np.clip(grid, 0.0, 255.0).astype(np.uint8))
    return np.asarray(cells.resize((size, size), Image.Resampling.BICUBIC), float)


def cover(image: Image.Image, marks: Array, random: np.random.Generator) -> None:
    """Draw, seldom, glasses at the 68 ``marks`` (68, 2) or something before a part of the face."""
    drawing = ImageDraw.Draw(image)
    low, high = marks.min(axis=0), marks.max(axis=0)
    extent = float((high - low).max())
    colour = _tuple(random.uniform(0.0, 255.0, 3))
    if random.random() < GLASSES:
        reach = extent * random.uniform(0.12, 0.17)
        centres = [marks[36:42].mean(axis=0), marks[42:48].mean(axis=0)]
        for x, y in centres:
            box = [x - reach, y - 0.7 * reach, x + reach, y + 0.8 * reach]
            drawing.ellipse(box, outline=colour, width=int(random.integers(2, 5)))
        drawing.line([tuple(centres[0] + [reach, 0.0]), tuple(centres[1] - [reach, 0.0])], fill=colour, width=3)
    if random.random() < OCCLUDED:
        angle, away = random.uniform(0.0, 2.0 * np.pi), random.uniform(0.35, 0.6)
        x, y = (low + high) / 2 + extent * away * np.array([np.cos(angle), np.sin(angle)])
        width, height = extent * random.uniform(0.12, 0.35, 2)
        shape = drawing.ellipse if random.random() < 0.5 else drawing.rectangle
        shape([x - width, y - height, x + width, y + height], fill=colour)


def photographed(picture: Picture, scale: float, random: np.random.Generator) -> Picture:
    """Return ``picture`` shrunk by ``scale``, blurred, with noise and JPEG artefacts, as cameras make it."""
    size = (round(picture.shape[1] * scale), round(picture.shape[0] * scale))
    image = Image.fromarray(picture).filter(ImageFilter.GaussianBlur(random.uniform(0.3, 0.9)))
    image = image.resize(size, Image.Resampling.BOX if random.random() < 0.3 else Image.Resampling.BICUBIC)
    if random.random() < 0.3:
        image = image.filter(ImageFilter.GaussianBlur(random.uniform(0.3, 1.6)))
    if random.random() < 0.08:
        image = image.convert("L").convert("RGB")
    noisy = np.asarray(image, float) + random.normal(0.0, random.uniform(0.0, 6.0), (*size[::-1], 3))
    stream = io.BytesIO()
    image = Image.fromarray(np.clip(noisy, 0.0, 255.0).astype(np.uint8))
    image.save(stream, "JPEG", quality=int(random.integers(40, 96)))
    with Image.open(stream) as compressed:
        return np.asarray(compressed.convert("RGB"))


def _tuple(colour: Array) -> tuple[int, int, int]:
    red, green, blue = (int(value) for value in np.clip(colour, 0.0, 255.0))
    return red, green, blue
