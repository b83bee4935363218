"""A picture of the attribute images of scans: a row for each scan, its three images of texture as one in colour."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from semface.extraction.scans.attribute_images import CHANNELS, IMAGE_SIZE

LABELS: Final = ("normal x", "normal y", "normal z", "depth", "shape index", "texture")
ENLARGED: Final = 2
PANEL: Final = ENLARGED * IMAGE_SIZE
LABEL_HEIGHT: Final = 22
GAP: Final = 4
PAPER: Final = (255, 255, 255)
INK: Final = (40, 40, 40)


def attribute_sheet(scans: Sequence[NDArray[np.float32]]) -> Image.Image:
    """Return a picture of the attribute images (8, 112, 112) of each of ``scans``; what has no surface is white."""
    columns = len(LABELS)
    sheet = Image.new("RGB", (columns * (PANEL + GAP) - GAP, LABEL_HEIGHT + len(scans) * (PANEL + GAP) - GAP), PAPER)
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(13)
    for column, label in enumerate(LABELS):
        pen.text((column * (PANEL + GAP) + 4, 3), label, INK, font)
    for row, images in enumerate(scans):
        for column, panel in enumerate(_panels(images)):
            picture = Image.fromarray(panel).resize((PANEL, PANEL), Image.Resampling.NEAREST)
            sheet.paste(picture, (column * (PANEL + GAP), LABEL_HEIGHT + row * (PANEL + GAP)))
    return sheet


def _panels(images: NDArray[np.float32]) -> list[NDArray[np.uint8]]:
    """Return the panels, uint8 (112, 112, 3), in the order of ``LABELS``."""
    shown = images.copy()
    shown[:3] = (shown[:3] + 1) / 2
    texture = CHANNELS.index("texture_red")
    panels = [np.repeat(image[..., None], 3, axis=2) for image in shown[:texture]]
    panels.append(np.moveaxis(shown[texture:], 0, 2))
    empty = ~images[:3].any(axis=0)
    for panel in panels:
        panel[empty] = 1
    return [np.rint(np.clip(panel, 0, 1) * 255).astype(np.uint8) for panel in panels]
