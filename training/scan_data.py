"""Attribute images of synthetic 3-D scans, kept in the cache: one file for each person, so that a stopped run goes on.

    python -m training.scan_data

Each training person is drawn ``TAKES`` times in each expression, each other one once. The scans go the way of a served
one: their face is found by the networks of ``model_repository``. A scan in which none is found has no images and counts
as wrong.
"""

import argparse
import asyncio
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from semface.errors import Reason, SemfaceError
from semface.evaluation.synthetic_faces import IctModel
from semface.evaluation.synthetic_scans import PEOPLE, TRAINING_PEOPLE, ScanGenerator
from semface.extraction.core import Extractor
from semface.extraction.scans.attribute_images import CHANNELS, IMAGE_SIZE
from semface.extraction.scans.core import ScanReader
from semface.extraction.scans.mesh import Scan
from semface.inference.embedded import EmbeddedEngine
from semface.meaning import SCAN_EXPRESSIONS
from semface.morphable.model import MorphableModel
from training.datasets import REPOSITORY, cache, root
from training.own_data import IncompleteDataError
from training.own_scans import SCAN_COLLECTIONS

TAKES: Final = 4
"""Scans of each training person in each expression; FaceScape has one."""
UNUSABLE: Final = (Reason.NO_FACE, Reason.LOW_QUALITY, Reason.NOT_FINITE, Reason.SCAN_UNDECODABLE)
"""Why a scan has no images."""


@dataclass(frozen=True, slots=True)
class ScanImages:
    """Attribute images float16 (N, 8, 112, 112), class and person of each (N,), and whether its face was found (N,)."""

    images: NDArray[np.float16]
    labels: NDArray[np.int64]
    people: NDArray[np.int64]
    found: NDArray[np.bool_]

    def part(self, kept: NDArray[np.bool_]) -> "ScanImages":
        """Return those that are ``kept`` (N,)."""
        return ScanImages(self.images[kept], self.labels[kept], self.people[kept], self.found[kept])


def folder() -> Path:
    """Return where the images lie."""
    path = cache() / "scans"
    path.mkdir(exist_ok=True)
    return path


def build(people: range, take: int) -> None:
    """Write the images of ``people`` that are not there yet."""
    generator = ScanGenerator(IctModel.load(root() / "ict_face.npz"), MorphableModel.shipped())
    missing = [person for person in people if not _file(person, take).is_file()]

    async def work() -> None:
        engine = EmbeddedEngine(REPOSITORY / "model_repository", 1)
        reader = ScanReader(Extractor(engine))
        for person in tqdm(missing, desc="people", mininterval=10):
            scans = [partial(generator.scan, person, k, take) for k in range(len(SCAN_EXPRESSIONS))]
            images = np.stack([await _images(reader, scan) for scan in scans])
            part = _file(person, take).with_suffix(".part.npy")
            np.save(part, images)
            part.rename(_file(person, take))
        await engine.close()

    asyncio.run(work())


async def _images(reader: ScanReader, make: Callable[[], Scan]) -> NDArray[np.float16]:
    """Return the images (8, 112, 112) of the scan that ``make`` gives; all 0 where no face is found."""
    try:
        found = await reader.attribute_images(make())
    except SemfaceError as error:
        if error.reason not in UNUSABLE:
            raise
        return np.zeros((len(CHANNELS), IMAGE_SIZE, IMAGE_SIZE), np.float16)
    return found.images.astype(np.float16)


def _file(person: int, take: int) -> Path:
    return folder() / f"person-{person:03d}-take-{take}.npy"


def load(people: range, takes: int = 1) -> ScanImages:
    """Return the images of ``people``, ``takes`` of each.

    Raises IncompleteDataError where some were not drawn.
    """
    files = [_file(person, take) for take in range(takes) for person in people]
    if missing := sum(not path.is_file() for path in files):
        raise IncompleteDataError(f"{missing} of {len(files)} files of scans are missing; run training.scan_data")
    images = np.concatenate([np.load(path) for path in files])
    labels = np.tile(np.arange(len(SCAN_EXPRESSIONS)), len(files))
    numbers = np.array([int(path.name.split("-")[1]) for path in files])
    return ScanImages(images, labels, np.repeat(numbers, len(SCAN_EXPRESSIONS)), images.any(axis=(1, 2, 3)))


def load_own(name: str, folder_of_data: Path) -> tuple[ScanImages, tuple[str, ...], NDArray[np.bool_]]:
    """Return the images of a user's own scans, the names of their classes, and which are for the test (N,).

    The images are kept in the cache. The test is a fifth of the people, those whose name's SHA-256 is 0 modulo 5.
    Raises IncompleteDataError for a folder that is half there.
    """
    own = SCAN_COLLECTIONS[name](folder_of_data)
    key = hashlib.sha256("\n".join(str(scan.file.resolve()) for scan in own.scans).encode()).hexdigest()[:16]
    kept = folder() / f"own-{name}-{key}.npy"
    if not kept.is_file():
        np.save(kept.with_suffix(".part.npy"), asyncio.run(_own_images([scan.scan for scan in own.scans])))
        kept.with_suffix(".part.npy").rename(kept)
    images = np.load(kept)
    names = sorted({scan.person for scan in own.scans})
    people = np.array([names.index(scan.person) for scan in own.scans])
    held_out = np.array([int.from_bytes(hashlib.sha256(person.encode()).digest()) % 5 == 0 for person in names])
    labels = np.array([scan.label for scan in own.scans])
    return ScanImages(images, labels, people, images.any(axis=(1, 2, 3))), own.classes, held_out[people]


async def _own_images(scans: Sequence[Callable[[], Scan]]) -> NDArray[np.float16]:
    engine = EmbeddedEngine(REPOSITORY / "model_repository", 1)
    try:
        reader = ScanReader(Extractor(engine))
        return np.stack([await _images(reader, scan) for scan in tqdm(scans, desc="scans", mininterval=10)])
    finally:
        await engine.close()


def main() -> None:
    """Draw the scans and their images."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, default=PEOPLE)
    parser.add_argument("--takes", type=int, default=TAKES, help="scans of each training person in each expression")
    arguments = parser.parse_args()
    for take in range(arguments.takes):
        build(range(arguments.people if take == 0 else min(arguments.people, TRAINING_PEOPLE)), take)


if __name__ == "__main__":
    main()
