"""How well expressions are told of synthetic 3-D scans, on the path that serves, from file to answer."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import trimesh
from numpy.typing import NDArray

from semface.errors import Reason, SemfaceError
from semface.evaluation.synthetic_scans import PEOPLE, TRAINING_PEOPLE, ScanGenerator
from semface.extraction.core import Extractor
from semface.extraction.scans.core import ScanReader
from semface.extraction.scans.mesh import Scan
from semface.extraction.scans.reading import read_scan
from semface.inference.engine import Engine
from semface.meaning import SCAN_EXPRESSIONS
from semface.recognisers import find_recogniser
from semface.understanding.core import Understanding

TEST_PEOPLE: Final = PEOPLE - TRAINING_PEOPLE


@dataclass(frozen=True, slots=True)
class ScanFigures:
    """``hit`` (P, 16) tells of which scans the expression was recognised; a face not found is none of them."""

    hit: NDArray[np.bool_]
    not_found: int
    seconds: NDArray[np.float64]
    """(F, 2) from a scan's bytes to its attribute images, of each scan whose face was found: passed, and of a core."""

    def as_json(self) -> dict[str, Any]:
        """Return the figures by name; the standard error is over people."""
        wall, core = (np.median(self.seconds, axis=0) * 1000).tolist() if len(self.seconds) else (None, None)
        return {
            "accuracy": float(self.hit.mean()),
            "standard_error": error_over_people(self.hit),
            "scans": self.hit.size,
            "not_found": self.not_found,
            "milliseconds_p50": wall,
            "core_milliseconds_p50": core,
            "recognised": dict(zip(SCAN_EXPRESSIONS, self.hit.mean(axis=0).tolist(), strict=True)),
        }


async def evaluate_scans(
    engine: Engine, generator: ScanGenerator, people: int, progress: Callable[[int], None]
) -> ScanFigures:
    """Recognise all expressions of the first ``people`` of the test, whom training did not see, with ``amdfn``."""
    reader, understanding, recogniser = ScanReader(Extractor(engine)), Understanding(engine), find_recogniser("amdfn")
    hit, seconds, not_found = np.zeros((people, len(SCAN_EXPRESSIONS)), bool), [], 0
    for row in range(people):
        for expression in range(len(SCAN_EXPRESSIONS)):
            file = ply(generator.scan(TRAINING_PEOPLE + row, expression))
            begin, spent = time.perf_counter(), time.process_time()
            try:
                found = await reader.attribute_images(read_scan(file))
            except SemfaceError as error:
                if error.reason not in (Reason.NO_FACE, Reason.LOW_QUALITY):
                    raise
                not_found += 1
            else:
                seconds.append((time.perf_counter() - begin, time.process_time() - spent))
                answer = await understanding.recognitions(recogniser, found.images[None])
                hit[row, expression] = int(answer["confidences"][0].argmax()) == expression
            progress(1)
    return ScanFigures(hit, not_found, np.array(seconds))


def error_over_people(hit: NDArray[np.bool_]) -> float | None:
    """Return the standard error of the mean of ``hit`` (P, K), a row for each person; None for one person."""
    people = hit.mean(axis=1)
    return float(people.std(ddof=1) / np.sqrt(len(people))) if len(people) > 1 else None


def ply(scan: Scan) -> bytes:
    """Return ``scan`` as a binary PLY file."""
    colours = scan.colours
    if colours is not None:
        colours = np.column_stack([np.rint(colours), np.full(len(colours), 255)]).astype(np.uint8)
    mesh = trimesh.Trimesh(scan.vertices, scan.triangles, vertex_colors=colours, process=False)
    data = mesh.export(file_type="ply")
    assert isinstance(data, bytes)
    return data
