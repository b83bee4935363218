"""What the services answer, with arrays for vectors. The protos say more of each field."""

from dataclasses import dataclass, field
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from semface.descriptors import Descriptors, Portion

Vector = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Model:
    """The model that made an answer."""

    name: str
    version: str
    hash: int
    """The first 8 bytes of the SHA-256 of its files, read as a big-endian number."""
    engine: str = field(default="", compare=False)
    """What ran it: ``onnxruntime``, inside the service, or ``triton``; empty where that is not known any more."""

    def __str__(self) -> str:
        """Return ``name/version``."""
        return f"{self.name}/{self.version}"


@dataclass(frozen=True, slots=True)
class Timings:
    """Milliseconds inside the service: waiting to be admitted, in the networks, in all."""

    queue_ms: float
    inference_ms: float
    total_ms: float


@dataclass(frozen=True, slots=True, eq=False)
class Face:
    """One face of a photograph; coordinates are pixels of the upright photograph from its top left corner."""

    box: Vector
    """(4,): left, upper, right, lower."""
    square: Vector
    """(3,): left, upper, side of the square that the network saw."""
    landmarks: Vector
    """(5, 2): eyes, nose, corners of the mouth, each from the picture's left to its right."""
    confidence: float
    """0 to 1."""
    quality: float
    """How well the face can be described, 0 (useless) to 1 (good)."""
    descriptors: Descriptors
    """(257,)."""
    track_id: int = 0
    """Which face of a stream this is, counted from 1; 0 where there is no stream."""
    id: int = 0
    """Which face of its answer this is: its place in reading order, from 0 on."""
    crop: NDArray[np.uint8] | None = None
    """(112, 112, 3) RGB, the square as the network saw it, where crops were asked for."""

    @property
    def size(self) -> float:
        """The longer side of the box, in pixels."""
        return float(max(self.box[2] - self.box[0], self.box[3] - self.box[1]))


@dataclass(frozen=True, slots=True)
class Extraction:
    """The faces of one photograph, good or not, in reading order."""

    faces: list[Face]
    width: int
    height: int
    models: list[Model]
    timings: Timings
    minimum_quality: float
    """The least quality of a face on which something should be decided, 0 to 1."""

    @property
    def good_faces(self) -> list[Face]:
        """Those of ``minimum_quality`` and more; of a photograph at least one, of a frame of a stream perhaps none."""
        return [face for face in self.faces if face.quality >= self.minimum_quality]

    @property
    def largest(self) -> Face:
        """The largest of the ``good_faces``; raises ValueError where there is none."""
        return max(self.good_faces, key=lambda face: face.size)


@dataclass(frozen=True, slots=True)
class ScanReading:
    """The face of one 3-D scan: ``attribute_images`` float32 (8, 112, 112), for a recogniser that looks at scans."""

    attribute_images: NDArray[np.float32]
    textured: bool
    """Whether the scan has colours; without them the last three images are 0."""
    covered: float
    """The part of the face's middle that the scan covers, 0 to 1."""
    models: list[Model]
    timings: Timings


@dataclass(frozen=True, slots=True)
class Frame:
    """A coded face."""

    data: bytes
    header_bits: int
    payload_bits: dict[Portion, int]
    """Bits of each payload, in the order of the frame."""
    quality_name: str
    quality_number: int
    key: bool = True
    """Whether it stands alone; else it needs the frames before it."""

    @property
    def bits(self) -> int:
        """The whole frame."""
        return 8 * len(self.data)


class FrameState(Enum):
    """What became of a frame of a stream at the receiver."""

    DECODED = 1
    CONCEALED = 2
    """Lost, damaged or without the frames before it: the last face is held until the next key frame."""
    WAITING = 3
    """The same before the first key frame: there is no face yet."""


@dataclass(frozen=True, slots=True)
class Encoding:
    """One frame for each face, in the order sent."""

    frames: list[Frame]
    model: Model
    timings: Timings


@dataclass(frozen=True, slots=True, eq=False)
class DecodedFace:
    """What one frame carried."""

    descriptors: Descriptors
    """(257,); 0 where a portion did not travel."""
    portions: Portion
    quality_name: str
    quality_number: int


@dataclass(frozen=True, slots=True)
class ShownFace:
    """What a receiver of a moving face has after a frame."""

    state: FrameState
    face: DecodedFace | None
    """None while waiting for the first key frame."""


@dataclass(frozen=True, slots=True)
class Decoding:
    """One face for each frame, in the order sent."""

    faces: list[DecodedFace]
    model: Model
    timings: Timings


@dataclass(frozen=True, slots=True)
class Recognition:
    """The expression of one face."""

    leading: str
    """Name of the class of the highest confidence, such as ``happiness``."""
    confidences: dict[str, float]
    """Confidence of each class, 0 to 1, all adding up to 1."""
    model: Model
    timings: Timings


@dataclass(frozen=True, slots=True, eq=False)
class Embedding:
    """A vector that says who a face is; vectors of different models never compare."""

    vector: Vector
    """(512,), of unit length."""
    model: Model


@dataclass(frozen=True, slots=True)
class Comparison:
    """Whether two faces are one person."""

    matched: bool
    score: float
    """Cosine, -1 to 1."""
    threshold: float
    """-1 to 1; the score matches where it is at least this."""
    operating_point: str
    """``far_1e-2``, ``far_1e-3`` or ``accuracy``."""
    model: Model
    timings: Timings


@dataclass(frozen=True, slots=True)
class UnderstoodFace:
    """What one face says; None for what was not asked for."""

    leading: str | None
    confidences: dict[str, float] | None
    embedding: Embedding | None


@dataclass(frozen=True, slots=True)
class Understanding:
    """One answer for each face, in the order sent."""

    faces: list[UnderstoodFace]
    models: list[Model]
    timings: Timings
