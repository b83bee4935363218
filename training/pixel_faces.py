"""Small grey faces with the votes of FER+, as the recognisers that look at pixels learn from them.

The face square as 56 × 56 grey pixels (half of the extraction network's 112), with a margin for shifts, cut from the
cached crops of ``training.faces``. Random shifts, scales, turns, mirror images, brightness and erased boxes.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from semface.evaluation.expression import majority_label
from semface.extraction.alignment import CROP_SIZE
from semface.meaning import EXPRESSIONS
from training import datasets
from training.faces import CROP_MARGIN

SHRINK: Final = 2
"""Pixels of the crop a side that become one."""
SIDE: Final = CROP_SIZE // SHRINK
LUMA: Final = (0.299, 0.587, 0.114)
"""Weights of red, green and blue (ITU-R BT.601)."""
MIDDLE, SPREAD = 128.0, 64.0
"""A pixel is (grey − MIDDLE) / SPREAD to a network."""
SCALES: Final = (0.88, 1.12)
SHIFT: Final = 0.07
TURN: Final = math.radians(15.0)
CONTRAST: Final = (0.7, 1.3)
BRIGHTNESS: Final = 25.0
ERASED: Final = 0.35
"""Share of faces of which a box is erased."""
ERASED_SIDES: Final = (0.15, 0.45)


@dataclass(frozen=True, slots=True)
class PixelFaces:
    """Grey faces with a margin, uint8 (N, M, M); distribution of votes (N, 8), label (N,), which are for selection."""

    names: tuple[str, ...]
    grey: Tensor
    votes: Tensor
    labels: Tensor
    selection: NDArray[np.bool_]

    def part(self, rows: NDArray[np.intp]) -> "PixelFaces":
        """Return the faces ``rows`` alone."""
        index = torch.from_numpy(rows)
        return PixelFaces(
            tuple(self.names[row] for row in rows),
            self.grey[index],
            self.votes[index],
            self.labels[index],
            self.selection[rows],
        )


def grey_crops(crops: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return ``crops`` (N, S, S, 3) as grey (N, S / 2, S / 2)."""
    grey = crops.astype(np.float32) @ np.array(LUMA, np.float32)
    count, side = grey.shape[0], grey.shape[1] // SHRINK
    return grey.reshape(count, side, SHRINK, side, SHRINK).mean(axis=(2, 4)).round().astype(np.uint8)


def load_grey(name: str) -> NDArray[np.uint8]:
    """Return the cached crops of the data set ``name``, grey and halved; made once."""
    path = datasets.cache() / "pixels" / f"{name}.npy"
    if not path.exists():
        crops = np.load(datasets.cache() / "faces" / f"{name}_crops.npy", mmap_mode="r")
        path.parent.mkdir(exist_ok=True)
        np.save(path, np.concatenate([grey_crops(crops[start : start + 512]) for start in range(0, len(crops), 512)]))
    return np.load(path)


def load_ferplus() -> PixelFaces:
    """Return the usable faces of FER+'s training part."""
    with np.load(datasets.cache() / "faces" / "ferplus_train.npz") as file:
        names = [str(name) for name in file["names"]]
    votes = datasets.ferplus_votes("train")
    held = {picture.name for picture in datasets.ferplus("train") if datasets.is_selection(picture.data)}
    labels = [majority_label(votes[name]) for name in names]
    rows = [row for row, label in enumerate(labels) if label is not None]
    kept = tuple(names[row] for row in rows)
    counts = np.array([votes[name][: len(EXPRESSIONS)] for name in kept], np.float32)
    return PixelFaces(
        kept,
        torch.from_numpy(load_grey("ferplus_train")[rows]),
        torch.from_numpy(counts / counts.sum(axis=1, keepdims=True)),
        torch.tensor([labels[row] for row in rows]),
        np.array([name in held for name in kept]),
    )


def as_served(grey: Tensor) -> Tensor:
    """Return faces uint8 (N, M, M) as a network sees them when served: the square (N, 1, 56, 56), standardised."""
    edge = (grey.shape[-1] - SIDE) // 2
    return standardised(grey[:, None, edge : edge + SIDE, edge : edge + SIDE].float())


def standardised(grey: Tensor) -> Tensor:
    """Return grey values, 0 to 255, as a network takes them."""
    return (grey - MIDDLE) / SPREAD


def affine_maps(count: int, random: torch.Generator) -> Tensor:
    """Return random matrices (N, 2, 3) from the square's coordinates, −1 to 1, to those of the larger crop."""
    scale = _uniform(count, SCALES, random) / CROP_MARGIN
    turn = _uniform(count, (-TURN, TURN), random)
    shift = 2.0 * SHIFT * (2.0 * torch.rand(count, 2, generator=random) - 1.0)
    sign = torch.where(torch.rand(count, generator=random) < 0.5, -1.0, 1.0)
    cos, sin = torch.cos(turn) * scale, torch.sin(turn) * scale
    first = torch.stack([sign * cos, -sign * sin, shift[:, 0]], dim=1)
    return torch.stack([first, torch.stack([sin, cos, shift[:, 1]], dim=1)], dim=1)


def moved(values: Tensor, maps: Tensor, side: int, mode: str = "bilinear") -> Tensor:
    """Return ``values`` (N, C, M, M) under ``maps`` as (N, C, side, side)."""
    grid = nn.functional.affine_grid(maps, [len(values), values.shape[1], side, side], align_corners=False)
    return nn.functional.grid_sample(values, grid, mode=mode, align_corners=False)


def augmented(grey: Tensor, maps: Tensor, random: torch.Generator) -> Tensor:
    """Return faces uint8 (N, M, M) moved by ``maps``, relit, some erased in part: (N, 1, 56, 56), standardised."""
    pixels = moved(grey[:, None].float(), maps, SIDE)
    count = len(pixels)
    gain, offset = _uniform(count, CONTRAST, random), _uniform(count, (-BRIGHTNESS, BRIGHTNESS), random)
    mean = pixels.mean(dim=(1, 2, 3), keepdim=True)
    pixels = (mean + (pixels - mean) * gain.view(-1, 1, 1, 1) + offset.view(-1, 1, 1, 1)).clamp(0.0, 255.0)
    _erase(pixels, random)
    return standardised(pixels)


def _erase(pixels: Tensor, random: torch.Generator) -> None:
    """Fill a random box of some faces with noise (random erasing, Zhong et al., 2020)."""
    count = len(pixels)
    chosen = torch.rand(count, generator=random) < ERASED
    sides = (_uniform(2 * count, ERASED_SIDES, random) * SIDE).int().view(count, 2)
    corners = (torch.rand(count, 2, generator=random) * (SIDE - sides)).int()
    for row in torch.nonzero(chosen)[:, 0].tolist():
        (top, left), (height, width) = corners[row].tolist(), sides[row].tolist()
        pixels[row, :, top : top + height, left : left + width] = 255.0 * torch.rand(height, width, generator=random)


def _uniform(count: int, limits: tuple[float, float], random: torch.Generator) -> Tensor:
    return limits[0] + (limits[1] - limits[0]) * torch.rand(count, generator=random)
