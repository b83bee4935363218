"""All recognisers on the same faces: those of synthetic 3-D scans, as scans and as pictures of them from the front.

A scan has sixteen classes, a photograph eight. Four are shown by both, and each recogniser is asked which of these four
it sees. What looks at descriptors is told those that were coded at the default quality and decoded.
"""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

import numpy as np
import onnx
from numpy.typing import NDArray

from semface.codec.core import Codec
from semface.descriptors import PORTION_SLICES, Portion
from semface.errors import Reason, SemfaceError
from semface.evaluation.coding import transmit
from semface.evaluation.pictures import view_face
from semface.evaluation.scan_recognition import error_over_people
from semface.evaluation.synthetic_scans import TRAINING_PEOPLE
from semface.extraction.core import Extractor
from semface.extraction.detection import FaceDetector
from semface.extraction.scans.core import ScanReader
from semface.extraction.scans.frontal_view import view
from semface.extraction.scans.mesh import Scan
from semface.inference.embedded import load_network
from semface.inference.engine import Engine
from semface.inference.repository import ModelRepository
from semface.meaning import SCAN_EXPRESSIONS
from semface.recognisers import RECOGNISERS, Recogniser, Seen
from semface.understanding.core import Understanding

SHOWN_BY_BOTH: Final[Mapping[str, str]] = MappingProxyType(
    {"neutral": "neutral", "smile": "happiness", "anger": "anger", "sadness": "sadness"}
)
"""Expressions of scans, and what photographs of them show."""

ScanOf = Callable[[int, int], Scan]
"""Draws a person in an expression, both by number."""

ROUNDS: Final = 50
"""Runs of each network; the median counts."""


@dataclass(frozen=True, slots=True)
class RecogniserFigures:
    """One row of the comparison; ``accuracy`` is over faces, its standard error over people, None for one person."""

    model: str
    looks_at: str
    parameters: int
    """Numbers in the network's file; batch norms are folded."""
    megabytes: float
    milliseconds: float
    """Of the network alone, one face, one thread: median of the rounds, in which the networks take turns."""
    accuracy: float
    standard_error: float | None

    def as_dict(self) -> dict[str, str | float | None]:
        """Return the figures by name."""
        return asdict(self)


async def compare_recognisers(
    engine: Engine, repository: Path, scan_of: ScanOf, people: int, progress: Callable[[int], None]
) -> list[RecogniserFigures]:
    """Compare every recogniser on the first ``people`` of the scans' test, whom AMDFN's training did not see.

    ``scan_of`` draws a person in one of ``SCAN_EXPRESSIONS``, both by number, as ``ScanGenerator.scan`` does. A scan
    whose face is not found is wrong for what looks at scans; what looks at pictures is shown the whole one.
    Raises MODEL_UNKNOWN when ``repository``, which ``engine`` serves, lacks one of them.
    """
    costs = _costs(repository)
    eyes, understanding = _Eyes(engine, Codec(engine, repository)), Understanding(engine)
    hit = {name: np.zeros((people, len(SHOWN_BY_BOTH)), bool) for name in RECOGNISERS}
    for row in range(people):
        for column, shown in enumerate(SHOWN_BY_BOTH):
            scan = scan_of(TRAINING_PEOPLE + row, SCAN_EXPRESSIONS.index(shown))
            for sees, seen in (await eyes.look(scan)).items():
                for recogniser in (one for one in RECOGNISERS.values() if one.sees is sees):
                    told = await understanding.recognitions(recogniser, seen[None])
                    hit[recogniser.name][row, column] = _choice(recogniser, told["confidences"][0]) == column
            progress(1)
    return [
        RecogniserFigures(
            name, recogniser.sees.value, *costs[name], float(hit[name].mean()), error_over_people(hit[name])
        )
        for name, recogniser in RECOGNISERS.items()
    ]


class _Eyes:
    """Sees a scan in each way that recognisers do."""

    def __init__(self, engine: Engine, codec: Codec) -> None:
        self._detector, self._extractor, self._codec = FaceDetector(engine), Extractor(engine), codec
        self._reader = ScanReader(self._extractor)

    async def look(self, scan: Scan) -> dict[Seen, NDArray[np.generic]]:
        """Return what is seen, without attribute images where no face is found in the scan."""
        crop = (await view_face(self._detector, view(scan, np.eye(3)).picture)).crop
        _, decoded = await transmit(self._codec, await self._extractor.describe([crop]), Portion.EXPRESSION)
        told = decoded[0][PORTION_SLICES[Portion.EXPRESSION]]
        seen: dict[Seen, NDArray[np.generic]] = {Seen.CROP: crop, Seen.DESCRIPTORS: told}
        try:
            seen[Seen.ATTRIBUTE_IMAGES] = (await self._reader.attribute_images(scan)).images
        except SemfaceError as error:
            if error.reason not in (Reason.NO_FACE, Reason.LOW_QUALITY):
                raise
        return seen


def _choice(recogniser: Recogniser, confidences: NDArray[np.float32]) -> int:
    """Return the place in ``SHOWN_BY_BOTH`` of the one that has the highest of ``confidences``."""
    names = SHOWN_BY_BOTH.keys() if recogniser.classes == SCAN_EXPRESSIONS else SHOWN_BY_BOTH.values()
    return int(np.argmax([confidences[recogniser.classes.index(name)] for name in names]))


def _costs(repository: Path) -> dict[str, tuple[int, float, float]]:
    """Return parameters, size in MB and milliseconds of each recogniser of ``repository``."""
    models = ModelRepository(repository)
    files = {name: models.model(name).path for name in RECOGNISERS}
    sessions = {name: load_network(file, name) for name, file in files.items()}
    faces = {
        name: {recogniser.tensor: np.zeros((1, *recogniser.shape), recogniser.dtype)}
        for name, recogniser in RECOGNISERS.items()
    }
    seconds: dict[str, list[float]] = {name: [] for name in RECOGNISERS}
    for _ in range(ROUNDS):
        for name, session in sessions.items():
            begin = time.perf_counter()
            session.run(None, faces[name])
            seconds[name].append(time.perf_counter() - begin)
    return {
        name: (
            sum(math.prod(tensor.dims) for tensor in onnx.load(file).graph.initializer),
            file.stat().st_size / 1e6,
            1e3 * float(np.median(seconds[name])),
        )
        for name, file in files.items()
    }
