"""Descriptors of a user's own pictures, and the identity teacher's answers; kept in the cache as they come.

The faces are found and described as the system that serves does it, with the networks of a model repository.
"""

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from semface.descriptors import DESCRIPTOR_SIZE
from semface.evaluation.identity_teacher import IDENTITY_SIZE, landmark_box
from semface.evaluation.pictures import CROP_BATCH, FaceView, Pixels, view_face
from semface.evaluation.rate_accuracy.kept_answers import KeptAnswers
from semface.extraction.core import MODELS, Extractor
from semface.extraction.detection import FaceDetector
from semface.inference.embedded import EmbeddedEngine
from semface.inference.engine import Engine
from training import datasets
from training.identity_targets import SIZE
from training.own_data import IncompleteDataError, OwnPicture
from training.teacher_networks import dense_landmarks, identity_embedding

SMALLEST_STRENGTH = 1e-6
"""Directions weaker than this share of the strongest are rounding, not faces."""


@dataclass(frozen=True, slots=True)
class DescribedOwn:
    """Of each picture that could be decoded: place in the list, descriptors (N, 257), teacher's numbers (N, 1024)."""

    rows: NDArray[np.intp]
    descriptors: NDArray[np.float32]
    embeddings: NDArray[np.float32]


def describe_own(pictures: Sequence[OwnPicture], repository: Path, *, with_identity: bool) -> DescribedOwn:
    """Describe ``pictures`` with the networks of ``repository``; goes on where a former run was cut off.

    Raises IncompleteDataError when none can be decoded.
    """
    return asyncio.run(_describe(pictures, repository, with_identity))


async def _describe(pictures: Sequence[OwnPicture], repository: Path, with_identity: bool) -> DescribedOwn:
    engine = EmbeddedEngine(repository)
    try:
        kept = KeptAnswers(_folder(engine, pictures, with_identity))
        files = {picture.name: picture for picture in pictures}
        missing = kept.missing(list(files))
        bar = tqdm(total=len(pictures), initial=len(pictures) - len(missing), desc="describing", unit="picture")
        for start in range(0, len(missing), CROP_BATCH):
            group = [files[name] for name in missing[start : start + CROP_BATCH]]
            kept.add([picture.name for picture in group], await _describe_group(engine, group, with_identity))
            bar.update(len(group))
        bar.close()
    finally:
        await engine.close()
    found = kept.gather([picture.name for picture in pictures])
    rows = np.flatnonzero(found["readable"])
    if len(rows) == 0:
        raise IncompleteDataError("none of the pictures can be decoded")
    return DescribedOwn(rows, found["descriptors"][rows], found["embeddings"][rows])


def _folder(engine: Engine, pictures: Sequence[OwnPicture], with_identity: bool) -> Path:
    """Return where answers are kept: named by the networks, the pictures' root and size, and what is asked."""
    networks = [str(engine.metadata(model).hash) for model in MODELS]
    sizes = [f"{picture.name} {picture.file.stat().st_size}" for picture in pictures]
    name = hashlib.sha256("\n".join([*networks, *sizes, str(with_identity)]).encode()).hexdigest()[:16]
    return datasets.cache() / "own" / name


async def _describe_group(
    engine: Engine, group: Sequence[OwnPicture], with_identity: bool
) -> dict[str, NDArray[np.generic]]:
    detector = FaceDetector(engine)
    descriptors = np.zeros((len(group), DESCRIPTOR_SIZE), np.float32)
    embeddings = np.zeros((len(group), IDENTITY_SIZE if with_identity else 0), np.float32)
    views: dict[int, FaceView] = {}
    for row, picture in enumerate(group):
        pixels = picture.pixels()
        if pixels is not None:
            views[row] = await view_face(detector, pixels)
            if with_identity:
                embeddings[row] = _identity(pixels, views[row])
    if views:
        descriptors[list(views)] = await Extractor(engine).describe([view.crop for view in views.values()])
    readable = np.array([row in views for row in range(len(group))])
    return {"readable": readable, "descriptors": descriptors, "embeddings": embeddings}


def _identity(pixels: Pixels, view: FaceView) -> NDArray[np.floating]:
    landmarks, _ = dense_landmarks(pixels, view.box, view.eyes)
    return identity_embedding(pixels, landmark_box(landmarks))


def own_targets(embeddings: NDArray[np.float32], learned: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return targets (N, 512) of teacher's ``embeddings`` (N, 1024): centred, principal directions, length one.

    Mean and directions come from the pictures ``learned`` (N,) from; few pictures have few directions, the rest is 0.
    """
    centred = embeddings - embeddings[learned].mean(axis=0)
    strengths, directions = np.linalg.eigh(centred[learned].T @ centred[learned])
    kept = np.flatnonzero(strengths > SMALLEST_STRENGTH * strengths[-1])[::-1][:SIZE]
    targets = np.zeros((len(embeddings), SIZE), np.float32)
    targets[:, : len(kept)] = centred @ directions[:, kept]
    return targets / np.maximum(np.linalg.norm(targets, axis=1, keepdims=True), 1e-6)
