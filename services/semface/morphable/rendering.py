"""Pictures of descriptors: the shaded face, and its mesh drawn over a photograph."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from semface.descriptors import Descriptors, split, validate
from semface.morphable.camera import project, rotation_matrix
from semface.morphable.illumination import shading
from semface.morphable.model import MorphableModel
from semface.morphable.rasterizer import Fragments, rasterize

Picture = NDArray[np.uint8]

WIRE_COLOUR: Final = np.array([0, 255, 170], np.float32)
"""Colour of the mesh drawn over a photograph, RGB."""
WIRE_WIDTH: Final = 0.7
"""Width of the mesh's lines, in pixels."""


def vertex_colours(
    model: MorphableModel, descriptors: Descriptors, vertices: NDArray[np.floating]
) -> NDArray[np.floating]:
    """Return the lit colours (N, V, 3), 0 to 255, of heads (N, V, 3): albedo × shading."""
    groups = split(descriptors)
    turned = model.normals(vertices) @ rotation_matrix(groups["rotation"]).transpose(0, 2, 1)
    return np.clip(model.albedo(groups["texture"]) * shading(turned, groups["illumination"]), 0.0, 255.0)


def draw(
    model: MorphableModel, descriptors: Descriptors, origin: tuple[float, float], side: float, height: int, width: int
) -> tuple[Fragments, NDArray[np.floating]]:
    """Rasterise one face whose square has its corner at ``origin`` and ``side`` pixels in a picture.

    ``descriptors`` has the shape (1, 257). Returns the fragments and the lit colours (V, 3).
    """
    groups = split(descriptors)
    vertices = model.vertices(groups["shape"], groups["expression"])
    points, depth = project(vertices, groups["rotation"], groups["translation"])
    pixels = points[0] * side + np.array(origin)
    colours = vertex_colours(model, descriptors, vertices)[0]
    return rasterize(pixels, depth[0], model.triangles, height, width), colours


def paint(
    model: MorphableModel, fragments: Fragments, colours: NDArray[np.floating], background: NDArray[np.uint8]
) -> Picture:
    """Return ``background`` (H, W, 3) with the ``fragments`` (H, W) of a head of ``colours`` (V, 3) painted over it."""
    picture = background.copy()
    seen = fragments.triangle >= 0
    corners = colours[model.triangles[fragments.triangle[seen]]]
    picture[seen] = (corners * fragments.weights[seen][:, :, None]).sum(axis=1).round()
    return picture


def render(
    descriptors: Descriptors,
    size: int = 256,
    background: tuple[int, int, int] = (0, 0, 0),
    model: MorphableModel | None = None,
) -> Picture:
    """Return the face square (size, size, 3), RGB, of one face's 257 descriptors.

    Raises ``SemfaceError``: DESCRIPTOR_SHAPE or NOT_FINITE for descriptors that are none, FIELD_INVALID for a face too
    near or too distorted to draw.
    """
    model = model or MorphableModel.shipped()
    fragments, colours = draw(model, validate(descriptors)[:1], (0.0, 0.0), size, size, size)
    return paint(model, fragments, colours, np.full((size, size, 3), background, np.uint8))


def overlay(
    photograph: Picture,
    square: tuple[float, float, float],
    descriptors: Descriptors,
    model: MorphableModel | None = None,
) -> Picture:
    """Return ``photograph`` (H, W, 3) with the face's mesh drawn over it.

    ``square`` is (left, top, side) of the face square in pixels, ``descriptors`` the face's 257 numbers. Raises what
    ``render`` raises.
    """
    model = model or MorphableModel.shipped()
    height, width = photograph.shape[:2]
    left, top, side = square
    values = validate(descriptors)[:1]
    fragments, _ = draw(model, values, (left, top), side, height, width)
    groups = split(values)
    points, _ = project(
        model.vertices(groups["shape"], groups["expression"]), groups["rotation"], groups["translation"]
    )
    seen = fragments.triangle >= 0
    corners = (points[0] * side)[model.triangles[fragments.triangle[seen]]]
    coverage = np.clip(WIRE_WIDTH - _distance_to_edges(corners, fragments.weights[seen]) + 0.5, 0.0, 1.0)[:, None] * 0.6
    picture = photograph.astype(np.float32)
    picture[seen] = picture[seen] * (1.0 - coverage) + WIRE_COLOUR * coverage
    return picture.round().astype(np.uint8)


def _distance_to_edges(corners: NDArray[np.floating], weights: NDArray[np.float32]) -> NDArray[np.floating]:
    """Return the distance (K,) in pixels to the nearest edge of triangles (K, 3, 2) at barycentric weights (K, 3)."""
    edges = corners[:, [2, 0, 1]] - corners[:, [1, 2, 0]]
    lengths = np.maximum(np.linalg.norm(edges, axis=-1), 1e-6)
    area = np.abs(edges[:, 0, 0] * edges[:, 1, 1] - edges[:, 0, 1] * edges[:, 1, 0])
    return (weights * area[:, None] / lengths).min(axis=1)
