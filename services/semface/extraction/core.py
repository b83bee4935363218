"""From a photograph to the 257 numbers of each face in it: detect, crop, describe.

Knows arrays and names, no transport.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from semface.descriptors import DESCRIPTOR_SIZE, Descriptors
from semface.errors import Reason, SemfaceError
from semface.extraction.alignment import CROP_SIZE, Picture, Square, crop_face, face_square, size_of
from semface.extraction.detection import DETECTION_MODELS, Detection, DetectorOptions, FaceDetector
from semface.extraction.quality import QualityFactors
from semface.extraction.reading_order import reading_order
from semface.inference.engine import Engine, ModelMetadata, Worker
from semface.tracing.spans import span

DESCRIPTION_MODEL: Final = "descriptor_extraction"
MODELS: Final = (*DETECTION_MODELS, DESCRIPTION_MODEL)
"""The networks that extraction needs."""

CANARY_SIDE: Final = 64
MAXIMUM_FACES: Final = 64


@dataclass(frozen=True, slots=True)
class Face:
    """One described face of a photograph.

    ``box`` (x0, y0, x1, y1), ``square`` (left, top, side) and ``landmarks`` (5, 2) are in pixels of the upright
    photograph and may lie outside it; ``square`` is what the network saw, so ``descriptors`` (257,) project into it.
    ``confidence`` is the detector's, 0 to 1; ``factors`` make the quality. ``crop`` uint8 (112, 112, 3) is the square
    as the network saw it.
    """

    box: NDArray[np.float32]
    square: Square
    landmarks: NDArray[np.float32]
    confidence: float
    factors: QualityFactors
    descriptors: Descriptors
    crop: NDArray[np.uint8]

    @property
    def quality(self) -> float:
        """How well the face can be described, 0 (useless) to 1 (good)."""
        return self.factors.quality

    @property
    def size(self) -> float:
        """The longer side of the box, in pixels."""
        return _side(self.box)


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

        Of a crowd, the ``maximum_faces`` largest are described. Nothing should be decided on faces of less than
        ``minimum_quality``.
        """
        self._engine = engine
        self._detector = FaceDetector(engine, detector)
        self._maximum_faces = maximum_faces
        self.minimum_quality = minimum_quality

    @property
    def engine(self) -> str:
        """The name of what runs the networks."""
        return self._engine.name

    def models(self) -> list[ModelMetadata]:
        """Return the networks that find and describe. Raises MODEL_UNKNOWN when the repository lacks one."""
        return [self._engine.metadata(name) for name in MODELS]

    async def extract(self, picture: Picture) -> list[Face]:
        """Return every face in ``picture``, good or not, in reading order; perhaps none.

        All go through the network in one call.
        """
        seen, squares, crops = await self._engine.work_through(lambda worker: self._cut_out(worker, picture))
        with span("describe"):
            descriptors, cosines = await self._described(crops)
        size = size_of(picture)
        return [
            Face(
                face.box,
                square,
                face.landmarks,
                face.confidence,
                QualityFactors.measure(crop, face.box, face.landmarks, size, face.confidence, row, float(cosine)),
                row,
                crop,
            )
            for face, square, crop, row, cosine in zip(seen, squares, crops, descriptors, cosines, strict=True)
        ]

    async def _cut_out(
        self, worker: Worker, picture: Picture
    ) -> tuple[list[Detection], list[Square], list[NDArray[np.uint8]]]:
        """Return the faces of ``picture`` in reading order, with the square of each and what it shows."""
        with span("detect"):
            found = await self._detector.search(worker, picture)
        largest = sorted(found, key=lambda face: -_side(face.box))[: self._maximum_faces]
        seen = [largest[index] for index in reading_order([face.box for face in largest])]
        squares = [face_square(face.box) for face in seen]
        return seen, squares, await worker.compute(lambda: [crop_face(picture, square) for square in squares])

    async def extract_some(self, picture: Picture) -> list[Face]:
        """Return as ``extract``, but raise NO_FACE, or LOW_QUALITY where no face reaches ``minimum_quality``."""
        faces = await self.extract(picture)
        if not faces:
            raise SemfaceError(Reason.NO_FACE, "no face was found in the photograph", field="image")
        best = max(faces, key=lambda face: face.quality)
        if best.quality < self.minimum_quality:
            told = f"the best face has quality {best.quality:.2f}, below {self.minimum_quality:.2f}"
            raise SemfaceError(Reason.LOW_QUALITY, f"{told}: {best.factors.complaint}", field="image")
        return faces

    async def extract_only(self, picture: Picture, *, largest: bool = False) -> Face:
        """Return the one face in ``picture`` that reaches ``minimum_quality``; raises what ``extract_some`` raises.

        Of several the ``largest`` will do, or SEVERAL_FACES is raised.
        """
        good = [face for face in await self.extract_some(picture) if face.quality >= self.minimum_quality]
        if len(good) > 1 and not largest:
            message = f"the photograph shows {len(good)} faces where one is wanted"
            raise SemfaceError(Reason.SEVERAL_FACES, message, field="image")
        return max(good, key=lambda face: face.size)

    async def describe(self, crops: Sequence[NDArray[np.uint8]]) -> Descriptors:
        """Return the descriptors (N, 257) of N ``crops`` uint8 (112, 112, 3) in one call of the network."""
        return (await self._described(crops))[0]

    async def _described(self, crops: Sequence[NDArray[np.uint8]]) -> tuple[Descriptors, NDArray[np.float32]]:
        """Return the descriptors (N, 257) of N crops and the identity cosine (N,), 0 to 1, to expect of each."""
        if not crops:
            return np.empty((0, DESCRIPTOR_SIZE), np.float32), np.empty(0, np.float32)
        outputs = await self._engine.infer(DESCRIPTION_MODEL, {"crops": np.stack(crops)})
        return outputs["descriptors"], outputs["quality"][:, 0]

    async def probe(self) -> None:
        """Run every network once on noise; raises when one cannot run or does not answer with finite numbers."""
        random = np.random.default_rng(0)
        for name, side in zip(MODELS, (CANARY_SIDE, 24, 48), strict=False):
            images = random.uniform(-1, 1, (1, 3, side, side)).astype(np.float32)
            outputs = await self._engine.infer(name, {"images": images})
            _require_finite(name, *outputs.values())
        crop = random.integers(0, 256, (CROP_SIZE, CROP_SIZE, 3), dtype=np.uint8)
        _require_finite(DESCRIPTION_MODEL, *await self._described([crop]))


def _side(box: NDArray[np.float32]) -> float:
    return float(max(box[2] - box[0], box[3] - box[1]))


def _require_finite(name: str, *arrays: NDArray[np.float32]) -> None:
    if not all(array.size and np.isfinite(array).all() for array in arrays):
        raise RuntimeError(f"{name} answers with nothing or with numbers that are not finite")
