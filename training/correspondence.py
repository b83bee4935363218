"""Where the 468 dense landmarks lie on the head: the landmark teacher reads renders, and each point is traced back."""

from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from semface.evaluation.geometry_measures import nearest_on_surface
from semface.evaluation.identity_teacher import landmark_box
from semface.morphable.camera import project, rotation_matrix
from semface.morphable.model import vertex_normals
from semface.morphable.rasterizer import Fragments, rasterize
from training.head import Head
from training.teacher_networks import dense_landmarks

RENDER_SIZE: Final = 640
YAWS: Final = (-0.3, 0.0, 0.3)
PITCHES: Final = (-0.15, 0.15)
SKINS: Final = ((224, 172, 140), (150, 105, 80))
MOUTH_OPEN: Final = 0.3
"""How far the mouth of the rendered heads is open: closed lips would let the points of one fall on the other."""
INSIDE_SHADE: Final = 0.2
"""Brightness of the mouth's inside in the renders: in skin colour it would pass for the lower lip."""

LANDMARKS_68: Final = (
    *(162, 234, 93, 58, 172, 136, 149, 148, 152, 377, 378, 365, 397, 288, 323, 454, 389),
    *(71, 63, 105, 66, 107, 336, 296, 334, 293, 301),
    *(168, 197, 5, 4, 75, 97, 2, 326, 305),
    *(33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380),
    *(61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181),
    *(78, 82, 13, 312, 308, 317, 14, 87),
)
"""The dense landmark next to each of the 68: jaw 17, brows 10, nose 9, eyes 12, outer lips 12, inner lips 8."""

Array = NDArray[np.float64]


def outer_skin(head: Head) -> NDArray[np.bool_]:
    """Tell of each triangle (T,) whether the closed face shows it and it is no eyeball: not the inside of the mouth."""
    shown = np.zeros(len(head.triangles), bool)
    for yaw in (-1.2, *YAWS, 1.2):
        seen, _ = _rasterize(head, head.mean, np.array([[0.0, yaw, 0.0]]))
        shown[seen.triangle[seen.triangle >= 0]] = True
    vertices = np.zeros(len(head.mean), bool)
    vertices[head.triangles[shown]] = True
    return (vertices & ~head.eyeball)[head.triangles].all(axis=1)


def _rasterize(head: Head, vertices: Array, pose: Array) -> tuple[Fragments, Array]:
    points, depth = project(vertices[None], pose, np.array([[0.0, 0.0, -300.0]]))
    pixels = points[0] * RENDER_SIZE
    return rasterize(pixels, depth[0], head.triangles, RENDER_SIZE, RENDER_SIZE), pixels


def _read_render(
    head: Head, vertices: Array, skin: NDArray[np.bool_], pose: Array, colour: tuple[int, int, int]
) -> Array:
    """Return the landmarks' places (468, 3) on ``vertices`` as the teacher sees them."""
    seen, pixels = _rasterize(head, vertices, pose)
    light = np.clip(vertex_normals(vertices, head.triangles) @ rotation_matrix(pose)[0].T @ [0.2, 0.4, 0.9], 0.1, 1.0)
    drawn = seen.triangle >= 0
    dark = np.where(skin | head.eyeball[head.triangles].any(axis=1), 1.0, INSIDE_SHADE)
    shade = (light[head.triangles[seen.triangle]] * seen.weights).sum(axis=2) * dark[seen.triangle]
    picture = (np.where(drawn, shade, 0.0)[..., None] * colour).astype(np.uint8)
    box = np.concatenate([pixels.min(axis=0), pixels.max(axis=0)])
    box += np.array([0.15, 0.25, -0.15, -0.15]) * np.tile(box[2:] - box[:2], 2)
    for _ in range(2):
        landmarks, _ = dense_landmarks(picture, box, None)
        box = landmark_box(landmarks)
    drawn &= skin[seen.triangle]
    rows, columns = np.nonzero(drawn)
    places = (vertices[head.triangles[seen.triangle[drawn]]] * seen.weights[drawn][:, :, None]).sum(axis=1)
    centres = np.stack([columns, rows], axis=1) + 0.5
    nearest = [np.square(centres - point).sum(axis=1).argmin() for point in landmarks[:, :2]]
    return places[nearest]


def mirror_landmarks(landmarks: Array) -> NDArray[np.int32]:
    """Return the landmark (468,) on the other side of the face for each, by the mean of faces (N, 468, 3)."""
    mean = (landmarks - landmarks.mean(axis=1, keepdims=True)).mean(axis=0)
    apart = np.linalg.norm(mean[:, None] - mean * [-1.0, 1.0, 1.0], axis=2)
    return linear_sum_assignment(apart)[1].astype(np.int32)


def landmark_places(head: Head, mirror: NDArray[np.int32]) -> tuple[NDArray[np.int32], Array]:
    """Return each landmark's triangle corners (468, 3) and its weights (468, 3); ``mirror`` is (468,)."""
    opened = head.mean + MOUTH_OPEN * head.expression_targets[head.expression_names.index("mouth-open")]
    skin = outer_skin(head)
    poses = [np.array([[pitch, yaw, 0.0]]) for pitch in PITCHES for yaw in YAWS]
    views = [_read_render(head, opened, skin, pose, colour) for pose in poses for colour in SKINS]
    return symmetric_places(np.median(views, axis=0), mirror, opened, head.triangles[skin])


def symmetric_places(
    places: Array, mirror: NDArray[np.int32], vertices: Array, surface: NDArray[np.int32]
) -> tuple[NDArray[np.int32], Array]:
    """Return corners (468, 3) and weights (468, 3) of the ``surface`` (T, 3) next to ``places`` made symmetric."""
    middle = (places + places[mirror] * [-1.0, 1.0, 1.0]) / 2.0
    return nearest_on_surface(middle, vertices, surface)
