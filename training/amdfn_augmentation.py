"""Attribute images changed in ways that leave the expression, so that few people teach more."""

from collections.abc import Sequence
from typing import Final

import numpy as np
import torch
from torch import Tensor

from semface.meaning import SCAN_EXPRESSIONS

MIRRORED: Final = {"jaw_left": "jaw_right", "mouth_left": "mouth_right"}
"""Expressions that become the other one in a mirror, and the reverse."""
SHIFT: Final = 4
"""Largest shift in pixels: what alignment is off by."""
TILT: Final = np.radians(3.0)
"""Standard deviation by which all normals are turned."""
DEPTH_SHIFT: Final = 0.02
BRIGHTNESS: Final = 0.3
NO_TEXTURE: Final = 0.2
"""Part of the scans that lose their texture: a scan without one is answered too."""
LARGEST_PATCH: Final = 20
"""Side in pixels of a patch without surface, in every second scan."""


def mirrored_labels(classes: Sequence[str] = SCAN_EXPRESSIONS) -> Tensor:
    """Return the number of the class that each of ``classes`` becomes in a mirror."""
    pairs = MIRRORED | {right: left for left, right in MIRRORED.items()}
    return torch.tensor([list(classes).index(pairs.get(name, name)) for name in classes])


def augment(
    images: Tensor, labels: Tensor, mirrored: Tensor, random: np.random.Generator, no_texture: float = NO_TEXTURE
) -> tuple[Tensor, Tensor]:
    """Return changed ``images`` (N, 8, S, S), float32, and ``labels`` (N,); what is given may be overwritten.

    ``mirrored`` is what ``mirrored_labels`` gives for the classes, ``no_texture`` the part that loses its texture.
    """
    count, _, size, _ = images.shape
    surface = images[:, :3].ne(0).any(dim=1, keepdim=True)
    images[:, :3] = torch.einsum("nij,njhw->nihw", _small_turns(count, random), images[:, :3])
    images[:, 3:4] += surface * _normal(random, (count, 1, 1, 1), DEPTH_SHIFT)
    gains = 1 + _normal(random, (count, 3, 1, 1), BRIGHTNESS)
    kept = torch.from_numpy(random.random((count, 1, 1, 1)) >= no_texture)
    images[:, 5:] = (images[:, 5:] * gains.clamp(0.2, 2.0) * kept).clamp(0, 1)
    changed = torch.zeros_like(images)
    mirror = torch.from_numpy(random.random(count) < 0.5)
    for row in range(count):
        picture = images[row].flip(2) if mirror[row] else images[row]
        down, right = random.integers(-SHIFT, SHIFT + 1, 2).tolist()
        here, there = _overlap(size, down), _overlap(size, -down)
        across, beyond = _overlap(size, right), _overlap(size, -right)
        changed[row, :, here, across] = picture[:, there, beyond]
        if random.random() < 0.5:
            side = int(random.integers(4, LARGEST_PATCH))
            top, left = random.integers(0, size - side, 2).tolist()
            changed[row, :, top : top + side, left : left + side] = 0
    changed[mirror, 0] *= -1
    return changed, torch.where(mirror, mirrored[labels], labels)


def _overlap(size: int, shift: int) -> slice:
    return slice(max(shift, 0), size + min(shift, 0))


def _normal(random: np.random.Generator, shape: tuple[int, ...], deviation: float) -> Tensor:
    return torch.from_numpy(random.normal(0.0, deviation, shape).astype(np.float32))


def _small_turns(count: int, random: np.random.Generator) -> Tensor:
    """Return rotations (N, 3, 3) by small angles, to first order."""
    x, y, z = random.normal(0.0, TILT, (3, count)).astype(np.float32)
    one = np.ones(count, np.float32)
    rows = np.array([[one, -z, y], [z, one, -x], [-y, x, one]])
    return torch.from_numpy(np.ascontiguousarray(np.moveaxis(rows, 2, 0)))
