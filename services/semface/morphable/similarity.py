"""Similarity alignment of two sets of points, by least squares."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]


class Similarity(NamedTuple):
    """A point x goes to scale · rotation x + shift."""

    scale: float
    rotation: NDArray[np.float64]
    shift: NDArray[np.float64]


def similarity(source: Array, target: Array, *, rotate: bool = True) -> Similarity:
    """Return the similarity that brings ``source`` (K, D) nearest to ``target`` (K, D) in least squares.

    Without ``rotate`` its rotation is the identity; it never mirrors. Source: Umeyama, 1991.
    """
    from_centre, to_centre = source.mean(axis=0), target.mean(axis=0)
    a, b = source - from_centre, target - to_centre
    rotation = np.eye(source.shape[1])
    if rotate:
        left, _, right = np.linalg.svd(b.T @ a)
        signs = np.ones(source.shape[1])
        signs[-1] = np.sign(np.linalg.det(left @ right))
        rotation = (left * signs) @ right
    scale = float(np.sum((a @ rotation.T) * b) / np.sum(a * a))
    return Similarity(scale, rotation, to_centre - scale * rotation @ from_centre)


def move(points: Array, by: Similarity) -> Array:
    """Return ``points`` (K, D) under the similarity ``by``."""
    return by.scale * points @ by.rotation.T + by.shift
