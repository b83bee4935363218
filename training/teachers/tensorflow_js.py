"""Read the weights and graphs of TensorFlow.js: a JSON manifest beside one file of arrays, often quantised."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Weights = dict[str, NDArray[Any]]


def read_weights(entries: list[Mapping[str, Any]], data: bytes) -> Weights:
    """Return the arrays that a manifest's ``weights`` list in the bytes that hold them, dequantised, by name."""
    weights: Weights = {}
    offset = 0
    for entry in entries:
        quantisation = entry.get("quantization", {})
        stored = np.dtype(quantisation.get("dtype", entry["dtype"])).newbyteorder("<")
        count = int(np.prod(entry["shape"], dtype=np.int64))
        values = np.frombuffer(data, stored, count, offset).astype(entry["dtype"])
        if "scale" in quantisation:
            values = values * np.float32(quantisation["scale"]) + np.float32(quantisation["min"])
        weights[entry["name"]] = values.reshape(entry["shape"])
        offset += count * stored.itemsize
    if offset != len(data):
        raise ValueError(f"the manifest describes {offset} bytes of weights, the file has {len(data)}")
    return weights


def read_graph(model: Path, data: Path) -> Any:
    """Return a graph model (``model`` JSON, ``data`` weights) as a TensorFlow ``GraphDef`` with its constants."""
    import tensorflow as tf
    from google.protobuf import json_format

    description = json.loads(model.read_text())
    (group,) = description["weightsManifest"]
    weights = read_weights(group["weights"], data.read_bytes())
    graph = json_format.ParseDict(description["modelTopology"], tf.compat.v1.GraphDef())
    for node in graph.node:
        if node.op == "Const":
            tensor = tf.make_tensor_proto(weights[node.name])
            node.attr["value"].tensor.CopyFrom(tensor)
            node.attr["dtype"].type = tensor.dtype
    return graph
