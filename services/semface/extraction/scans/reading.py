"""Reading the file of a scan: OBJ, PLY, glTF. trimesh reads the file; its sizes are looked at before memory is taken.

Nothing outside the file is opened, unless a folder is named in which its material and texture lie.
"""

import io
import json
import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
import trimesh
from numpy.typing import NDArray
from PIL import Image
from trimesh.resolvers import FilePathResolver

from semface.errors import Reason, SemfaceError
from semface.extraction.scans.mesh import MAXIMUM_TRIANGLES, MAXIMUM_VERTICES, Scan

MAXIMUM_BYTES: Final = 160 << 20
SUFFIXES: Final = frozenset({".obj", ".ply", ".glb", ".gltf"})
MAXIMUM_TEXTURE_PIXELS: Final = 1 << 26
PLACEHOLDER_PIXELS: Final = 4
TEXTURE_SIDE: Final = 1024
"""A larger texture is made smaller before it is looked up at the vertices, so that it does not alias."""
DEPTH: Final = 20_000
"""Characters at the beginning of a file in which its format is looked for."""


def read_scan(data: bytes, folder: Path | None = None) -> Scan:
    """Return the mesh in the file ``data``, all its parts as one; its format is seen from its content.

    Material and texture of an OBJ or glTF file are read from ``folder``; without one only what the file itself holds
    is. Raises SCAN_TOO_LARGE, or SCAN_UNDECODABLE for another format, a damaged file or one without triangles.
    """
    if len(data) > MAXIMUM_BYTES:
        raise _too_large(f"the scan has {len(data) >> 20} MiB; at most {MAXIMUM_BYTES >> 20} MiB are taken")
    kind = file_kind(data)
    _SIZE_CHECKS[kind](data)
    # It opens nothing outside the folder.
    resolver = None if folder is None else FilePathResolver(str(folder))
    try:
        scene = trimesh.load_scene(io.BytesIO(data), file_type=kind, resolver=resolver, process=False)
        _check_size(_instances(scene, "vertices"), _instances(scene, "faces"))
        parts = [_part(mesh, linear=kind in ("glb", "gltf")) for mesh in _meshes(scene)]
    except SemfaceError:
        raise
    except MemoryError:
        raise _too_large("the scan needs more memory than there is") from None
    except Exception as error:  # trimesh raises whatever its parsers meet
        raise _undecodable(f"the {kind.upper()} file is damaged or of an edition that is not read") from error
    if not parts:
        raise _undecodable("the file holds no triangles; a cloud of points is to be meshed first")
    return _together(parts)


def read_scan_file(path: Path) -> Scan:
    """Return the mesh in the file ``path``, with the texture beside it. Raises as ``read_scan``, and FIELD_INVALID."""
    try:
        if path.stat().st_size > MAXIMUM_BYTES:
            raise _too_large(f"{path} has more than {MAXIMUM_BYTES >> 20} MiB, the most that are taken")
        return read_scan(path.read_bytes(), path.parent)
    except OSError:
        raise SemfaceError(Reason.FIELD_INVALID, f"{path} cannot be read", field="scan") from None


def file_kind(data: bytes) -> str:
    """Return ``glb``, ``gltf``, ``ply`` or ``obj``, by how the file begins. Raises SCAN_UNDECODABLE for any other."""
    start = data[:DEPTH].lstrip()
    if start.startswith(b"glTF"):
        return "glb"
    if start.startswith(b"ply") and start[3:4] in (b"\n", b"\r"):
        return "ply"
    if start.startswith(b"{") and b'"asset"' in data:
        return "gltf"
    if re.search(rb"^v\s+[-+.\dnN]", data[: 1 << 20], re.MULTILINE):
        return "obj"
    raise _undecodable("the scan is neither OBJ, PLY nor glTF")


def _check_ply(data: bytes) -> None:
    header = data[: max(data.find(b"end_header"), 0)].decode("ascii", "replace")
    counts = {
        name: int(count) for name, count in re.findall(r"^element\s+(\w+)\s+(\d{1,18})\s*$", header, re.MULTILINE)
    }
    _check_size(counts.get("vertex", 0), counts.get("face", 0))


def _check_obj(data: bytes) -> None:
    _check_size(data.count(b"\nv "), data.count(b"\nf "))


def _check_gltf(data: bytes) -> None:
    """Look at the accessors' lengths: one without data is filled with zeros of whatever length it tells."""
    try:
        if data.startswith(b"glTF"):
            length = struct.unpack_from("<I", data, 12)[0]
            data = data[20 : 20 + length]
        tree: dict[str, Any] = json.loads(data)
        counts = [int(accessor["count"]) for accessor in tree.get("accessors", [])]
    except (ValueError, KeyError, TypeError, AttributeError, struct.error, RecursionError):
        raise _undecodable("the glTF file is damaged") from None
    _check_size(0, sum(counts) // 3)


_SIZE_CHECKS: Final[dict[str, Callable[[bytes], None]]] = {
    "obj": _check_obj,
    "ply": _check_ply,
    "glb": _check_gltf,
    "gltf": _check_gltf,
}


def _check_size(vertices: int, triangles: int) -> None:
    if vertices > MAXIMUM_VERTICES or triangles > MAXIMUM_TRIANGLES:
        raise _too_large(
            f"the scan has at least {vertices:,} vertices and {triangles:,} triangles; {MAXIMUM_VERTICES:,} and "
            f"{MAXIMUM_TRIANGLES:,} at most are taken, so simplify it first"
        )


def _meshes(scene: trimesh.Scene) -> list[trimesh.Trimesh]:
    """Return what is made of triangles, each in its place."""
    return [part for part in scene.dump() if isinstance(part, trimesh.Trimesh) and len(part.faces)]


def _instances(scene: trimesh.Scene, attribute: str) -> int:
    """Return how many vertices or faces the scene has, a mesh that stands in it several times counted each time."""
    names = [scene.graph[node][1] for node in scene.graph.nodes_geometry]
    sizes = {name: len(getattr(mesh, attribute, ())) for name, mesh in scene.geometry.items()}
    return sum(sizes[name] for name in names)


def _part(mesh: trimesh.Trimesh, *, linear: bool) -> Scan:
    vertices, triangles = np.asarray(mesh.vertices, np.float32), np.asarray(mesh.faces, np.int32)
    return Scan(vertices, triangles, _colours(mesh, linear=linear))


def _colours(mesh: trimesh.Trimesh, *, linear: bool) -> NDArray[np.float32] | None:
    """Return the sRGB colours (V, 3), 0 to 255, of the vertices of ``mesh``, or None where it has none.

    The vertex colours of glTF are ``linear`` light; its textures are not.
    """
    visual: Any = mesh.visual
    if visual.kind == "texture":
        image = _texture(visual.material)
        if image is not None and visual.uv is not None:
            return _looked_up(image, np.asarray(visual.uv, np.float64))
        attributes = getattr(visual, "vertex_attributes", None) or {}
        colours = attributes.get("color")
        if colours is None:
            return None
    elif visual.kind in ("vertex", "face"):
        colours = visual.vertex_colors
    else:
        return None
    values = np.asarray(colours)[:, :3]
    scale = 255.0 / np.iinfo(values.dtype).max if values.dtype.kind == "u" else 255.0
    values = (values * scale).astype(np.float32)
    return _encoded(values) if linear else values


def _texture(material: Any) -> Image.Image | None:
    image = getattr(material, "baseColorTexture", None) or getattr(material, "image", None)
    # trimesh stands in four pixels of one colour for a texture that is not there.
    if not isinstance(image, Image.Image) or image.width * image.height <= PLACEHOLDER_PIXELS:
        return None
    if image.width * image.height > MAXIMUM_TEXTURE_PIXELS:
        raise _too_large(f"the scan's texture has more than {MAXIMUM_TEXTURE_PIXELS >> 20} million pixels")
    # A JPEG is decoded at a smaller size at once.
    image.draft("RGB", (TEXTURE_SIDE, TEXTURE_SIDE))
    shrinking = max(image.width, image.height) // TEXTURE_SIDE
    rgb = image.convert("RGB")
    return rgb.reduce(shrinking) if shrinking > 1 else rgb


def _looked_up(image: Image.Image, uv: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return the colours (V, 3) of ``image`` at ``uv`` (V, 2), whose v grows upwards; bilinear, repeated beyond."""
    pixels = np.asarray(image, np.float32)
    height, width = pixels.shape[:2]
    u, v = np.nan_to_num(uv).T
    x, y = (u % 1.0) * width - 0.5, (1.0 - v % 1.0) * height - 0.5
    left, top = np.floor(x).astype(np.int64), np.floor(y).astype(np.int64)
    right, down = (x - left)[:, None], (y - top)[:, None]

    def at(row: NDArray[np.int64], column: NDArray[np.int64]) -> NDArray[np.float32]:
        return pixels[row % height, column % width]

    above = at(top, left) * (1 - right) + at(top, left + 1) * right
    below = at(top + 1, left) * (1 - right) + at(top + 1, left + 1) * right
    return (above * (1 - down) + below * down).astype(np.float32)


def _encoded(linear: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return linear light, 0 to 255, as sRGB (IEC 61966-2-1)."""
    share = np.clip(linear / 255.0, 0.0, 1.0)
    low, high = 12.92 * share, 1.055 * np.power(share, 1 / 2.4) - 0.055
    return (255.0 * np.where(share <= 0.0031308, low, high)).astype(np.float32)


def _together(parts: list[Scan]) -> Scan:
    """Return all ``parts`` as one; those without colours make the whole one without."""
    offsets = np.cumsum([0, *(len(part.vertices) for part in parts[:-1])]).astype(np.int32)
    triangles = [part.triangles + offset for part, offset in zip(parts, offsets, strict=True)]
    colours = [part.colours for part in parts if part.colours is not None]
    return Scan(
        np.concatenate([part.vertices for part in parts]),
        np.concatenate(triangles),
        np.concatenate(colours) if len(colours) == len(parts) else None,
    )


def _undecodable(message: str) -> SemfaceError:
    return SemfaceError(Reason.SCAN_UNDECODABLE, message, field="scan")


def _too_large(message: str) -> SemfaceError:
    return SemfaceError(Reason.SCAN_TOO_LARGE, message, field="scan")
