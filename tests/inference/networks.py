"""Small networks whose answers a test can work out by itself, in repositories of their own."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

DOUBLED = """
input [ { name: "x" data_type: TYPE_FP32 dims: [ -1 ] } ]
output [ { name: "y" data_type: TYPE_FP32 dims: [ -1 ] } ]
"""


def add_model(
    repository: Path,
    name: str,
    *,
    factor: float = 2.0,
    version: str = "1",
    max_batch_size: int = 4,
    tensors: str = DOUBLED,
    more: str = "",
) -> Path:
    """Add a network that answers y = ``factor`` × x for rows x of any length; return its file."""
    nodes = [helper.make_node("Mul", ["x", "factor"], ["y"])]
    return write_model(repository, name, nodes, {"factor": factor}, version, max_batch_size, tensors, more)


def add_leaking_model(repository: Path, name: str) -> Path:
    """Add a network whose rows change one another: each is divided by the greatest number of the whole batch."""
    nodes = [
        helper.make_node("ReduceMax", ["x"], ["greatest"], keepdims=0),
        helper.make_node("Div", ["x", "greatest"], ["y"]),
    ]
    return write_model(repository, name, nodes, {}, "1", 4, DOUBLED, "")


def write_model(
    repository: Path,
    name: str,
    nodes: list[onnx.NodeProto],
    constants: dict[str, float],
    version: str,
    max_batch_size: int,
    tensors: str,
    more: str,
) -> Path:
    """Write network and configuration of one model."""
    x, y = (helper.make_tensor_value_info(t, TensorProto.FLOAT, ["N", "length"]) for t in "xy")
    values = [numpy_helper.from_array(np.float32(value), key) for key, value in constants.items()]
    graph = helper.make_graph(nodes, name, [x], [y], values)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    file = repository / name / version / "model.onnx"
    file.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, file)
    text = f'name: "{name}" platform: "onnxruntime_onnx" max_batch_size: {max_batch_size} {tensors} {more}'
    (repository / name / "config.pbtxt").write_text(text)
    return file
