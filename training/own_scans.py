"""Readers of data sets of 3-D scans that a user brings, in the layouts in which they are handed out.

FaceScape (Yang et al., 2020): ``PERSON/models_reg/N_EXPRESSION.obj`` with material and texture beside it. Bosphorus
(Savran et al., 2008): ``bsNNN/bsNNN_E_EMOTION_0.bnt`` with the picture beside it. Neither comes with semface; each has
terms of its own.
"""

import re
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from semface.errors import Reason, SemfaceError
from semface.extraction.scans.mesh import Scan
from semface.extraction.scans.reading import read_scan_file
from semface.meaning import SCAN_EXPRESSIONS
from training.own_data import IncompleteDataError

FACESCAPE_NUMBERS: Final = MappingProxyType(
    {
        "neutral": 1,
        "smile": 2,
        "mouth_stretch": 3,
        "anger": 4,
        "jaw_left": 5,
        "jaw_right": 6,
        "jaw_forward": 7,
        "mouth_left": 8,
        "mouth_right": 9,
        "dimpler": 10,
        "lip_puckerer": 12,
        "lip_funneler": 13,
        "sadness": 14,
        "lip_roll": 15,
        "eye_closed": 18,
        "brow_raiser": 19,
    }
)
"""FaceScape's numbers of the sixteen expressions; its chin raiser, grin, blown cheeks and lowered brow are left out."""
BOSPHORUS_EMOTIONS: Final = ("ANGER", "DISGUST", "FEAR", "HAPPY", "SADNESS", "SURPRISE")
LONGEST_EDGE: Final = 8.0
"""Millimetres: neighbours in a grid that are further apart do not belong to one surface."""


@dataclass(frozen=True, slots=True)
class OwnScan:
    """One scan: who it shows, the number of its class, and the file."""

    person: str
    label: int
    file: Path
    read: Callable[[Path], Scan]

    def scan(self) -> Scan:
        """Return the mesh. Raises SCAN_UNDECODABLE and the like."""
        return self.read(self.file)


@dataclass(frozen=True, slots=True)
class OwnScans:
    """The scans of a data set and the names of its classes."""

    scans: tuple[OwnScan, ...]
    classes: tuple[str, ...]


def read_facescape(folder: Path) -> OwnScans:
    """Read FaceScape's registered meshes, of all people whose folders lie in ``folder``; the sixteen of the paper.

    Raises IncompleteDataError where there is none, or where one lacks an expression.
    """
    people = sorted((path.parent for path in folder.glob("*/models_reg")), key=_number)
    if not people:
        raise IncompleteDataError(f"{folder} holds no folder such as 1/models_reg; unpack the TU models into it")
    scans = []
    for person in people:
        for label, name in enumerate(SCAN_EXPRESSIONS):
            file = person / "models_reg" / f"{FACESCAPE_NUMBERS[name]}_{name}.obj"
            if not file.is_file():
                raise IncompleteDataError(f"{person / 'models_reg'} lacks {file.name}")
            scans.append(OwnScan(person.name, label, file, read_scan_file))
    return OwnScans(tuple(scans), tuple(SCAN_EXPRESSIONS))


def read_bosphorus(folder: Path) -> OwnScans:
    """Read Bosphorus' scans of the six basic emotions, of all people whose folders lie in ``folder``.

    Not everybody shows all six. Raises IncompleteDataError where there is none.
    """
    scans = []
    for file in sorted(folder.glob("bs*/bs*_E_*.bnt")):
        match = re.fullmatch(r"(bs\d+)_E_([A-Z]+)_\d+", file.stem)
        if match and match[2] in BOSPHORUS_EMOTIONS:
            scans.append(OwnScan(match[1], BOSPHORUS_EMOTIONS.index(match[2]), file, read_bnt))
    if not scans:
        raise IncompleteDataError(f"{folder} holds no file such as bs000/bs000_E_HAPPY_0.bnt")
    return OwnScans(tuple(scans), tuple(name.lower() for name in BOSPHORUS_EMOTIONS))


SCAN_COLLECTIONS: Final[Mapping[str, Callable[[Path], OwnScans]]] = MappingProxyType(
    {"facescape": read_facescape, "bosphorus": read_bosphorus}
)


def read_bnt(path: Path) -> Scan:
    """Return the scan of a ``.bnt`` file, a grid of points, in the colours of the picture of its name beside it.

    Raises SCAN_UNDECODABLE for a file that is none.
    """
    data = path.read_bytes()
    try:
        rows, columns, missing, name_length = struct.unpack_from("<HHdH", data)
        start = struct.calcsize("<HHdH") + name_length
        (count,) = struct.unpack_from("<I", data, start)
        if count != 5 * rows * columns:
            raise ValueError
        # x, y, z and two places in the picture, each of all points in turn.
        values = np.frombuffer(data, "<f8", count, start + 4).reshape(5, -1)
    except (struct.error, ValueError):
        raise SemfaceError(Reason.SCAN_UNDECODABLE, f"{path} is no .bnt file of Bosphorus", field="scan") from None
    seen = values[2] != missing
    points = values[:3].T.astype(np.float32)
    picture = path.with_suffix(".png")
    colours = _colours(picture, values[3:]) if picture.is_file() else None
    triangles = _grid_triangles(points, seen, rows, columns)
    return Scan(np.where(seen[:, None], points, np.float32(0)), triangles, colours)


def _grid_triangles(points: NDArray[np.float32], seen: NDArray[np.bool_], rows: int, columns: int) -> NDArray[np.int32]:
    """Return two triangles for each four neighbours of the grid that belong to one surface."""
    number = np.arange(rows * columns, dtype=np.int32).reshape(rows, columns)
    a, b, c, d = (part.ravel() for part in (number[:-1, :-1], number[1:, :-1], number[1:, 1:], number[:-1, 1:]))
    triangles = np.concatenate([np.stack([a, b, c], axis=1), np.stack([a, c, d], axis=1)])
    triangles = triangles[seen[triangles].all(axis=1)]
    corners = points[triangles]
    longest = np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=2).max(axis=1)
    triangles = triangles[longest < LONGEST_EDGE]
    corners = points[triangles]
    towards = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])[:, 2].sum()
    # Bosphorus looks along −z; whichever way its rows run, the surface is to face us.
    return triangles if towards >= 0 else np.ascontiguousarray(triangles[:, ::-1])


def _colours(picture: Path, places: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return the colours (V, 3) at ``places`` (2, V), fractions of the picture from its lower left."""
    with Image.open(picture) as image:
        pixels = np.asarray(image.convert("RGB"), np.float32)
    height, width = pixels.shape[:2]
    column = np.clip(np.nan_to_num(places[0]) * width, 0, width - 1).astype(np.int64)
    row = np.clip((1.0 - np.nan_to_num(places[1])) * height, 0, height - 1).astype(np.int64)
    return pixels[row, column]


def _number(folder: Path) -> tuple[int, str]:
    return (int(folder.name) if folder.name.isdecimal() else 0, folder.name)
