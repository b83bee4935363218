"""A licence holder's network behind our interface: the same picture, whichever numbers and camera describe it."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from semface.descriptors import split
from semface.errors import SemfaceError
from semface.inference.repository import ModelRepository
from semface.morphable.camera import project
from semface.morphable.illumination import shading
from training.licensed_extractor import MODEL, mapping, wrap, write


def their_network(outputs: int = 257, seed: int = 0, opset: int = 13) -> onnx.ModelProto:
    """A network of the form that a holder exports: here the mean colour, then a linear layer."""
    weights = np.random.default_rng(seed).normal(size=(3, outputs)).astype(np.float32)
    nodes = [
        helper.make_node("GlobalAveragePool", ["image"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weights"], ["coefficients"]),
    ]
    graph = helper.make_graph(
        nodes,
        "theirs",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 3, 224, 224])],
        [helper.make_tensor_value_info("coefficients", TensorProto.FLOAT, ["N", outputs])],
        [numpy_helper.from_array(weights, "weights")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def ours(theirs: np.ndarray) -> np.ndarray:
    order, factor, offset = mapping()
    return (theirs[..., order] * factor + offset).astype(np.float32)


def test_every_number_of_theirs_has_one_place_among_ours() -> None:
    order, factor, _ = mapping()
    assert sorted(order) == list(range(257))
    assert (factor != 0).all()
    groups = split(ours(np.arange(257.0)))
    assert groups["shape"][0] == 0
    assert groups["texture"][0] == 144
    assert groups["expression"][0] == 80
    assert groups["rotation"].tolist() == [224, 225, 226]


def test_their_camera_and_ours_see_a_head_at_one_place() -> None:
    random = np.random.default_rng(1)
    theirs = np.zeros((5, 257))
    angles, shift = random.normal(size=(5, 3)) * 0.3, random.normal(size=(5, 3)) * [0.2, 0.2, 0.8]
    theirs[:, 224:227], theirs[:, 254:] = angles, shift
    points = random.uniform(-0.8, 0.8, (5, 40, 3))
    # Their formulas as published, in decimetres: rotation by z, y and x, camera at 10, 1,015 pixels of 224.
    expected = np.empty((5, 40, 2))
    for face in range(5):
        x, y, z = angles[face]
        turn_x = np.array([[1, 0, 0], [0, np.cos(x), -np.sin(x)], [0, np.sin(x), np.cos(x)]])
        turn_y = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
        turn_z = np.array([[np.cos(z), -np.sin(z), 0], [np.sin(z), np.cos(z), 0], [0, 0, 1]])
        moved = points[face] @ (turn_z @ turn_y @ turn_x).T + shift[face]
        pixels = 1015.0 * moved[:, :2] / (10.0 - moved[:, 2:]) + 112.0
        expected[face] = np.stack([pixels[:, 0], 224.0 - pixels[:, 1]], axis=1) / 224.0
    groups = split(ours(theirs))
    seen, _ = project(points * 100.0, groups["rotation"], groups["translation"])
    # The focal lengths differ by 0.7 %, which distance makes good for the head as a whole.
    assert np.abs(seen - expected).max() < 0.0005


def test_their_light_and_ours_shade_alike() -> None:
    random = np.random.default_rng(2)
    normals = random.normal(size=(200, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    theirs = np.zeros((1, 257))
    theirs[:, 227:254] = random.normal(size=27) * 0.1
    light = theirs[0, 227:254].reshape(3, 9) + np.array([0.8] + [0.0] * 8)
    x, y, z = normals.T
    first = np.pi / np.sqrt(4 * np.pi)
    second = 2 * np.pi / np.sqrt(3) * np.sqrt(3) / np.sqrt(4 * np.pi)
    third = 2 * np.pi / np.sqrt(8) * 3 * np.sqrt(5) / np.sqrt(12 * np.pi)
    basis = np.stack(
        [
            first * np.ones_like(x), -second * y, second * z, -second * x, third * x * y, -third * y * z,
            0.5 * third / np.sqrt(3) * (3 * z * z - 1), -third * x * z, 0.5 * third * (x * x - y * y),
        ],
        axis=1,
    )  # fmt: skip
    told = shading(normals[None], split(ours(theirs))["illumination"])[0]
    np.testing.assert_allclose(told, np.maximum(basis @ light.T, 0.0), atol=1e-5)


@pytest.mark.parametrize("opset", [13, 17])
def test_crops_go_in_and_our_numbers_come_out(tmp_path: Path, opset: int) -> None:
    theirs = their_network(opset=opset)
    onnx.save(theirs, tmp_path / "theirs.onnx")
    write(tmp_path / "theirs.onnx", tmp_path / "repository")
    model = ModelRepository(tmp_path / "repository").model(MODEL)
    network = onnxruntime.InferenceSession(tmp_path / "repository" / MODEL / "1" / "model.onnx")
    assert [port.name for port in network.get_outputs()] == [port.name for port in model.metadata.outputs]
    grey = np.array([30, 120, 250], np.uint8)
    crops = np.broadcast_to(grey, (3, 112, 112, 3)).copy()
    descriptors, quality = network.run(["descriptors", "quality"], {"crops": crops})
    weights = numpy_helper.to_array(theirs.graph.initializer[0])
    np.testing.assert_allclose(descriptors, np.tile(ours(grey / 255.0 @ weights), (3, 1)), rtol=1e-3, atol=1e-3)
    assert quality.tolist() == [[1.0]] * 3


def test_a_network_of_another_form_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SemfaceError, match="N x 257"):
        wrap(their_network(outputs=62))
    (tmp_path / "theirs.onnx").write_bytes(b"no network")
    with pytest.raises(SemfaceError, match=r"theirs\.onnx"):
        write(tmp_path / "theirs.onnx", tmp_path)
