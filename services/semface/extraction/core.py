"""From a photograph to the 257 numbers of each face in it: detect, crop, describe.

Knows arrays and names, no transport.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from semface.descriptors import DESCRIPTOR_SIZE, Descriptors
from semface.errors import Reason, SemfaceError
from semface.extraction.alignment import CROP_SIZE, Square, crop_face, face_square
from semface.extraction.detection import Detection, DetectorOptions, FaceDetector
from semface.extraction.quality import face_quality
from semface.inference.engine import Engine, ModelMetadata

DESCRIPTION_MODEL: Final = "descriptor_extraction"
MODELS: Final = (
    "face_detection_proposal",
    "face_detection_refinement",
    "face_detection_output",
    DESCRIPTION_MODEL,
)
"""The networks that extraction needs."""

CANARY_SIDE: Final = 64
MAXIMUM_FACES: Final = 64


@dataclass(frozen=True, slots=True)
class Face:
    """One described face of a photograph.

    ``box`` (x0, y0, x1, y1), ``square`` (left, top, side) and ``landmarks`` (5, 2) are in pixels of the upright
    photograph and may lie outside it; ``square`` is what the network saw, so ``descriptors`` (257,) project into it.
    ``confidence`` and ``quality`` lie between 0 and 1.
    """

    box: NDArray[np.float32]
    square: Square
    landmarks: NDArray[np.float32]
    confidence: float
    quality: float
    descriptors: Descriptors


class Extractor:
    """Finds and describes faces with the networks of an engine."""

    def __init__(
        self,
        engine: Engine,
        detector: DetectorOptions | None = None,
        maximum_faces: int = MAXIMUM_FACES,
        minimum_quality: float = 0.0,
    ) -> None:
        """Use ``engine``, which must serve all of ``MODELS``.

        Of a crowd, the ``maximum_faces`` largest are described; faces of less than ``minimum_quality`` are left out.
        """
        self._engine = engine
        self._detector = FaceDetector(engine, detector)
        self._maximum_faces = maximum_faces
        self._minimum_quality = minimum_quality

    def models(self) -> list[ModelMetadata]:
        """Return the networks that find and describe. Raises MODEL_UNKNOWN when the repository lacks one."""
        return [self._engine.metadata(name) for name in MODELS]

    async def extract(self, rgb: NDArray[np.uint8]) -> list[Face]:
        """Return the good enough faces in ``rgb`` uint8 (H, W, 3), the largest first; perhaps none."""
        return self._good(await self._describe_all(rgb))

    async def extract_some(self, rgb: NDArray[np.uint8]) -> list[Face]:
        """Return as ``extract`` at least one face; raises NO_FACE, or LOW_QUALITY where none is good enough."""
        faces = await self._describe_all(rgb)
        if not faces:
            raise SemfaceError(Reason.NO_FACE, "no face was found in the photograph", field="image")
        good = self._good(faces)
        if not good:
            best = max(face.quality for face in faces)
            message = f"the best face has quality {best:.2f}, below {self._minimum_quality:.2f}: too small or blurred"
            raise SemfaceError(Reason.LOW_QUALITY, message, field="image")
        return good

    def _good(self, faces: Sequence[Face]) -> list[Face]:
        return [face for face in faces if face.quality >= self._minimum_quality]

    async def _describe_all(self, rgb: NDArray[np.uint8]) -> list[Face]:
        """Return every face, all of them through the network in one call."""
        found = await self._detector.detect(rgb)
        largest = sorted(found, key=lambda face: -_side(face))[: self._maximum_faces]
        squares = [face_square(face.box) for face in largest]
        crops = await asyncio.to_thread(lambda: [crop_face(rgb, square) for square in squares])
        descriptors = await self.describe(crops)
        return [
            Face(face.box, square, face.landmarks, face.confidence, face_quality(crop, face.box, face.landmarks), row)
            for face, square, crop, row in zip(largest, squares, crops, descriptors, strict=True)
        ]

    async def describe(self, crops: Sequence[NDArray[np.uint8]]) -> Descriptors:
        """Return the descriptors (N, 257) of N ``crops`` uint8 (112, 112, 3) in one call of the network."""
        if not crops:
            return np.empty((0, DESCRIPTOR_SIZE), np.float32)
        outputs = await self._engine.infer(DESCRIPTION_MODEL, {"crops": np.stack(crops)})
        return outputs["descriptors"]

    async def probe(self) -> None:
        """Run every network once on noise; raises when one cannot run or does not answer with finite numbers."""
        random = np.random.default_rng(0)
        for name, side in zip(MODELS, (CANARY_SIDE, 24, 48), strict=False):
            images = random.uniform(-1, 1, (1, 3, side, side)).astype(np.float32)
            outputs = await self._engine.infer(name, {"images": images})
            _require_finite(name, *outputs.values())
        crop = random.integers(0, 256, (CROP_SIZE, CROP_SIZE, 3), dtype=np.uint8)
        _require_finite(DESCRIPTION_MODEL, await self.describe([crop]))


def _side(face: Detection) -> float:
    return float(max(face.box[2] - face.box[0], face.box[3] - face.box[1]))


def _require_finite(name: str, *arrays: NDArray[np.float32]) -> None:
    if not all(array.size and np.isfinite(array).all() for array in arrays):
        raise RuntimeError(f"{name} answers with nothing or with numbers that are not finite")
