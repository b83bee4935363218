"""How fast a photograph becomes descriptors: each stage, the whole, and what one more face costs.

The picture is 640 × 480: a given portrait on the left, grey on the right. For one more face the portrait's own face,
mirrored, takes the place of some of the grey, so that everything else stays the same.
"""

import io
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from semface.errors import Reason, SemfaceError
from semface.extraction.alignment import crop_face, face_square, resample
from semface.extraction.core import MODELS, Extractor
from semface.extraction.detection import FaceDetector
from semface.extraction.image import decode_image
from semface.inference.engine import Engine
from semface.inference.repository import ModelRepository

WIDTH: Final = 640
HEIGHT: Final = 480
GREY: Final = (127, 127, 127)
SECOND_FACE: Final = 150
"""Side in pixels of the square that shows the second face."""

JPEG_QUALITY: Final = 92
WARM_UP: Final = 5
BATCHES: Final = 3

Pixels = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class ExtractionFigures:
    """What ``semface bench extract`` prints. Times are milliseconds, medians where no percentile is named."""

    decode_ms: float
    """From the JPEG file to pixels."""
    detect_ms: float
    crop_ms: float
    network_ms: float
    """The extraction network on one face."""
    extract_p50_ms: float
    """Detection and extraction of the decoded photograph with one face."""
    extract_p99_ms: float
    extract_processor_ms: float
    """Time on the processor for the same; on a machine that others use too, the figure to trust."""
    more_face_ms: float
    """What a second face in the picture adds."""
    more_face_processor_ms: float
    faces_per_second_batched: float
    """Crops described in one second, handed over in one batch."""
    weights_megabytes: float
    """Files of all networks that detect and describe, in units of 10⁶ bytes."""

    def as_dict(self) -> dict[str, float]:
        """Return the figures by name."""
        return asdict(self)


def benchmark_picture(portrait: Image.Image) -> Image.Image:
    """Return a picture of 640 × 480: ``portrait`` on the left as high as the picture, at most 480 wide; then grey."""
    picture = Image.new("RGB", (WIDTH, HEIGHT), GREY)
    picture.paste(ImageOps.contain(portrait.convert("RGB"), (HEIGHT, HEIGHT), Image.Resampling.LANCZOS))
    return picture


async def measure_extraction(
    engine: Engine, repository: Path, portrait: Image.Image, *, rounds: int = 200, batch: int = 256
) -> ExtractionFigures:
    """Measure ``engine``, which serves ``repository``, on ``portrait``; every time is taken ``rounds`` times.

    Raises NO_FACE or SEVERAL_FACES when not exactly one face is found in the portrait.
    """
    extractor, detector = Extractor(engine), FaceDetector(engine)
    image = benchmark_picture(portrait)
    file = io.BytesIO()
    image.save(file, "JPEG", quality=JPEG_QUALITY)
    one = decode_image(file.getvalue())
    square = await _only_face(detector, one)
    two = await picture_with_second_face(detector, image)
    crop = crop_face(one, square)
    whole = await _times(lambda: extractor.extract(one), rounds)
    both = await _times(lambda: extractor.extract(two), rounds)
    described = await _times(lambda: extractor.describe([crop] * batch), BATCHES)
    return ExtractionFigures(
        decode_ms=(await _times(_awaitable(lambda: decode_image(file.getvalue())), rounds)).median,
        detect_ms=(await _times(lambda: detector.detect(one), rounds)).median,
        crop_ms=(await _times(_awaitable(lambda: crop_face(one, square)), rounds)).median,
        network_ms=(await _times(lambda: extractor.describe([crop]), rounds)).median,
        extract_p50_ms=whole.median,
        extract_p99_ms=float(np.percentile(whole.passed, 99)),
        extract_processor_ms=float(np.median(whole.processor)),
        more_face_ms=both.median - whole.median,
        more_face_processor_ms=float(np.median(both.processor) - np.median(whole.processor)),
        faces_per_second_batched=1e3 * batch / described.median,
        weights_megabytes=sum(ModelRepository(repository).model(name).path.stat().st_size for name in MODELS) / 1e6,
    )


async def _only_face(detector: FaceDetector, picture: Pixels) -> tuple[float, float, float]:
    found = await detector.detect(picture)
    if len(found) != 1:
        reason = Reason.SEVERAL_FACES if found else Reason.NO_FACE
        raise SemfaceError(reason, f"{len(found)} faces in the portrait; name one with one face", field="image")
    return face_square(found[0].box)


async def picture_with_second_face(detector: FaceDetector, image: Image.Image) -> Pixels:
    """Return the benchmark's picture ``image`` with its face a second time, mirrored, on the grey at the right.

    Raises NO_FACE or SEVERAL_FACES when ``image`` does not show exactly one face, or the copy is not found.
    """
    square = await _only_face(detector, np.asarray(image))
    second = ImageOps.mirror(resample(image, square, SECOND_FACE, GREY))
    picture = image.copy()
    picture.paste(second, (WIDTH - SECOND_FACE, (HEIGHT - SECOND_FACE) // 2))
    two = np.asarray(picture)
    if len(await detector.detect(two)) != 2:
        raise SemfaceError(Reason.NO_FACE, "the second face was not found; name another portrait", field="image")
    return two


def _awaitable(work: Callable[[], object]) -> Callable[[], Awaitable[object]]:
    async def run() -> object:
        return work()

    return run


@dataclass(frozen=True, slots=True)
class _Times:
    """Milliseconds of each run: ``passed`` on the clock, and spent on the ``processor``."""

    passed: NDArray[np.float64]
    processor: NDArray[np.float64]

    @property
    def median(self) -> float:
        return float(np.median(self.passed))


async def _times(work: Callable[[], Awaitable[object]], rounds: int) -> _Times:
    """Return the times of ``rounds`` runs of ``work``, after a few that are not counted."""
    times = []
    for _ in range(min(WARM_UP, rounds) + rounds):
        start = np.array([time.perf_counter(), time.process_time()])
        await work()
        times.append(1e3 * (np.array([time.perf_counter(), time.process_time()]) - start))
    passed, processor = np.array(times[-rounds:]).T
    return _Times(passed, processor)
