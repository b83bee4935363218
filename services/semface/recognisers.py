"""The networks that tell an expression, by name, and what each looks at. Gateway, services and commands share it."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from math import prod
from types import MappingProxyType
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from semface.errors import Reason, SemfaceError
from semface.meaning import EXPRESSIONS, SCAN_EXPRESSIONS

CROP_SIZE: Final = 112
"""Side in pixels of the crop of a face square, as extraction cuts it and networks see it."""
ATTRIBUTE_IMAGES: Final = (8, CROP_SIZE, CROP_SIZE)
"""Shape of the attribute images of a 3-D scan, as extraction draws them and networks see them."""


class Seen(StrEnum):
    """What a recogniser looks at. The value is the field of ``FaceSource`` that carries it."""

    DESCRIPTORS = "descriptors"
    CROP = "crop"
    ATTRIBUTE_IMAGES = "attribute_images"


@dataclass(frozen=True, slots=True)
class Recogniser:
    """A network of the model repository: its ``name``, the input ``tensor`` of ``shape`` for each face, its classes."""

    name: str
    sees: Seen
    tensor: str
    shape: tuple[int, ...]
    dtype: Literal["float32", "uint8"]
    classes: tuple[str, ...] = EXPRESSIONS
    """In the order of the network's output ``confidences``."""

    def pack(self, view: NDArray[np.generic]) -> bytes:
        """Return ``view`` (``shape``) as it travels: little-endian, the last axis running fastest."""
        if view.shape != self.shape:
            raise ValueError(f"{self.name} sees {self.shape}, not {view.shape}")
        return np.ascontiguousarray(view, dtype=self._wire).tobytes()

    def unpack(self, data: bytes, field: str) -> NDArray[np.generic]:
        """Return the array of ``shape`` that ``data`` carries.

        Raises DESCRIPTOR_SHAPE for another length, NOT_FINITE for a NaN or an infinity.
        """
        wanted = prod(self.shape) * self._wire.itemsize
        if len(data) != wanted:
            sides = " × ".join(map(str, self.shape))
            message = f"{field}: expected {sides} {self.dtype} ({wanted} bytes), got {len(data)} bytes"
            raise SemfaceError(Reason.DESCRIPTOR_SHAPE, message, field=field)
        values = np.frombuffer(data, self._wire).reshape(self.shape).astype(self.dtype)
        if not np.isfinite(values).all():
            raise SemfaceError(
                Reason.NOT_FINITE, f"{field}: numbers must be finite; NaN or infinity found", field=field
            )
        return values

    @property
    def _wire(self) -> np.dtype[np.generic]:
        return np.dtype(self.dtype).newbyteorder("<")


DEFAULT_RECOGNISER: Final = Recogniser("expression_recognition", Seen.DESCRIPTORS, "descriptors", (70,), "float32")
"""Needs nothing but what travels."""

_CROP: Final = (CROP_SIZE, CROP_SIZE, 3)

RECOGNISERS: Final[Mapping[str, Recogniser]] = MappingProxyType(
    {
        recogniser.name: recogniser
        for recogniser in (
            DEFAULT_RECOGNISER,
            Recogniser("dan", Seen.CROP, "crops", _CROP, "uint8"),
            Recogniser("slfer", Seen.CROP, "crops", _CROP, "uint8"),
            Recogniser(
                "amdfn", Seen.ATTRIBUTE_IMAGES, "attribute_images", ATTRIBUTE_IMAGES, "float32", SCAN_EXPRESSIONS
            ),
        )
    }
)
"""Every recogniser by name. A repository may lack some of their networks."""


def find_recogniser(name: str, field: str = "model") -> Recogniser:
    """Return the recogniser called ``name``, the default for an empty one. Raises MODEL_UNKNOWN."""
    if not name:
        return DEFAULT_RECOGNISER
    if name not in RECOGNISERS:
        message = f"{field}: there is no such model; choose from {', '.join(RECOGNISERS)}"
        raise SemfaceError(Reason.MODEL_UNKNOWN, message, field=field)
    return RECOGNISERS[name]
