"""The three MTCNN networks as ONNX, built from the arrays that the ``mtcnn`` package carries (MIT licence).

Zhang et al., "Joint face detection and alignment using multitask cascaded convolutional networks", 2016. The package's
code needs TensorFlow and is not imported: only its weight files are read.
"""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, Literal

import joblib
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from semface.errors import Reason, SemfaceError

OPSET: Final = 17
IR_VERSION: Final = 10


@dataclass(frozen=True, slots=True)
class Network:
    """One stage of the cascade: its weight file, the poolings after its convolutions and what its heads answer.

    ``side`` is the side of the square input, or None where any height and width of at least 12 goes.
    """

    weights: str
    side: int | None
    poolings: tuple[int, ...]
    heads: tuple[Literal["regression", "landmarks", "scores"], ...]


NETWORKS: Final = {
    "face_detection_proposal": Network("pnet.lz4", None, (2, 0, 0), ("regression", "scores")),
    "face_detection_refinement": Network("rnet.lz4", 24, (3, 3, 0), ("regression", "scores")),
    "face_detection_output": Network("onet.lz4", 48, (3, 3, 2, 0), ("regression", "landmarks", "scores")),
}
"""Name in the model repository of each network. Heads are in the order of the weight file."""

HEAD_SIZES: Final = {"regression": 4, "landmarks": 10, "scores": 1}


class _Graph:
    """Nodes and weights gathered while walking through a weight file."""

    def __init__(self, weights: list[NDArray[np.float32]]) -> None:
        self._weights = iter(weights)
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self.last = "images"

    def constant(self, name: str, value: NDArray[np.generic]) -> str:
        self.initializers.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def next_weight(self) -> NDArray[np.float32]:
        return np.asarray(next(self._weights), dtype=np.float32)

    def node(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> None:
        self.nodes.append(helper.make_node(kind, inputs, [output], name=output, **attributes))
        self.last = output

    def convolution(self, name: str, *, as_difference: bool = False) -> None:
        kernel, bias = self.next_weight().transpose(3, 2, 0, 1), self.next_weight()
        if as_difference:
            kernel, bias = np.diff(kernel, axis=0), np.diff(bias)
        self.node(
            "Conv", [self.last, self.constant(f"{name}_kernel", kernel), self.constant(f"{name}_bias", bias)], name
        )

    def dense(self, name: str, *, as_difference: bool = False) -> None:
        kernel, bias = self.next_weight(), self.next_weight()
        if as_difference:
            kernel, bias = np.diff(kernel, axis=1), np.diff(bias)
        self.node(
            "Gemm", [self.last, self.constant(f"{name}_kernel", kernel), self.constant(f"{name}_bias", bias)], name
        )

    def activation(self, name: str) -> None:
        # PReLU as slope·x + (1 − slope)·max(x, 0): ONNX Runtime's own operator takes twice as long.
        slope = self.next_weight()
        slope = slope.reshape((-1, 1, 1) if slope.ndim == 3 else (-1,))
        values = self.last
        self.node("Relu", [values], f"{name}_rectified")
        self.node("Mul", [self.last, self.constant(f"{name}_rest", 1 - slope)], f"{name}_upper")
        self.node("Mul", [values, self.constant(f"{name}_slope", slope)], f"{name}_lower")
        self.node("Add", [f"{name}_upper", f"{name}_lower"], name)


def build_network(name: str, weights: list[NDArray[np.float32]]) -> onnx.ModelProto:
    """Return network ``name`` of :data:`NETWORKS` with the package's ``weights`` (TensorFlow layout) as ONNX.

    Input ``images`` float32 (N, 3, h, w), (RGB - 127.5) / 128. Outputs ``regression`` (N, 4, ...) as fractions of the
    window's side, ``scores`` (N, 1, ...) between 0 and 1, and for the last network ``landmarks`` (N, 10): five x, five
    y, fractions of the window's side.
    """
    network, graph = NETWORKS[name], _Graph(weights)
    for index, pooling in enumerate(network.poolings, start=1):
        graph.convolution(f"convolution_{index}")
        graph.activation(f"activation_{index}")
        if pooling:
            attributes = {"kernel_shape": [pooling] * 2, "strides": [2, 2], "ceil_mode": 1}
            graph.node("MaxPool", [graph.last], f"pooling_{index}", **attributes)
    if network.side is not None:
        # The weights were trained with width before height, so the axes turn before flattening.
        graph.node("Transpose", [graph.last], "transposed", perm=[0, 3, 2, 1])
        graph.node("Flatten", [graph.last], "flat", axis=1)
        graph.dense("dense")
        graph.activation("dense_activation")
    trunk = graph.last
    for head in network.heads:
        graph.last = trunk
        head_layer = graph.convolution if network.side is None else graph.dense
        if head == "scores":
            # Softmax over no face and face is the sigmoid of their difference.
            head_layer("logit", as_difference=True)
            graph.node("Sigmoid", [graph.last], "scores")
        else:
            head_layer(head)
    return _model(name, network, graph)


def _model(name: str, network: Network, graph: _Graph) -> onnx.ModelProto:
    spatial = ("height", "width") if network.side is None else (network.side, network.side)
    cells = ("rows", "columns") if network.side is None else ()
    images = helper.make_tensor_value_info("images", TensorProto.FLOAT, ("batch", 3, *spatial))
    outputs = [
        helper.make_tensor_value_info(head, TensorProto.FLOAT, ("batch", HEAD_SIZES[head], *cells))
        for head in network.heads
    ]
    body = helper.make_graph(graph.nodes, name, [images], outputs, graph.initializers)
    opset = helper.make_opsetid("", OPSET)
    model = helper.make_model(body, opset_imports=[opset], ir_version=IR_VERSION, producer_name="semface")
    onnx.checker.check_model(model, full_check=True)
    return model


def weight_folder() -> Path:
    """Return the folder of the installed ``mtcnn`` package's weights; MODEL_UNKNOWN when it is not installed."""
    package = find_spec("mtcnn")
    if package is None or not package.submodule_search_locations:
        raise SemfaceError(
            Reason.MODEL_UNKNOWN, "package mtcnn is not installed; the detector is built from its weights"
        )
    return Path(package.submodule_search_locations[0]) / "assets" / "weights"


def build_detection_networks(repository: Path) -> list[Path]:
    """Write ``1/model.onnx`` of the three networks into ``repository`` and return the files' paths."""
    folder, written = weight_folder(), []
    for name, network in NETWORKS.items():
        target = repository / name / "1" / "model.onnx"
        target.parent.mkdir(parents=True, exist_ok=True)
        model = build_network(name, joblib.load(folder / network.weights))
        # A reader must never meet half a file.
        unfinished = target.with_suffix(".part")
        unfinished.write_bytes(model.SerializeToString(deterministic=True))
        unfinished.replace(target)
        written.append(target)
    return written
