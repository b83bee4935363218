"""One face as a glTF 2.0 file in its binary form (GLB), for engines and viewers.

glTF's axes are those of head coordinates (right-handed, y up, the front towards +z); its unit is the metre. Colours of
vertices are linear light there, ours are sRGB.
"""

import json
import struct
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from semface.descriptors import Descriptors, split, validate
from semface.morphable.model import MorphableModel

METRES: Final = 1e-3
"""Metres in a millimetre."""

_MAGIC: Final = b"glTF"
_VERSION: Final = 2
_FLOAT: Final = 5126
_UNSIGNED_SHORT: Final = 5123
_UNSIGNED_INT: Final = 5125
_VERTICES: Final = 34962
_INDICES: Final = 34963


def head_glb(descriptors: Descriptors, model: MorphableModel | None = None, *, morph_targets: bool = False) -> bytes:
    """Return the head of one face's 257 ``descriptors`` as GLB: positions, normals, albedo as vertex colours.

    The node carries the head's rotation and translation in metres; light is left to whoever shows it. With
    ``morph_targets`` the mesh is the neutral head, with a target for each of the 64 directions of expression and δ as
    their weights: who has it moves the head by numbers alone. Raises DESCRIPTOR_SHAPE or NOT_FINITE for descriptors
    that are none.
    """
    model = model or MorphableModel.shipped()
    groups = split(validate(descriptors)[:1])
    expression = groups["expression"]
    vertices = model.vertices(groups["shape"], np.zeros_like(expression) if morph_targets else expression)
    attributes = {
        "POSITION": METRES * vertices[0],
        "NORMAL": model.normals(vertices)[0],
        "COLOR_0": _linear(model.albedo(groups["texture"])[0] / 255.0),
    }
    node = {
        "mesh": 0,
        "rotation": _quaternion(groups["rotation"][0].astype(np.float64)),
        "translation": (METRES * groups["translation"][0].astype(np.float64)).tolist(),
    }
    targets: list[NDArray[np.float32]] = []
    if morph_targets:
        node["weights"] = expression[0].astype(float).tolist()
        targets = list((METRES * model.expression_basis).astype("<f4"))
    floats = {name: values.astype("<f4") for name, values in attributes.items()}
    return _file(floats, model.triangles, node, targets)


def _file(
    attributes: dict[str, NDArray[np.float32]],
    triangles: NDArray[np.int32],
    node: dict[str, Any],
    targets: Sequence[NDArray[np.float32]],
) -> bytes:
    short = len(attributes["POSITION"]) < 1 << 16
    arrays = [*attributes.values(), triangles.ravel().astype("<u2" if short else "<u4"), *targets]
    data, views, accessors = _laid_out(arrays, _UNSIGNED_SHORT if short else _UNSIGNED_INT)
    # The format asks for the bounds of positions, those of targets too.
    first_target = len(attributes) + 1
    for number in (0, *range(first_target, len(arrays))):
        positions = arrays[number]
        accessors[number] |= {"min": positions.min(axis=0).tolist(), "max": positions.max(axis=0).tolist()}
    places = {name: place for place, name in enumerate(attributes)}
    primitive: dict[str, Any] = {"attributes": places, "indices": len(attributes), "material": 0}
    mesh: dict[str, Any] = {"primitives": [primitive]}
    if targets:
        primitive["targets"] = [{"POSITION": number} for number in range(first_target, len(arrays))]
        # The names stand where Blender and three.js look for them.
        mesh["extras"] = {"targetNames": [f"expression_{number}" for number in range(len(targets))]}
    scene = {
        "asset": {"version": "2.0", "generator": "semface"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [node],
        "meshes": [mesh],
        "materials": [{"pbrMetallicRoughness": {"metallicFactor": 0.0, "roughnessFactor": 0.8}}],
        "accessors": accessors,
        "bufferViews": views,
        "buffers": [{"byteLength": len(data)}],
    }
    text = json.dumps(scene, separators=(",", ":")).encode()
    chunks = _chunk(b"JSON", _padded(text, b" ")) + _chunk(b"BIN\0", data)
    return struct.pack("<4sII", _MAGIC, _VERSION, 12 + len(chunks)) + chunks


def _laid_out(
    arrays: Sequence[NDArray[Any]], index_type: int
) -> tuple[bytes, list[dict[str, int]], list[dict[str, Any]]]:
    """Return ``arrays`` end to end, where each lies and what each is; the one of one axis holds indices."""
    data, views, accessors = bytearray(), list[dict[str, int]](), list[dict[str, Any]]()
    for number, array in enumerate(arrays):
        indices = array.ndim == 1
        where = {"buffer": 0, "byteOffset": len(data), "byteLength": array.nbytes}
        views.append(where | {"target": _INDICES if indices else _VERTICES})
        what = {"componentType": index_type if indices else _FLOAT, "type": "SCALAR" if indices else "VEC3"}
        accessors.append({"bufferView": number, "count": len(array)} | what)
        data += _padded(array.tobytes(), b"\0")
    return bytes(data), views, accessors


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack("<I4s", len(data), kind) + data


def _padded(data: bytes, filling: bytes) -> bytes:
    return data + filling * (-len(data) % 4)


def _linear(colours: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return linear light of sRGB ``colours``, both 0 to 1 (IEC 61966-2-1)."""
    return np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)


def _quaternion(rotation: NDArray[np.float64]) -> list[float]:
    """Return (x, y, z, w) of the rotation Rz(roll)·Ry(yaw)·Rx(pitch) of (pitch, yaw, roll) in radians."""
    (cx, cy, cz), (sx, sy, sz) = np.cos(rotation / 2), np.sin(rotation / 2)
    values = np.array(
        [
            sx * cy * cz - cx * sy * sz,
            cx * sy * cz + sx * cy * sz,
            cx * cy * sz - sx * sy * cz,
            cx * cy * cz + sx * sy * sz,
        ]
    )
    return (values / np.linalg.norm(values)).tolist()
