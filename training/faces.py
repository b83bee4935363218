"""Find every face of the data sets once and ask the teachers about it: ``python -m training.faces``.

For each data set the cache then holds ``faces/NAME.npz`` (names, squares, detected, landmarks in square fractions,
presence), ``faces/NAME_crops.npy`` (uint8, the square with a margin) and, where networks learn from it,
``teachers/NAME.npz``.
"""

import argparse
import asyncio
import io
from collections.abc import Iterable
from functools import cache as remember
from multiprocessing import Pool
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from semface.evaluation.identity_teacher import landmark_box
from semface.extraction.alignment import crop_face, face_square
from semface.extraction.detection import FaceDetector
from semface.inference.embedded import EmbeddedEngine
from training.datasets import REPOSITORY, Picture, cache, ferplus, lfw_images
from training.teacher_networks import dense_landmarks, identity_embedding

CROP_SIDE: Final = 144
"""Side of a cached crop in pixels."""
CROP_MARGIN: Final = 144 / 112
"""Side of a cached crop over the face square's: room for shifted, turned and scaled crops in training."""

LEARNED: Final = ("lfw", "ferplus_train")
"""The data sets that networks learn from; the identity teacher is asked about their faces."""
DATASETS: Final = (*LEARNED, "ferplus_valid")


class FaceRecord(NamedTuple):
    """What is known of the central face of one picture."""

    square: tuple[float, float, float]
    detected: bool
    landmarks: NDArray[np.float32]
    presence: float
    crop: NDArray[np.uint8]
    embedding: NDArray[np.float32]


@remember
def _detector() -> FaceDetector:
    return FaceDetector(EmbeddedEngine(REPOSITORY / "model_repository"))


def find_face(picture: Picture, with_identity: bool) -> FaceRecord:
    """Detect the face nearest to the picture's centre (else take the whole picture) and run the teachers on it."""
    with Image.open(io.BytesIO(picture.data)) as image:
        rgb = np.asarray(image.convert("RGB"))
    height, width = rgb.shape[:2]
    middle = np.array([width, height]) / 2.0
    found = _loop().run_until_complete(_detector().detect(rgb))
    nearest = min(found, key=lambda f: np.linalg.norm((f.box[:2] + f.box[2:]) / 2.0 - middle), default=None)
    box = np.array([0.0, 0.0, width, height]) if nearest is None else nearest.box.astype(float)
    eyes = None if nearest is None else nearest.landmarks[:2].astype(float)
    left, top, side = face_square(box)
    landmarks, presence = dense_landmarks(rgb, box, eyes)
    embedding = identity_embedding(rgb, landmark_box(landmarks)) if with_identity else np.zeros(0)
    margin = side * (CROP_MARGIN - 1.0) / 2.0
    crop = crop_face(rgb, (left - margin, top - margin, side * CROP_MARGIN), CROP_SIDE)
    scaled = (landmarks - [left, top, 0.0]) / side
    return FaceRecord((left, top, side), nearest is not None, scaled.astype(np.float32), presence, crop, embedding)


@remember
def _loop() -> asyncio.AbstractEventLoop:
    return asyncio.new_event_loop()


def _find_face(work: tuple[Picture, bool]) -> FaceRecord:
    return find_face(*work)


def pictures_of(name: str) -> Iterable[Picture]:
    """Yield the pictures of one of ``DATASETS``."""
    return lfw_images() if name == "lfw" else ferplus(name.removeprefix("ferplus_"))


def build(name: str, processes: int) -> None:
    """Write the cache files of the data set ``name``."""
    pictures = list(pictures_of(name))
    folder = cache() / "faces"
    folder.mkdir(exist_ok=True)
    with Pool(processes) as pool:
        work = ((picture, name in LEARNED) for picture in pictures)
        records = list(tqdm(pool.imap(_find_face, work, chunksize=32), total=len(pictures), desc=name))
    names = np.array([picture.name for picture in pictures])
    np.save(folder / f"{name}_crops.npy", np.stack([record.crop for record in records]))
    np.savez(
        folder / f"{name}.npz",
        names=names,
        squares=np.array([record.square for record in records], np.float32),
        detected=np.array([record.detected for record in records]),
        landmarks=np.stack([record.landmarks for record in records]),
        presence=np.array([record.presence for record in records], np.float32),
    )
    if name in LEARNED:
        teachers = cache() / "teachers"
        teachers.mkdir(exist_ok=True)
        embedding = np.stack([record.embedding for record in records]).astype(np.float32)
        np.savez(teachers / f"{name}.npz", names=names, embedding=embedding)


def main() -> None:
    """Build what is missing in the cache."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--processes", type=int, default=2)
    arguments = parser.parse_args()
    for name in DATASETS:
        if not Path(cache() / "faces" / f"{name}.npz").exists():
            build(name, arguments.processes)


if __name__ == "__main__":
    main()
