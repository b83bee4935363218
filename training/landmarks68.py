"""Our 68 vertices, chosen once on the mean ICT face: a warp through features of both mean heads carries them over.

The features are the corners of eyes and mouth, the lips' middles, the nose's tip and base, and the chin. Jaw, brows and
the bridge of the nose, whose points lie on no feature, follow the warp; points of lids and lips stay on theirs.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import RBFInterpolator

from semface.evaluation.geometry_measures import move, similarity
from semface.evaluation.synthetic_faces import IctModel

FEATURES: Final = (8, 30, 33, 36, 39, 42, 45, 48, 51, 54, 57, 62)
"""Chin, tip and base of the nose, corners of the eyes, corners and middles of the lips, among the 68."""

MIRROR_68: Final = (
    *range(16, -1, -1),
    *range(26, 16, -1),
    *(27, 28, 29, 30, 35, 34, 33, 32, 31),
    *(45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40),
    *(54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55),
    *(64, 63, 62, 61, 60, 67, 66, 65),
)
"""The landmark on the other side of the face for each of the 68."""

CONTOURS: Final = (
    ((37, 38), (246, 161, 160, 159, 158, 157, 173)),
    ((40, 41), (7, 163, 144, 145, 153, 154, 155)),
    ((36,), (33,)),
    ((39,), (133,)),
    ((49, 50, 51), (185, 40, 39, 37, 0)),
    ((57, 58, 59), (146, 91, 181, 84, 17)),
    ((48,), (61,)),
    ((61, 62), (191, 80, 81, 82, 13)),
    ((66, 67), (95, 88, 178, 87, 14)),
    ((60,), (78,)),
)
"""Landmarks of the right half and the middle that lie on a lid or a lip, and the dense landmarks along it."""

Array = NDArray[np.floating]


def choose_landmarks68(
    mean: Array,
    mirror: NDArray[np.int32],
    skin: NDArray[np.bool_],
    corners: NDArray[np.int32],
    present: NDArray[np.int32],
    ict: IctModel,
) -> NDArray[np.int32]:
    """Return the vertices (68,) of our mean head next to the 68 landmarks of the mean ICT face.

    ``mean`` (V, 3) millimetres; ``mirror`` (V,); ``skin`` (V,) outer skin, no eyeball and no inside of the mouth;
    ``corners`` (468, 3) of the triangles of the dense landmarks; ``present`` (68,) the vertices next to the dense
    landmarks. The answer is symmetric under ``mirror``.
    """
    wanted = carried_landmarks(mean, present, ict)
    allowed = _allowed(skin, corners)
    middle = skin & (mirror == np.arange(len(mean)))
    chosen = np.empty(68, np.int32)
    for number, opposite in enumerate(MIRROR_68):
        # The right half of the subject is chosen, its left half is the mirror image.
        if wanted[number, 0] > wanted[opposite, 0]:
            continue
        candidates = allowed.get(number, skin)
        if number == opposite:
            candidates = candidates & middle
        found = np.flatnonzero(candidates)
        chosen[number] = found[np.square(mean[found] - wanted[number]).sum(axis=1).argmin()]
        chosen[opposite] = mirror[chosen[number]]
    return chosen


def carried_landmarks(mean: Array, present: NDArray[np.int32], ict: IctModel) -> Array:
    """Return the 68 landmarks of the mean ICT face, carried to our ``mean`` head and made symmetric, (68, 3)."""
    ours, theirs = _symmetric(mean[present]), _symmetric(ict.mean[ict.landmarks68])
    moved = move(theirs, similarity(theirs, ours))
    features = list(FEATURES)
    return moved + RBFInterpolator(moved[features], (ours - moved)[features], kernel="linear", degree=0)(moved)


def _symmetric(points: Array) -> Array:
    """Return ``points`` (68, 3), each in the middle between it and its opposite's mirror image."""
    return (points + points[list(MIRROR_68)] * [-1.0, 1.0, 1.0]) / 2.0


def _allowed(skin: NDArray[np.bool_], corners: NDArray[np.int32]) -> dict[int, NDArray[np.bool_]]:
    """Return, for each landmark of ``CONTOURS``, the vertices (V,) of its lid or lip."""
    allowed = {}
    for numbers, contour in CONTOURS:
        near = np.zeros(len(skin), bool)
        near[corners[list(contour)]] = True
        allowed.update(dict.fromkeys(numbers, near & skin))
    return allowed
