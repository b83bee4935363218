"""The 257 numbers that describe a face: groups, slices, portions and validation (paper, equation 2).

    ω = {α shape 80, β texture 80, δ expression 64, θ rotation 3, l translation 3, γ illumination 27}

Shape, texture and expression are in standard deviations of real faces, rotation in radians (pitch, yaw, roll),
translation in millimetres (right, up, towards the camera), illumination in 9 spherical harmonics for each of red, green
and blue.
"""

from collections.abc import Iterable
from enum import Flag
from functools import reduce
from operator import or_
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from semface.errors import Reason, SemfaceError

GROUP_SIZES: Final = MappingProxyType(
    {"shape": 80, "texture": 80, "expression": 64, "rotation": 3, "translation": 3, "illumination": 27}
)
"""Size of each group of descriptors, in the order in which they are laid out."""

DESCRIPTOR_SIZE: Final = sum(GROUP_SIZES.values())
"""How many numbers describe a face: 257."""


def _group_slices() -> dict[str, slice]:
    slices, start = {}, 0
    for name, size in GROUP_SIZES.items():
        slices[name] = slice(start, start + size)
        start += size
    return slices


GROUPS: Final = MappingProxyType(_group_slices())
"""Name of each group to its slice of the 257 numbers."""


class Portion(Flag):
    """The parts of a face that travel in a payload of their own, so that each can be sent or dropped alone."""

    IDENTITY = 1
    EXPRESSION = 2
    ILLUMINATION = 4
    ALL = 7


PORTION_GROUPS: Final = MappingProxyType(
    {
        Portion.IDENTITY: ("shape", "texture"),
        Portion.EXPRESSION: ("expression", "rotation", "translation"),
        Portion.ILLUMINATION: ("illumination",),
    }
)
"""The groups of each portion."""

PORTION_SLICES: Final = MappingProxyType(
    {portion: slice(GROUPS[names[0]].start, GROUPS[names[-1]].stop) for portion, names in PORTION_GROUPS.items()}
)
"""The slice of the 257 numbers that each portion covers: its groups lie side by side."""

Descriptors = NDArray[np.float32]


def validate(values: ArrayLike, size: int = DESCRIPTOR_SIZE) -> Descriptors:
    """Return ``values`` as a float32 array of shape (N, size); one vector becomes a batch of one.

    Raises ``SemfaceError`` with DESCRIPTOR_SHAPE when the last axis is not ``size`` long, and with NOT_FINITE when a
    number is NaN or infinite.
    """
    array = np.asarray(values, dtype=np.float32)
    if array.ndim not in (1, 2) or array.shape[-1] != size:
        raise SemfaceError(Reason.DESCRIPTOR_SHAPE, f"expected vectors of {size} numbers, got shape {array.shape}")
    if not np.isfinite(array).all():
        raise SemfaceError(Reason.NOT_FINITE, "descriptors must be finite; NaN or infinity found")
    return array.reshape(-1, size)


def portion_names(portions: Portion) -> list[str]:
    """Return the names of ``portions`` in lower case: identity, expression, illumination."""
    return [portion.name.lower() for portion in portions if portion.name]


def portions_by_name(names: Iterable[str]) -> Portion:
    """Return the portions of ``names``; raises ``SemfaceError`` FIELD_INVALID for a name that is none."""
    known = {name: portion for portion in Portion.ALL for name in portion_names(portion)}
    portions = Portion(0)
    for name in names:
        if name not in known:
            raise SemfaceError(Reason.FIELD_INVALID, f"portions are {', '.join(known)}", field="portion")
        portions |= known[name]
    return portions


def union(portions: Iterable[Portion]) -> Portion:
    """Return all of ``portions`` as one."""
    return reduce(or_, portions, Portion(0))


def split(values: Descriptors) -> dict[str, Descriptors]:
    """Return views of ``values`` (..., 257) by group name."""
    return {name: values[..., where] for name, where in GROUPS.items()}
