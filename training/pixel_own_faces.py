"""Small grey faces of a user's own data set, found as the system that serves finds them."""

import asyncio
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from semface.evaluation.pictures import view_face
from semface.extraction.alignment import crop_face
from semface.extraction.detection import FaceDetector
from semface.inference.embedded import EmbeddedEngine
from semface.meaning import EXPRESSIONS
from training import datasets
from training.faces import CROP_MARGIN, CROP_SIDE
from training.own_data import LABELLED_DATA, IncompleteDataError, OwnPicture
from training.own_recipe import require_both_parts
from training.pixel_faces import PixelFaces, grey_crops


def load_own_faces(name: str, folder: Path, repository: Path) -> PixelFaces:
    """Return the faces of the data set ``name`` in ``folder``, found by the detector of ``repository``.

    One label stands for all votes; a tenth, by the SHA-256 of the files, is for selection. Raises IncompleteDataError
    for a folder that is half there.
    """
    data = LABELLED_DATA[name](folder)
    found = asyncio.run(_find(data.pictures, repository))
    if not found:
        raise IncompleteDataError("none of the pictures can be decoded")
    rows = np.array(list(found))
    labels = data.labels[rows]
    selection = np.array([datasets.is_selection(data.pictures[row].file.read_bytes()) for row in rows])
    require_both_parts(selection)
    return PixelFaces(
        tuple(data.pictures[row].name for row in rows),
        torch.from_numpy(np.stack(list(found.values()))),
        torch.eye(len(EXPRESSIONS))[labels],
        torch.from_numpy(labels),
        selection,
    )


async def _find(pictures: tuple[OwnPicture, ...], repository: Path) -> dict[int, NDArray[np.uint8]]:
    """Return the grey face with margin of each picture that can be decoded, by its place."""
    engine = EmbeddedEngine(repository)
    try:
        detector = FaceDetector(engine)
        found = {}
        for row, picture in enumerate(tqdm(pictures, desc="finding faces", unit="picture")):
            pixels = picture.pixels()
            if pixels is not None:
                left, top, side = (await view_face(detector, pixels)).square
                margin = side * (CROP_MARGIN - 1.0) / 2.0
                crop = crop_face(pixels, (left - margin, top - margin, side * CROP_MARGIN), CROP_SIDE)
                found[row] = grey_crops(crop[None])[0]
        return found
    finally:
        await engine.close()
