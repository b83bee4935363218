"""Attribute images of synthetic 3-D scans, kept in the cache: one file for each person, so that a stopped run goes on.

    python -m training.scan_data --people 251

The scans go the way of a served one: their face is found by the networks of ``model_repository``. A scan in which none
is found has no images and counts as wrong.
"""

import argparse
import asyncio
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from semface.errors import Reason, SemfaceError
from semface.evaluation.synthetic_faces import IctModel
from semface.evaluation.synthetic_scans import PEOPLE, TRAINING_PEOPLE, ScanGenerator
from semface.extraction.core import Extractor
from semface.extraction.scans.attribute_images import CHANNELS, IMAGE_SIZE
from semface.extraction.scans.core import ScanReader
from semface.inference.embedded import EmbeddedEngine
from semface.meaning import SCAN_EXPRESSIONS
from semface.morphable.model import MorphableModel
from training.datasets import REPOSITORY, cache, root


@dataclass(frozen=True, slots=True)
class ScanImages:
    """Attribute images float16 (N, 8, 112, 112), the class of each (N,), and whether its face was found (N,)."""

    images: NDArray[np.float16]
    labels: NDArray[np.int64]
    found: NDArray[np.bool_]


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
            images = np.stack([await _images(reader, generator, person, k, take) for k in range(len(SCAN_EXPRESSIONS))])
            part = _file(person, take).with_suffix(".part.npy")
            np.save(part, images)
            part.rename(_file(person, take))
        await engine.close()

    asyncio.run(work())


async def _images(
    reader: ScanReader, generator: ScanGenerator, person: int, expression: int, take: int
) -> NDArray[np.float16]:
    """Return the images (8, 112, 112) of one scan; all 0 where no face is found."""
    try:
        found = await reader.attribute_images(generator.scan(person, expression, take))
    except SemfaceError as error:
        if error.reason not in (Reason.NO_FACE, Reason.LOW_QUALITY):
            raise
        return np.zeros((len(CHANNELS), IMAGE_SIZE, IMAGE_SIZE), np.float16)
    return found.images.astype(np.float16)


def _file(person: int, take: int) -> Path:
    return folder() / f"person-{person:03d}-take-{take}.npy"


def load(people: range, takes: int = 1) -> ScanImages:
    """Return the images of ``people``, of every take that is there up to ``takes``."""
    files = [path for take in range(takes) for person in people if (path := _file(person, take)).is_file()]
    images = np.concatenate([np.load(path) for path in files])
    labels = np.tile(np.arange(len(SCAN_EXPRESSIONS)), len(files))
    return ScanImages(images, labels, images.any(axis=(1, 2, 3)))


def main() -> None:
    """Draw the scans and their images."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, default=PEOPLE)
    parser.add_argument("--takes", type=int, default=1, help="scans of each training person in each expression")
    arguments = parser.parse_args()
    for take in range(arguments.takes):
        build(range(arguments.people if take == 0 else min(arguments.people, TRAINING_PEOPLE)), take)


if __name__ == "__main__":
    main()
