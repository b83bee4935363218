"""Bits saved at equal accuracy, averaged over the accuracies that both curves reach (Bjøntegaard, VCEG-M33).

The logarithm of the rate is a function of accuracy along each curve, interpolated by monotone cubics (Fritsch and
Carlson, 1980), as later versions of the measure do: the cubic of the first overshoots between uneven points.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Curve = Sequence[tuple[float, float]]
"""Points (bits, accuracy), in any order."""

STEPS = 1000


@dataclass(frozen=True, slots=True)
class RateSaving:
    """Share of bits saved, 1 − ours/theirs in the geometric mean, over the accuracies from ``lowest`` to ``highest``.

    Negative where ours takes more.
    """

    saving: float
    lowest: float
    highest: float


def rate_saving(ours: Curve, theirs: Curve) -> RateSaving | None:
    """Return what ``ours`` saves against ``theirs``; None where no accuracy is reached by both.

    A point that costs more and is no better than another of its curve is left out: nobody would choose it.
    """
    first, second = _worthwhile(ours), _worthwhile(theirs)
    if len(first) < 2 or len(second) < 2:
        return None
    lowest, highest = max(first[0, 1], second[0, 1]), min(first[-1, 1], second[-1, 1])
    if highest <= lowest:
        return None
    accuracies = np.linspace(lowest, highest, STEPS)
    logs = [monotone_cubic(curve[:, 1], np.log(curve[:, 0]), accuracies) for curve in (first, second)]
    return RateSaving(float(1.0 - np.exp(np.mean(logs[0] - logs[1]))), float(lowest), float(highest))


def _worthwhile(curve: Curve) -> Array:
    """Return the points (K, 2) of ``curve`` that are better than all cheaper ones, cheapest first."""
    kept: list[tuple[float, float]] = []
    for bits, accuracy in sorted(curve):
        if not kept or accuracy > kept[-1][1]:
            kept.append((bits, accuracy))
    return np.array(kept, np.float64).reshape(-1, 2)


def monotone_cubic(x: Array, y: Array, at: Array) -> Array:
    """Return the piecewise cubic through (``x``, ``y``), ``x`` rising, that is monotone wherever the points are."""
    width = np.diff(x)
    slope = np.diff(y) / width
    tangent = np.concatenate([slope[:1], (slope[:-1] + slope[1:]) / 2.0, slope[-1:]])
    tangent[1:-1][slope[:-1] * slope[1:] <= 0] = 0.0
    # Tangents of more than three slopes would overshoot.
    limit = 3.0 * np.minimum(np.abs(np.append(slope, slope[-1])), np.abs(np.insert(slope, 0, slope[0])))
    tangent = np.clip(tangent, -limit, limit)
    piece = np.clip(np.searchsorted(x, at, side="right") - 1, 0, len(slope) - 1)
    t = (at - x[piece]) / width[piece]
    left, right = y[piece], y[piece + 1]
    left_tangent, right_tangent = tangent[piece] * width[piece], tangent[piece + 1] * width[piece]
    return (
        (1 + 2 * t) * (1 - t) ** 2 * left
        + t * (1 - t) ** 2 * left_tangent
        + t**2 * (3 - 2 * t) * right
        - t**2 * (1 - t) * right_tangent
    )
