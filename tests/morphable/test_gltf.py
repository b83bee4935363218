"""GLB files, read again by the format's own rules."""

import io
import json
import struct
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from semface.descriptors import DESCRIPTOR_SIZE, GROUPS, Descriptors
from semface.errors import SemfaceError
from semface.morphable.camera import rotation_matrix
from semface.morphable.gltf import head_glb
from semface.morphable.model import MorphableModel

COMPONENTS = {5123: "<u2", 5125: "<u4", 5126: "<f4"}
WIDTHS = {"SCALAR": 1, "VEC3": 3}


def some_face() -> Descriptors:
    values = np.random.default_rng(5).normal(size=DESCRIPTOR_SIZE).astype(np.float32)
    values[GROUPS["rotation"]] = 0.2, -0.4, 0.3
    values[GROUPS["translation"]] = 5, -8, 40
    return values


def read_glb(data: bytes) -> tuple[dict[str, Any], list[NDArray[Any]]]:
    """Return the scene and each accessor's array, every length and alignment of the format checked."""
    magic, version, length = struct.unpack_from("<4sII", data)
    assert (magic, version, length) == (b"glTF", 2, len(data))
    chunks, place = [], 12
    while place < length:
        size, kind = struct.unpack_from("<I4s", data, place)
        assert size % 4 == 0
        chunks.append((kind, data[place + 8 : place + 8 + size]))
        place += 8 + size
    assert [kind for kind, _ in chunks] == [b"JSON", b"BIN\0"]
    scene, binary = json.loads(chunks[0][1]), chunks[1][1]
    assert scene["buffers"][0]["byteLength"] == len(binary)
    arrays = []
    for accessor in scene["accessors"]:
        view, width = scene["bufferViews"][accessor["bufferView"]], WIDTHS[accessor["type"]]
        array = np.frombuffer(
            binary, COMPONENTS[accessor["componentType"]], accessor["count"] * width, view["byteOffset"]
        )
        assert view["byteOffset"] % 4 == 0
        assert array.nbytes == view["byteLength"]
        arrays.append(array.reshape(-1, width))
    return scene, arrays


def test_the_mesh_is_the_head_in_metres_with_unit_normals_and_linear_colours() -> None:
    model, values = MorphableModel.shipped(), some_face()
    scene, arrays = read_glb(head_glb(values))
    primitive = scene["meshes"][0]["primitives"][0]
    found = {name: arrays[place] for name, place in primitive["attributes"].items()}
    vertices = model.vertices(values[GROUPS["shape"]][None], values[GROUPS["expression"]][None])[0]
    np.testing.assert_allclose(1000 * found["POSITION"], vertices, atol=1e-3)
    np.testing.assert_allclose(np.linalg.norm(found["NORMAL"], axis=1), 1, atol=1e-5)
    np.testing.assert_array_equal(arrays[primitive["indices"]].reshape(-1, 3), model.triangles)
    bounds = scene["accessors"][primitive["attributes"]["POSITION"]]
    np.testing.assert_allclose([bounds["min"], bounds["max"]], [arrays[0].min(axis=0), arrays[0].max(axis=0)])
    linear, albedo = found["COLOR_0"], model.albedo(values[GROUPS["texture"]][None])[0] / 255
    again = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    np.testing.assert_allclose(again, albedo, atol=1e-5)


def test_the_node_turns_and_moves_as_the_head_does() -> None:
    values = some_face()
    node = read_glb(head_glb(values))[0]["nodes"][0]
    x, y, z, w = node["rotation"]
    turned = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )
    np.testing.assert_allclose(turned, rotation_matrix(values[GROUPS["rotation"]][None])[0], atol=1e-6)
    np.testing.assert_allclose(node["translation"], values[GROUPS["translation"]] / 1000, atol=1e-7)


def test_another_reader_sees_the_same_mesh() -> None:
    trimesh = pytest.importorskip("trimesh", reason="trimesh is not installed")
    mesh = trimesh.load(io.BytesIO(head_glb(some_face())), file_type="glb", process=False).to_geometry()
    assert (mesh.vertices.shape, mesh.faces.shape) == (
        MorphableModel.shipped().mean_shape.shape,
        MorphableModel.shipped().triangles.shape,
    )


def test_numbers_that_are_none_are_refused() -> None:
    with pytest.raises(SemfaceError):
        head_glb(np.full(DESCRIPTOR_SIZE, np.nan, np.float32))


def test_morph_targets_move_the_neutral_head_to_the_expression() -> None:
    values = some_face()
    plain_scene, plain = read_glb(head_glb(values))
    scene, arrays = read_glb(head_glb(values, morph_targets=True))
    primitive = scene["meshes"][0]["primitives"][0]
    weights = scene["nodes"][0]["weights"]
    assert scene["meshes"][0]["extras"]["targetNames"][3] == "expression_3"
    targets = [arrays[target["POSITION"]] for target in primitive["targets"]]
    moved = arrays[primitive["attributes"]["POSITION"]] + np.tensordot(np.array(weights), np.stack(targets), 1)
    whole = plain[plain_scene["meshes"][0]["primitives"][0]["attributes"]["POSITION"]]
    np.testing.assert_allclose(moved, whole, atol=1e-6)
