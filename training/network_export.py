"""Writing a network into a model repository: ONNX with short weights behind a cast, and its configuration."""

from collections.abc import Container
from pathlib import Path
from typing import Final, Literal, NamedTuple

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import nn

OPSET: Final = 17

Weights = Literal["half", "byte"]
"""How learned matrices are kept: as 16-bit floats, or as 8-bit integers with a scale for each output."""


class Port(NamedTuple):
    """An input or output of a network: its name and its shape without the batch axis."""

    name: str
    shape: tuple[int, ...]
    dtype: torch.dtype = torch.float32

    def configuration(self) -> str:
        """Return the port as an item of a list in ``config.pbtxt``."""
        kind = {torch.float32: "TYPE_FP32", torch.uint8: "TYPE_UINT8"}[self.dtype]
        sizes = ", ".join(str(size) for size in self.shape)
        return f'{{ name: "{self.name}" data_type: {kind} dims: [ {sizes} ] }}'


def export_network(
    model: nn.Module,
    folder: Path,
    source: Port,
    *targets: Port,
    max_batch_size: int = 256,
    queue_delay: int = 0,
    parameters: dict[str, float] | None = None,
    weights: Weights = "half",
) -> None:
    """Write ``model`` as ``folder/1/model.onnx`` with its ``config.pbtxt``; the folder's name is the network's.

    ``queue_delay`` is in microseconds: how long a batch waits for company; a small network is not worth a wait.
    ``parameters`` go into the configuration, for who uses the network's output.
    """
    path = folder / "1" / "model.onnx"
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.onnx.export(
        model.eval(),
        (torch.zeros(2, *source.shape, dtype=source.dtype),),
        str(path),
        dynamo=False,
        opset_version=OPSET,
        input_names=[source.name],
        output_names=[target.name for target in targets],
        dynamic_axes={port.name: {0: "batch"} for port in (source, *targets)},
    )
    exported = onnx.load(path)
    graph = shorten_weights(exported, learned_matrices(model, exported) if weights == "byte" else ())
    onnx.checker.check_model(graph, full_check=True)
    onnx.save(graph, path)
    lines = [
        f'name: "{folder.name}"',
        'platform: "onnxruntime_onnx"',
        f"max_batch_size: {max_batch_size}",
        f"input [ {source.configuration()} ]",
        f"output [ {', '.join(target.configuration() for target in targets)} ]",
        f"dynamic_batching {{ max_queue_delay_microseconds: {queue_delay} }}",
    ]
    for key, value in (parameters or {}).items():
        lines.append(f'parameters {{ key: "{key}" value {{ string_value: "{value:.6f}" }} }}')
    (folder / "config.pbtxt").write_text("\n".join(lines) + "\n")


def learned_matrices(network: nn.Module, exported: onnx.ModelProto) -> set[str]:
    """Return the names in ``exported`` of what ``network`` learned, for what it was given stays as exact as it is.

    The exporter joins a convolution with its batch norm and names it anew.
    """
    given = {name for name, _ in network.named_buffers()}
    convolutions = {node.input[1] for node in exported.graph.node if node.op_type == "Conv"}
    return {name for name, _ in network.named_parameters()} | (convolutions - given)


def shorten_weights(model: onnx.ModelProto, as_bytes: Container[str]) -> onnx.ModelProto:
    """Keep the matrices of ``model`` short and return it: as 16-bit floats, and those named in ``as_bytes`` as bytes.

    16-bit floats stand behind a cast. Bytes stand behind a cast and a scale for each index of the first axis, the outputs
    of a convolution: the largest magnitude is 127. Activations stay 32-bit floats, so that no face of a batch changes
    another. The runtime folds these steps when it loads the network.
    """
    nodes = []
    for initializer in _matrices(model):
        name, values = initializer.name, numpy_helper.to_array(initializer)
        if name in as_bytes:
            largest = np.abs(values).max(axis=tuple(range(1, values.ndim)), keepdims=True)
            scales = (np.maximum(largest, np.finfo(np.float32).tiny) / 127.0).astype(np.float32)
            initializer.CopyFrom(numpy_helper.from_array(np.rint(values / scales).astype(np.int8), f"{name}_byte"))
            model.graph.initializer.append(numpy_helper.from_array(scales, f"{name}_scales"))
            nodes.append(helper.make_node("Cast", [f"{name}_byte"], [f"{name}_whole"], to=TensorProto.FLOAT))
            nodes.append(helper.make_node("Mul", [f"{name}_whole", f"{name}_scales"], [name]))
        else:
            initializer.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}_half"))
            nodes.append(helper.make_node("Cast", [f"{name}_half"], [name], to=TensorProto.FLOAT))
    return _with_first(model, nodes)


def read_weights(path: Path) -> dict[str, NDArray[np.float32]]:
    """Return the weights of an exported network by name, however they are kept."""
    found = {item.name: numpy_helper.to_array(item) for item in onnx.load(path).graph.initializer}
    weights = {}
    for name, values in found.items():
        if name.endswith("_byte"):
            weights[name.removesuffix("_byte")] = values * found[f"{name.removesuffix('_byte')}_scales"]
        else:
            weights[name.removesuffix("_half")] = values
    return {name: np.asarray(values, np.float32) for name, values in weights.items() if values.dtype.kind == "f"}


def _matrices(model: onnx.ModelProto) -> list[onnx.TensorProto]:
    floats = (item for item in model.graph.initializer if item.data_type == TensorProto.FLOAT)
    return [item for item in floats if len(item.dims) > 1]


def _with_first(model: onnx.ModelProto, nodes: list[onnx.NodeProto]) -> onnx.ModelProto:
    every = [*nodes, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(every)
    return model
