"""Synthetic moving faces: the morphable model talks and turns, drawn as a noisy, compressed video shows it.

They stand beside real video, never for it: how people move is made up here, what extraction makes of each picture is
real.
"""

import io
from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from semface.descriptors import DESCRIPTOR_SIZE, GROUPS, Descriptors
from semface.morphable.model import MorphableModel
from semface.morphable.rendering import draw, paint

PICTURE_SIZE: Final = (288, 352)
"""Height and width of a frame in pixels, those of CIF video."""

FACE_SIDE: Final = 150.0
"""Side of the face square in the frame, in pixels."""

FRAMES_PER_SECOND: Final = 25

NOISE: Final = 2.0
"""Standard deviation of the camera's noise, in grey levels."""

JPEG_QUALITY: Final = 75
"""Each frame is compressed on its own, so that block noise changes from frame to frame."""

PERSON_SPREAD: Final = 0.8
"""Standard deviations of shape and texture over those of real faces: mild, so that no head is odd."""

MOODS: Final = (0.8, 1.5)
"""Strength of the slow part of expression, in standard deviations of real faces, and its time in seconds."""

SPEECH: Final = (0.5, 0.15)
"""The same of the fast part, which comes and goes as people speak and pause."""

TURNS: Final = ((0.08, 0.2, 0.05), 0.8)
"""Standard deviations of pitch, yaw and roll in radians, and their time in seconds."""

SHIFTS: Final = ((6.0, 4.0, 10.0), 0.8)
"""The same of the translation, in millimetres."""

LIGHT: Final = ((0.05,), 5.0)
"""The same of each of the 27 numbers of light."""

Picture = NDArray[np.uint8]
Array = NDArray[np.float64]


def moving_descriptors(frames: int, seed: int) -> Descriptors:
    """Return the 257 numbers (frames, 257) of one made-up face in motion, 25 times a second."""
    random = np.random.default_rng(seed)
    face = np.zeros((frames, DESCRIPTOR_SIZE))
    for name in ("shape", "texture"):
        face[:, GROUPS[name]] = PERSON_SPREAD * random.standard_normal(80)
    speaking = np.clip(_wander(random, frames, 1, 1.0) + 0.5, 0.0, 1.0)
    mood, speech = _wander(random, frames, 64, MOODS[1]), _wander(random, frames, 64, SPEECH[1])
    face[:, GROUPS["expression"]] = MOODS[0] * mood + SPEECH[0] * speaking * speech
    for name, (spread, seconds) in {"rotation": TURNS, "translation": SHIFTS, "illumination": LIGHT}.items():
        where = GROUPS[name]
        face[:, where] = np.array(spread) * _wander(random, frames, where.stop - where.start, seconds)
    return face.astype(np.float32)


def moving_pictures(descriptors: Descriptors, seed: int) -> Iterator[Picture]:
    """Yield each of ``descriptors`` (frames, 257) drawn as a frame of a video, uint8 (288, 352, 3)."""
    random, model = np.random.default_rng(seed), MorphableModel.shipped()
    height, width = PICTURE_SIZE
    corner = (width - FACE_SIDE) / 2, (height - FACE_SIDE) / 2
    coarse = random.integers(0, 256, (6, 8, 3), dtype=np.uint8)
    background = np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))
    for row in descriptors:
        fragments, colours = draw(model, row[None], corner, FACE_SIDE, height, width)
        clean = paint(model, fragments, colours, background)
        noisy = np.clip(clean + random.normal(0.0, NOISE, clean.shape), 0, 255).astype(np.uint8)
        packed = io.BytesIO()
        Image.fromarray(noisy).save(packed, "JPEG", quality=JPEG_QUALITY)
        yield np.asarray(Image.open(packed))


def _wander(random: np.random.Generator, frames: int, count: int, seconds: float) -> Array:
    """Return ``count`` independent smooth random walks (frames, count) of deviation 1 around 0.

    Each is white noise through a Gaussian window of this width: neighbours in time move alike.
    """
    width = max(seconds * FRAMES_PER_SECOND / 2, 1e-3)
    reach = int(np.ceil(3 * width))
    window = np.exp(-0.5 * (np.arange(-reach, reach + 1) / width) ** 2)
    window /= np.linalg.norm(window)
    noise = random.standard_normal((frames + 2 * reach, count))
    return np.stack([np.convolve(column, window, mode="valid") for column in noise.T], axis=1)
