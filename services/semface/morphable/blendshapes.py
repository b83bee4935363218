"""ARKit's named blendshape weights of an expression, for engines that already speak them.

The weights are those, each within 0 to 1, whose shapes come nearest in millimetres to what δ does to the head. The
shapes are those of the ICT face model; ``training.arkit_blendshapes`` keeps only their products with themselves and
with our 64 directions. δ holds no gaze and no tongue: the weights ``eyeLook…`` and ``tongueOut`` stay 0.
"""

import hashlib
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Final, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from semface.descriptors import GROUP_SIZES, GROUPS, Descriptors, Portion, validate
from semface.errors import Reason, SemfaceError
from semface.morphable.model import MorphableModel

BLENDSHAPES_FILE: Final = Path(__file__).parent / "data" / "arkit.npz"

_SIDED: Final = (
    *("eyeBlink", "eyeLookDown", "eyeLookIn", "eyeLookOut", "eyeLookUp", "eyeSquint", "eyeWide"),
    *("mouthSmile", "mouthFrown", "mouthDimple", "mouthStretch", "mouthPress", "mouthLowerDown", "mouthUpperUp"),
    *("browDown", "browOuterUp", "cheekSquint", "noseSneer"),
)
_WHOLE: Final = (
    *("jawForward", "jawLeft", "jawRight", "jawOpen", "mouthClose", "mouthFunnel", "mouthPucker"),
    *("mouthLeft", "mouthRight", "mouthRollLower", "mouthRollUpper", "mouthShrugLower", "mouthShrugUpper"),
    *("browInnerUp", "cheekPuff", "tongueOut"),
)
ARKIT_NAMES: Final = (*(name + side for name in _SIDED for side in ("Left", "Right")), *_WHOLE)
"""The 52 names of ARKit's ``ARFaceAnchor.BlendShapeLocation``; left is the subject's."""

_SWEEPS: Final = 200
_RIDGE: Final = 1e-3
"""Of the products' mean, against directions in which named shapes hardly differ."""
_SETTLED: Final = 1e-4


@dataclass(frozen=True)
class Blendshapes:
    """Products of ARKit's 52 shapes, in square millimetres at a vertex."""

    own: NDArray[np.float64]
    """(52, 52) of each shape with each, a little added on the diagonal so that faint shapes stay still."""
    directions: NDArray[np.float64]
    """(64, 52) of our directions with each shape."""
    head_hash: str
    """Of the directions for which the products were made."""

    @classmethod
    def load(cls, path: Path = BLENDSHAPES_FILE) -> Self:
        """Read the products that ship with the package, or those at ``path``."""
        with np.load(path, allow_pickle=False) as file:
            return cls(file["own"].astype(float), file["directions"].astype(float), str(file["head_hash"]))

    @classmethod
    @cache
    def shipped(cls) -> Self:
        """Return the products that ship with the package, read once for each process."""
        return cls.load()

    def weights(self, expression: ArrayLike) -> NDArray[np.float64]:
        """Return the weights (N, 52), 0 to 1, of δ (N, 64) in the order of ``ARKIT_NAMES``.

        Coordinate descent on the least squares, which is convex. Raises DESCRIPTOR_SHAPE or NOT_FINITE.
        """
        wanted = validate(expression, GROUP_SIZES["expression"]).astype(float) @ self.directions
        weights = np.zeros_like(wanted)
        for _ in range(_SWEEPS):
            before = weights.copy()
            for number, products in enumerate(self.own):
                if products[number] > 0:
                    step = (wanted[:, number] - weights @ products) / products[number]
                    weights[:, number] = np.clip(weights[:, number] + step, 0.0, 1.0)
            if np.abs(weights - before).max(initial=0.0) < _SETTLED:
                break
        return weights

    @cached_property
    def expressions(self) -> NDArray[np.float64]:
        """(52, 64) the δ that each shape alone, at weight 1, asks for: the likeliest with the shape's products.

        Least squares with the smallest δ, which is in standard deviations. 0 for what δ does not hold.
        """
        products = self.directions.T @ self.directions
        ridge = _RIDGE * np.trace(products) / len(products) * np.eye(len(products))
        return np.linalg.solve(products + ridge, self.own).T @ self.directions.T


def arkit_expressions() -> dict[str, list[float]]:
    """Return by ARKit's name the δ (64,) that a weight of 1 asks for; weights between are linear."""
    return dict(zip(ARKIT_NAMES, Blendshapes.shipped().expressions.round(5).tolist(), strict=True))


def arkit_weights(expression: ArrayLike) -> dict[str, float]:
    """Return ARKit's weights by name, each 0 to 1, of one face's δ (64,). Raises DESCRIPTOR_SHAPE or NOT_FINITE."""
    (weights,) = Blendshapes.shipped().weights(expression)
    return dict(zip(ARKIT_NAMES, weights.tolist(), strict=True))


def decoded_weights(descriptors: Descriptors, portions: Portion) -> dict[str, float]:
    """Return ``arkit_weights`` of decoded ``descriptors`` (257,); raises GROUP_ABSENT where no expression travelled."""
    if Portion.EXPRESSION not in portions:
        raise SemfaceError(Reason.GROUP_ABSENT, "the frame carries no expression, which blendshape weights need")
    return arkit_weights(descriptors[GROUPS["expression"]])


def expression_hash(model: MorphableModel) -> str:
    """Return a hash of the expression directions of ``model``."""
    return hashlib.sha256(model.expression_basis.tobytes()).hexdigest()[:16]
