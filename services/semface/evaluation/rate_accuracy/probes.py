"""Small linear probes, fitted in closed form or by a few Newton-like steps: the same every time, without a seed."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

PENALTY: Final = 1.0
"""Ridge penalty on standardised inputs, in samples."""
STEPS: Final = 200
SMALLEST_SCALE: Final = 1e-6


@dataclass(frozen=True, slots=True)
class LinearMap:
    """Inputs (N, D), standardised, through ``weights`` (D + 1, K) whose last row is the offset."""

    mean: Array
    scale: Array
    weights: Array

    def __call__(self, inputs: NDArray[np.floating]) -> Array:
        """Return the outputs (N, K)."""
        return _with_one((np.asarray(inputs, np.float64) - self.mean) / self.scale) @ self.weights


def fit_ridge(inputs: NDArray[np.floating], targets: NDArray[np.floating]) -> LinearMap:
    """Return the least-squares map of ``inputs`` (N, D) to ``targets`` (N, K), with the ridge penalty."""
    mean, scale, design = _standardised(inputs)
    moments: Array = design.T @ np.asarray(targets, np.float64)
    gram = design.T @ design + PENALTY * _all_but_offset(design.shape[1])
    return LinearMap(mean, scale, np.linalg.solve(gram, moments).astype(np.float64))


def fit_logistic(
    inputs: NDArray[np.floating], labels: NDArray[np.integer], classes: int, *, balanced: bool = False
) -> LinearMap:
    """Return the multinomial logistic regression of ``labels`` (N,) on ``inputs`` (N, D); outputs are logits (N, K).

    ``balanced``: each class weighs alike, however many samples it has. The steps use Böhning's bound on the Hessian
    (1992), so that each improves the likelihood.
    """
    mean, scale, design = _standardised(inputs)
    wanted = np.eye(classes)[labels]
    counts = np.maximum(wanted.sum(axis=0), 1.0)
    weight = (len(labels) / np.count_nonzero(wanted.sum(axis=0)) / counts)[labels] if balanced else np.ones(len(labels))
    penalty = PENALTY * _all_but_offset(design.shape[1])
    bound = np.linalg.inv(0.5 * (design.T * weight) @ design + penalty + 1e-9 * np.eye(design.shape[1]))
    weights = np.zeros((design.shape[1], classes))
    for _ in range(STEPS):
        gradient = design.T @ (weight[:, None] * (wanted - softmax(design @ weights))) - penalty @ weights
        weights = weights + bound @ gradient
    return LinearMap(mean, scale, weights)


def softmax(logits: Array) -> Array:
    """Return the confidences (N, K) of ``logits``."""
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    return raised / raised.sum(axis=1, keepdims=True)


def _standardised(inputs: NDArray[np.floating]) -> tuple[Array, Array, Array]:
    values = np.asarray(inputs, np.float64)
    mean, scale = values.mean(axis=0), np.maximum(values.std(axis=0), SMALLEST_SCALE)
    return mean, scale, _with_one((values - mean) / scale)


def _with_one(values: Array) -> Array:
    return np.column_stack([values, np.ones(len(values))])


def _all_but_offset(size: int) -> Array:
    return np.diag(np.append(np.ones(size - 1), 0.0))
