"""The expression teacher as ONNX: face-api's feature extractor (four dense blocks of separable convolutions) and head.

The package carries weights without a graph, so the graph is laid out here.
Input ``rgb`` float32 (N, 3, 112, 112), 0-255; outputs ``prob`` (N, 7): neutral, happy, sad,
angry, fearful, disgusted, surprised, and ``feat`` (N, 256).
"""

from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from training.teachers.tensorflow_js import Weights

SIZE: Final = 112
MEAN_RGB: Final = (122.782, 117.001, 104.298)
BLOCKS: Final = 4
LAYERS_PER_BLOCK: Final = 4
FEATURES: Final = 256
CLASSES: Final = 7
OPSET: Final = 17
IR_VERSION: Final = 8


class _Graph:
    """Nodes and constants in the order in which they are added; each method returns the name of its output."""

    def __init__(self, weights: Weights) -> None:
        self._weights = weights
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, name: str, values: NDArray[Any]) -> str:
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(values, np.float32), name))
        return name

    def weight(self, name: str, axes: tuple[int, ...] | None = None) -> str:
        values = self._weights[name]
        return self.constant(name, values if axes is None else values.transpose(axes))

    def add(self, operator: str, *inputs: str, output: str | None = None, **attributes: Any) -> str:
        output = output or f"{operator}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [output], **attributes))
        return output

    def convolution(self, source: str, name: str, stride: int) -> str:
        """Add a 3 × 3 convolution with "same" padding: plain where the weights are, else depthwise then pointwise."""
        shape = {"auto_pad": "SAME_UPPER", "strides": [stride, stride]}
        bias = self.weight(f"{name}/bias")
        if f"{name}/filters" in self._weights:
            return self.add("Conv", source, self.weight(f"{name}/filters", (3, 2, 0, 1)), bias, **shape)
        depthwise = self.weight(f"{name}/depthwise_filter", (2, 3, 0, 1))
        channels = self._weights[f"{name}/depthwise_filter"].shape[2]
        filtered = self.add("Conv", source, depthwise, group=channels, **shape)
        return self.add("Conv", filtered, self.weight(f"{name}/pointwise_filter", (3, 2, 0, 1)), bias)

    def dense_block(self, source: str, name: str) -> str:
        """Add a block that halves the size; each layer sees the rectified sum of all before it."""
        total = self.add("Relu", self.convolution(source, f"{name}/conv0", 2))
        rectified = total
        for layer in range(1, LAYERS_PER_BLOCK):
            total = self.add("Add", total, self.convolution(rectified, f"{name}/conv{layer}", 1))
            rectified = self.add("Relu", total)
        return rectified


def build(weights: Weights) -> onnx.ModelProto:
    """Return the network with ``weights`` as face-api names them, such as ``dense0/conv1/depthwise_filter``."""
    graph = _Graph(weights)
    mean = graph.constant("mean_rgb", np.array(MEAN_RGB).reshape(1, 3, 1, 1))
    flow = graph.add("Div", graph.add("Sub", "rgb", mean), graph.constant("range", np.array(255.0)))
    for block in range(BLOCKS):
        flow = graph.dense_block(flow, f"dense{block}")
    flow = graph.add("AveragePool", flow, kernel_shape=[7, 7])
    graph.add("Flatten", flow, output="feat")
    logits = graph.add("Gemm", "feat", graph.weight("fc/weights"), graph.weight("fc/bias"))
    graph.add("Softmax", logits, output="prob")
    layout = helper.make_graph(
        graph.nodes,
        "expression_teacher",
        [helper.make_tensor_value_info("rgb", TensorProto.FLOAT, ["n", 3, SIZE, SIZE])],
        [
            helper.make_tensor_value_info("prob", TensorProto.FLOAT, ["n", CLASSES]),
            helper.make_tensor_value_info("feat", TensorProto.FLOAT, ["n", FEATURES]),
        ],
        graph.constants,
    )
    model = helper.make_model(layout, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    onnx.checker.check_model(model, full_check=True)
    return model
