"""Sheets to look at: pictures beside their redrawn faces, and the first modes of the morphable model."""

import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from math import ceil
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from semface.descriptors import DESCRIPTOR_SIZE, GROUPS, Descriptors
from semface.errors import Reason, SemfaceError
from semface.evaluation.pictures import PictureArchive, Pixels, Progress, view_face
from semface.evaluation.redraws import neutral_frontal
from semface.extraction.alignment import crop_face
from semface.extraction.core import Extractor
from semface.extraction.detection import FaceDetector
from semface.extraction.image import decode_image
from semface.inference.engine import Engine
from semface.morphable.illumination import CHANNELS, HARMONICS
from semface.morphable.model import MorphableModel
from semface.morphable.rendering import draw, paint, render

PANEL: Final = 128
"""Side of one picture on a sheet, in pixels."""
SUPERSAMPLING: Final = 2
"""Renders are drawn at so many times their size, then reduced."""
LABEL_HEIGHT: Final = 18
SIDE_LABEL_WIDTH: Final = 36
GAP: Final = 10
SHEET_QUALITY: Final = 85
"""Of a JPEG or WebP, 0 to 100."""
PAPER: Final = (255, 255, 255)
INK: Final = (40, 40, 40)
BACKDROP: Final = (112, 118, 126)

FACES_IN_A_ROW: Final = 4
PANEL_LABELS: Final = ("picture", "redrawn over it", "frontal, even light")

RENDER_SIZE: Final = 256
RENDER_SQUARE: Final = 192
"""Side of a random head's picture, and of the face square in its middle."""
POSE_LIMITS: Final = (0.2, 0.5, 0.2)
"""Greatest pitch, yaw and roll of a random head, in radians."""
EXPRESSION_SPREAD: Final = 0.6
"""Of the 64 coefficients, in standard deviations: at 1 all muscles would pull at once."""
LIGHT_SPREAD: Final = 0.08

MODES: Final = 8
MODE_STEP: Final = 2.0
"""How far from the mean a mode is shown, in standard deviations."""
MODE_PLACE: Final = (0.0, 0.0, 230.0)
"""Where their heads stand, in millimetres: nearer than usual, so that the face fills its panel."""
MODE_YAW: Final = -0.45
"""Turn of the heads that show a mode of shape: a nose's length is not seen from the front."""
MODE_SHIFT: Final = 15.0
"""How far such a head stands to the right, in millimetres: what is seen of it lies to its right."""
SIDE_LIGHT: Final = (0.0, 0.12, 0.1, -0.16, 0.0, 0.0, 0.0, 0.0, 0.0)
"""Harmonics of the light on them: from above and from the right of the head."""


@dataclass(frozen=True, slots=True)
class RedrawnFace:
    """Three pictures of one face, uint8 RGB (128, 128, 3): as it was seen, redrawn over that, frontal in even light."""

    crop: Pixels
    redrawn: Pixels
    frontal: Pixels


def save_sheet(sheet: Image.Image, path: Path) -> None:
    """Write ``sheet`` to ``path`` in the form that its suffix names; raises FIELD_INVALID for one that is unknown."""
    try:
        sheet.save(path, quality=SHEET_QUALITY)
    except ValueError:
        raise SemfaceError(Reason.FIELD_INVALID, f"{path} names no kind of picture; end it in .png or .webp") from None


def read_pictures(paths: Sequence[Path], count: int) -> list[Pixels]:
    """Return the first ``count`` pictures of ``paths``, each a photograph or a zip of photographs.

    Raises IMAGE_UNDECODABLE for a file that is neither; pictures of a zip that cannot be decoded are left out.
    """
    return list(islice(_pictures(paths), count))


def _pictures(paths: Sequence[Path]) -> Iterator[Pixels]:
    for path in paths:
        if zipfile.is_zipfile(path):
            archive = PictureArchive(path)
            yield from (picture for stem in archive.stems if (picture := archive.pixels(stem)) is not None)
        else:
            try:
                yield decode_image(path.read_bytes())
            except FileNotFoundError:
                raise SemfaceError(Reason.IMAGE_UNDECODABLE, f"there is no file {path}; name a picture") from None


def random_heads(count: int) -> Iterator[Pixels]:
    """Yield ``count`` pictures, uint8 RGB (256, 256, 3), of heads with random coefficients, pose and light; seeded."""
    model, random = MorphableModel.shipped(), np.random.default_rng(0)
    for _ in range(count):
        values = random.standard_normal((1, DESCRIPTOR_SIZE)).astype(np.float32)
        values[:, GROUPS["expression"]] *= EXPRESSION_SPREAD
        values[:, GROUPS["rotation"]] = random.uniform(-1.0, 1.0, 3) * POSE_LIMITS
        values[:, GROUPS["translation"]] = 0.0
        values[:, GROUPS["illumination"]] = np.tile(random.normal(0.0, LIGHT_SPREAD, HARMONICS), CHANNELS)
        margin = (RENDER_SIZE - RENDER_SQUARE) / 2.0
        yield _drawn_over(model, values, np.full((RENDER_SIZE, RENDER_SIZE, 3), BACKDROP, np.uint8), margin)


async def redraw_faces(engine: Engine, pictures: Sequence[Pixels], progress: Progress) -> list[RedrawnFace]:
    """Describe the face nearest to the middle of each picture uint8 (H, W, 3), uncoded, and redraw it."""
    model = MorphableModel.shipped()
    detector, extractor = FaceDetector(engine), Extractor(engine)
    faces = []
    for picture in pictures:
        view = await view_face(detector, picture)
        described = await extractor.describe([view.crop])
        crop = crop_face(picture, view.square, PANEL)
        frontal = _head(neutral_frontal(described)[0])
        faces.append(RedrawnFace(crop, _drawn_over(model, described, crop, 0.0), frontal))
        progress(1)
    return faces


def face_sheet(faces: Sequence[RedrawnFace]) -> Image.Image:
    """Return one picture of all ``faces``, three panels each, labelled above each column."""
    columns = min(len(faces), FACES_IN_A_ROW)
    block = 3 * PANEL + GAP
    rows = ceil(len(faces) / columns)
    sheet = Image.new("RGB", (columns * block - GAP, LABEL_HEIGHT + rows * (PANEL + GAP) - GAP), PAPER)
    for column in range(columns):
        for panel, label in enumerate(PANEL_LABELS):
            _write(sheet, label, column * block + panel * PANEL + PANEL // 2, LABEL_HEIGHT // 2)
    for place, face in enumerate(faces):
        row, column = divmod(place, columns)
        together = np.concatenate([face.crop, face.redrawn, face.frontal], axis=1)
        sheet.paste(Image.fromarray(together), (column * block, LABEL_HEIGHT + row * (PANEL + GAP)))
    return sheet


def mode_sheet() -> Image.Image:
    """Return one picture of the first modes of shape, texture and expression, either side of the mean."""
    groups = ("shape", "texture", "expression")
    band = LABEL_HEIGHT + 2 * PANEL + GAP
    sheet = Image.new("RGB", (SIDE_LABEL_WIDTH + MODES * PANEL, len(groups) * band - GAP), PAPER)
    for number, group in enumerate(groups):
        top = number * band + LABEL_HEIGHT
        for mode in range(MODES):
            left = SIDE_LABEL_WIDTH + mode * PANEL
            _write(sheet, f"{group} {mode + 1}", left + PANEL // 2, top - LABEL_HEIGHT // 2)
            for row, step in enumerate((-MODE_STEP, MODE_STEP)):
                sheet.paste(Image.fromarray(_head(_mode(group, mode, step))), (left, top + row * PANEL))
        for row, label in enumerate((f"-{MODE_STEP:g} sd", f"+{MODE_STEP:g} sd")):
            _write(sheet, label, SIDE_LABEL_WIDTH // 2, top + row * PANEL + PANEL // 2)
    return sheet


def _mode(group: str, mode: int, step: float) -> Descriptors:
    """Return the numbers (257,) of a head that shows ``step`` deviations of one mode."""
    values = np.zeros(DESCRIPTOR_SIZE, np.float32)
    values[GROUPS[group].start + mode] = step
    values[GROUPS["translation"]] = MODE_PLACE
    if group == "shape":
        values[GROUPS["rotation"]][1] = MODE_YAW
        values[GROUPS["translation"]][0] = MODE_SHIFT
        values[GROUPS["illumination"]] = np.tile(SIDE_LIGHT, CHANNELS)
    return values


def _head(values: Descriptors) -> Pixels:
    """Return the head of ``values`` (257,) on the backdrop, uint8 (128, 128, 3)."""
    return _reduce(render(values, PANEL * SUPERSAMPLING, BACKDROP))


def _drawn_over(model: MorphableModel, values: Descriptors, picture: Pixels, margin: float) -> Pixels:
    """Return ``picture`` with the head of ``values`` (1, 257) over it, its face square ``margin`` pixels inside."""
    large = np.asarray(Image.fromarray(picture).resize([SUPERSAMPLING * side for side in picture.shape[1::-1]]))
    height, width = large.shape[:2]
    corner = margin * SUPERSAMPLING
    fragments, colours = draw(model, values, (corner, corner), width - 2.0 * corner, height, width)
    return _reduce(paint(model, fragments, colours, large))


def _reduce(picture: NDArray[np.uint8]) -> Pixels:
    return np.asarray(Image.fromarray(picture).reduce(SUPERSAMPLING))


def _write(sheet: Image.Image, label: str, middle: int, height: int) -> None:
    """Write ``label`` around the pixel (``middle``, ``height``)."""
    font = ImageFont.load_default(LABEL_HEIGHT - 6)
    ImageDraw.Draw(sheet).text((middle, height), label, INK, font, anchor="mm")
