"""A made video for Chromium's fake camera: the NASA portrait, moved and turned. Prints nothing.

python page/e2e/make_video.py VIDEO.mjpeg STRANGER.png NOISE.png
"""

import math
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image

from semface.descriptors import DESCRIPTOR_SIZE, PORTION_SLICES, Descriptors, Portion
from semface.morphable import render

FRAMES = 24
SIZE = (640, 480)
SIDE = 640


def portrait() -> Image.Image:
    """Return the portrait that scikit-image carries, without importing the package."""
    package = find_spec("skimage")
    assert package is not None
    assert package.origin is not None
    path = Path(package.origin).parent / "data" / "astronaut.png"
    return Image.open(path).convert("RGB").resize((SIDE, SIDE), Image.Resampling.BICUBIC)


def stranger() -> Descriptors:
    """Return a neutral frontal face (257,) of a random person."""
    values = np.zeros(DESCRIPTOR_SIZE, np.float32)
    identity = PORTION_SLICES[Portion.IDENTITY]
    values[identity] = np.random.default_rng(7).normal(size=identity.stop - identity.start)
    return values


def frame(picture: Image.Image, number: int) -> Image.Image:
    """Return the portrait as it stands at ``number`` of ``FRAMES``; the last one leads to the first."""
    phase = 2 * math.pi * number / FRAMES
    turned = picture.rotate(8 * math.sin(phase), Image.Resampling.BICUBIC, center=(0.44 * SIDE, 0.26 * SIDE))
    # The head of the portrait lies left of its middle, in its upper third.
    left = round(0.44 * SIDE - SIZE[0] / 2 + 24 * math.sin(phase))
    upper = round(0.26 * SIDE - SIZE[1] / 2 + 12 * math.sin(2 * phase))
    return turned.crop((left, upper, left + SIZE[0], upper + SIZE[1]))


def main() -> None:
    """Write the video, a drawn face of another person, and a picture without a face."""
    video, drawn, noise = map(Path, sys.argv[1:])
    picture = portrait()
    with video.open("wb") as file:
        for number in range(FRAMES):
            frame(picture, number).save(file, "JPEG", quality=90)
    Image.fromarray(render(stranger(), 256, (90, 100, 110))).save(drawn)
    values = np.random.default_rng(5).integers(100, 140, (200, 200, 3), dtype=np.uint8)
    Image.fromarray(values).save(noise)


if __name__ == "__main__":
    main()
