"""Semantic labels of a face's pixels, from its landmarks and the fitted head: ``python -m training.semantic_masks``.

SLFER takes them from a face parsing network; none with a clear licence for its weights is at hand. Hair, ears and neck
are as large as the head model makes them, so long hair counts as background; what lies outside the picture does too.
Prints the entropy of the classification labels.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy.spatial import ConvexHull, QhullError
from tqdm import tqdm

from semface.morphable.camera import project
from semface.morphable.model import MorphableModel
from training.datasets import cache
from training.faces import CROP_MARGIN, CROP_SIDE
from training.pixel_faces import SHRINK

COMPONENTS: Final = ("background", "skin", "eye", "ear", "nose", "mouth", "neck", "hair")
"""The eight of the paper; brows belong to the eyes."""
PICTURE_SIDE: Final = 48
"""Of FER+'s pictures, in pixels."""
UNKNOWN: Final = 255
"""Label of the pixels of a face that was not found or fitted well."""
MASK_SIDE: Final = CROP_SIDE // SHRINK
TRUSTED_PRESENCE: Final = 6.0
TRUSTED_ERROR: Final = 0.03
LEAST_ENTROPY: Final = 0.2
"""In bits: a component that is always dominant, or never, teaches nothing."""

Array = NDArray[np.floating]

LANDMARKS: Final[Mapping[str, tuple[tuple[int, ...], ...]]] = MappingProxyType(
    {
        "skin": ((10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377, 152, 148,
                  176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109),),
        "eye": (
            (33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246),
            (263, 249, 390, 373, 374, 380, 381, 382, 362, 398, 384, 385, 386, 387, 388, 466),
            (70, 63, 105, 66, 107, 55, 65, 52, 53, 46),
            (300, 293, 334, 296, 336, 285, 295, 282, 283, 276),
        ),
        "nose": ((168, 122, 351, 48, 278, 64, 294, 98, 327, 2, 97, 326, 4),),
        "mouth": ((61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185),),
    }
)  # fmt: skip
"""Dense landmarks around each part, whose convex hulls are drawn in this order."""


def head_parts(model: MorphableModel) -> dict[str, tuple[NDArray[np.intp], ...]]:
    """Return the vertices of hair, neck and either ear, by where they lie on the mean head."""
    x, y, z = model.mean_shape.T
    corner, chin, top = model.mean_shape[model.landmarks68[[0, 8, 19]]]
    # The hair begins a brow's height above the brows, the ears outside the jaw's upper ends.
    above = y > 1.5 * top[1]
    behind = (y > top[1]) & (z < corner[2])
    beside = (np.abs(x) > 1.05 * np.abs(corner[0])) & (y < top[1]) & (y > -top[1])
    below = y < chin[1] + 5.0
    under = (y < 0.6 * chin[1]) & (z < corner[2])
    parts = {"hair": (above | behind,), "neck": (below | under,), "ear": (beside & (x < 0), beside & (x > 0))}
    return {name: tuple(np.flatnonzero(chosen) for chosen in hulls) for name, hulls in parts.items()}


def draw_mask(landmarks: Array, head: Array, parts: Mapping[str, tuple[NDArray[np.intp], ...]]) -> NDArray[np.uint8]:
    """Return the components uint8 (MASK_SIDE, MASK_SIDE) of a face, the square with its margin.

    ``landmarks`` (468, 2) and the projected vertices ``head`` (V, 2) are fractions of the face square.
    """
    mask = Image.new("L", (MASK_SIDE, MASK_SIDE), COMPONENTS.index("background"))
    pen = ImageDraw.Draw(mask)
    hulls = [(name, head[rows]) for name, shapes in parts.items() for rows in shapes]
    hulls += [(name, landmarks[list(rows)]) for name, shapes in LANDMARKS.items() for rows in shapes]
    for name, points in hulls:
        outline = _hull((points - 0.5) / CROP_MARGIN + 0.5) * MASK_SIDE
        if len(outline) > 2:
            pen.polygon([tuple(point) for point in outline.tolist()], fill=COMPONENTS.index(name))
    return np.asarray(mask)


def _inside(square: Array) -> NDArray[np.bool_]:
    """Return which pixels (MASK_SIDE, MASK_SIDE) of the ``square`` (left, top, side) with margin the picture fills."""
    left, top, side = square
    places = (((np.arange(MASK_SIDE) + 0.5) / MASK_SIDE - 0.5) * CROP_MARGIN + 0.5) * side
    x, y = places + left, places + top
    return ((y >= 0) & (y < PICTURE_SIDE))[:, None] & ((x >= 0) & (x < PICTURE_SIDE))[None]


def _hull(points: Array) -> Array:
    try:
        return points[ConvexHull(points).vertices]
    except QhullError:
        return points[:0]


def build(name: str) -> NDArray[np.uint8]:
    """Return the masks (N, MASK_SIDE, MASK_SIDE) of the cached faces of the data set ``name``, and keep them."""
    path = cache() / "pixels" / f"{name}_components.npy"
    if path.exists():
        return np.load(path)
    model = MorphableModel.shipped()
    parts = head_parts(model)
    with np.load(cache() / "faces" / f"{name}.npz") as faces, np.load(cache() / "supervision" / f"{name}.npz") as fits:
        landmarks, presence = faces["landmarks"][..., :2].astype(np.float64), faces["presence"]
        trusted = faces["detected"] & (presence > TRUSTED_PRESENCE) & (fits["error"] < TRUSTED_ERROR)
        squares = faces["squares"].astype(np.float64)
        poses = {field: fits[field] for field in ("shape", "expression", "rotation", "translation")}
    masks = np.full((len(landmarks), MASK_SIDE, MASK_SIDE), UNKNOWN, np.uint8)
    rows = np.flatnonzero(trusted)
    for start in tqdm(range(0, len(rows), 256), desc=f"{name} components"):
        batch = rows[start : start + 256]
        heads = model.vertices(poses["shape"][batch], poses["expression"][batch])
        points = project(heads, poses["rotation"][batch], poses["translation"][batch])[0].astype(np.float64)
        for row, head in zip(batch, points, strict=True):
            masks[row] = draw_mask(landmarks[row], head, parts)
            masks[row][~_inside(squares[row])] = COMPONENTS.index("background")
    path.parent.mkdir(exist_ok=True)
    np.save(path, masks)
    return masks


def areas(masks: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return the share (N, J) of each mask's pixels that each component has."""
    return np.stack([(masks == place).mean(axis=(1, 2)) for place in range(len(COMPONENTS))], axis=1)


def dominant(shares: NDArray[np.float64], count: int, mean: NDArray[np.float64] | None = None) -> NDArray[np.bool_]:
    """Return which ``count`` components (N, J) are dominant: the largest, or with ``mean`` (J,) the largest over it."""
    ranked = shares if mean is None else shares / np.maximum(mean, 1e-9)
    chosen = np.zeros(shares.shape, bool)
    np.put_along_axis(chosen, np.argsort(-ranked, axis=1, kind="stable")[:, :count], True, axis=1)
    return chosen


def label_entropies(chosen: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the entropy (J,) in bits of each component's label."""
    share = np.clip(chosen.mean(axis=0), 1e-12, 1.0 - 1e-12)
    return -(share * np.log2(share) + (1.0 - share) * np.log2(1.0 - share))


def classification_labels(shares: NDArray[np.float64], count: int) -> tuple[NDArray[np.bool_], bool]:
    """Return the dominant components (N, J), and whether they had to be ranked relative to the mean.

    They are where by area alone a component would have less than ``LEAST_ENTROPY``.
    """
    absolute = dominant(shares, count)
    if label_entropies(absolute).min() >= LEAST_ENTROPY:
        return absolute, False
    return dominant(shares, count, shares.mean(axis=0)), True


def main() -> None:
    """Draw the masks of FER+'s training part and print the entropies."""
    masks = build("ferplus_train")
    shares = areas(masks[masks[:, 0, 0] != UNKNOWN])
    print(f"{len(shares)} of {len(masks)} faces have masks; mean shares {np.round(shares.mean(axis=0), 3).tolist()}")
    print("dominant  " + "".join(f"{name:>12}" for name in COMPONENTS))
    for count in range(1, len(COMPONENTS)):
        for title, mean in (("by area", None), ("over mean", shares.mean(axis=0))):
            bits = label_entropies(dominant(shares, count, mean))
            print(f"{count} {title:<10}" + "".join(f"{value:>12.2f}" for value in bits))


if __name__ == "__main__":
    main()
