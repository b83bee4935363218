"""Our 68 vertices, chosen once on the mean ICT face: a warp through features of both mean heads carries them over.

The features are the corners of eyes and mouth, the lips' middles, the nose's tip and base, and the chin. Jaw, brows and
the bridge of the nose, whose points lie on no feature, follow the warp; points of lids and lips stay on theirs.
"""

from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import RBFInterpolator

from semface.evaluation.geometry_measures import nearest_on_surface
from semface.evaluation.synthetic_faces import IctModel
from semface.morphable.model import MorphableModel
from semface.morphable.similarity import move, similarity

FEATURES: Final = (8, 30, 33, 36, 39, 42, 45, 48, 51, 54, 57, 62)
"""Chin, tip and base of the nose, corners of the eyes, corners and middles of the lips, among the 68."""

NOSE_TIP, NOSE_BASE, UPPER_LIP = 30, 33, 51
ON_MIDLINE: Final = 0.5
"""Millimetres from the middle within which a vertex lies on it."""

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

NEAR_ENOUGH: Final = 0.7
"""A vertex within this many millimetres of a landmark's place serves for it."""
ON_EDGE: Final = 0.08
"""A place with a smaller barycentric weight than this lies on the triangle's edge."""

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
    ours[NOSE_BASE] = _corner_under_the_nose(mean, ours)
    moved = move(theirs, similarity(theirs, ours))
    features = list(FEATURES)
    return moved + RBFInterpolator(moved[features], (ours - moved)[features], kernel="linear", degree=0)(moved)


def _corner_under_the_nose(mean: Array, points: Array) -> Array:
    """Return the vertex (3,) of ``mean`` farthest behind the line from the nose's tip to the upper lip, of ``points``.

    The dense landmark next to it lies on the nose's underside in renders, where no picture shows an edge.
    """
    tip, lip = points[NOSE_TIP], points[UPPER_LIP]
    between = (np.abs(mean[:, 0]) < ON_MIDLINE) & (mean[:, 1] < tip[1]) & (mean[:, 1] > lip[1])
    # The outermost vertices of the midline: behind them lies the inside of the mouth.
    candidates = mean[between & (mean[:, 2] > lip[2])]
    along = (lip - tip) / np.linalg.norm(lip - tip)
    offset = candidates - tip
    behind = np.linalg.norm(offset - (offset @ along)[:, None] * along, axis=1)
    return candidates[behind.argmax()]


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


def with_landmarks68(model: MorphableModel, skin: NDArray[np.bool_], ict: IctModel) -> MorphableModel:
    """Return ``model`` with the 68 vertices chosen, and new vertices in its surface where none is near enough.

    ``skin`` (V,) is as in :func:`choose_landmarks68`. A new vertex lies on a triangle or an edge and moves with it in
    all bases, so that the surface stays what it was. Points of lids and lips take the vertices that are there.
    """
    mean = np.asarray(model.mean_shape, float)
    chosen = choose_landmarks68(mean, model.mirror, skin, model.landmark_corners, model.landmarks68, ict)
    wanted = carried_landmarks(mean, model.landmarks68, ict)
    surface = model.triangles[skin[model.triangles].all(axis=1)]
    fixed = {number for numbers, _ in CONTOURS for number in numbers}
    rows, mirror, triangles = list[Array](), model.mirror.tolist(), model.triangles
    vertices = mean
    for number, opposite in enumerate(MIRROR_68):
        if wanted[number, 0] > wanted[opposite, 0] or number in fixed:
            continue
        row = _row_on_surface(wanted[number], mean, surface)
        sides = [row] if number == opposite else [row, _turned(row, model.mirror)]
        if number == opposite:
            sides = [(row + _turned(row, model.mirror)) / 2.0]
        if np.linalg.norm(sides[0] @ mean - mean[chosen[number]]) < NEAR_ENOUGH:
            continue
        added = range(len(vertices), len(vertices) + len(sides))
        for side in sides:
            vertices = np.concatenate([vertices, [side @ mean]])
            triangles = _split(vertices, triangles, skin)
        rows += sides
        mirror += reversed(added)
        chosen[[number, opposite]] = added[0], added[-1]
    mixtures = np.array(rows).reshape(-1, len(mean))
    return _extended(model, mixtures, np.array(mirror, np.int32), triangles, chosen)


def _row_on_surface(place: Array, mean: Array, triangles: NDArray[np.int32]) -> Array:
    """Return the weights (V,) of the point of the surface next to ``place`` (3,)."""
    corners, weights = nearest_on_surface(place[None], mean, triangles)
    row = np.zeros(len(mean))
    np.add.at(row, corners[0], weights[0])
    return row


def _turned(row: Array, mirror: NDArray[np.int32]) -> Array:
    turned = np.zeros_like(row)
    turned[mirror] = row
    return turned


def _split(vertices: Array, triangles: NDArray[np.int32], skin: NDArray[np.bool_]) -> NDArray[np.int32]:
    """Return ``triangles`` (T, 3) with the last of ``vertices`` (V, 3) as a corner of those it lies in."""
    new = len(vertices) - 1
    # Vertices that were added lie on skin too.
    outer = np.concatenate([skin, np.ones(len(vertices) - len(skin), bool)])
    corners, weights = nearest_on_surface(vertices[-1:], vertices[:-1], triangles[outer[triangles].all(axis=1)])
    inside = corners[0][weights[0] > ON_EDGE]
    hit = np.isin(triangles, inside).sum(axis=1) == len(inside)
    # Around an edge both triangles are split, so that no gap opens.
    parts = [np.where(triangle == old, new, triangle) for triangle in triangles[hit] for old in inside]
    return np.concatenate([triangles[~hit], np.array(parts, np.int32)])


def _extended(
    model: MorphableModel,
    rows: Array,
    mirror: NDArray[np.int32],
    triangles: NDArray[np.int32],
    landmarks68: NDArray[np.int32],
) -> MorphableModel:
    """Return ``model`` with more vertices, each a mixture ``rows`` (N, V) of the present ones."""

    def more(values: Array) -> Array:
        return np.concatenate([values, rows @ values], axis=-2).astype(values.dtype)

    bases = ("mean_shape", "shape_basis", "expression_basis", "mean_albedo", "texture_basis")
    # A place is of the face where everything that it lies between is.
    region = np.concatenate([model.face_region, rows @ model.face_region > 0.999])
    return replace(
        model,
        **{name: more(getattr(model, name)) for name in bases},
        mirror=mirror,
        triangles=triangles,
        landmarks68=landmarks68,
        face_region=region,
    )
