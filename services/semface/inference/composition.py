"""An ensemble as one ONNX network, for an engine in this process, and the small network between two others.

To begin a run takes as long as a small network's arithmetic, so a chain in one run is worth the making.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import TensorProto, helper, numpy_helper, version_converter

from semface.descriptors import DESCRIPTOR_SIZE, PORTION_SLICES
from semface.errors import Reason, SemfaceError
from semface.inference.ensembles import SELECTED_PORTIONS, SELECTION_MODEL, Ensemble, Step

_OPSET: Final = 17


def compose(ensemble: Ensemble, networks: Mapping[str, Path]) -> bytes:
    """Return ``ensemble`` as one ONNX network, made of the files of its ``networks``. Raises MODEL_LOADING."""
    models = {name: _read(name, path) for name, path in networks.items()}
    models[SELECTION_MODEL] = onnx.load_model_from_string(selection_network())
    chain = [(step, models[step.model]) for step in ensemble.steps]
    opset = max(_opset(model) for _, model in chain)
    renamed = [_renamed(step, _converted(model, opset).graph) for step, model in chain]
    tensors = {tensor.name: tensor for graph in renamed for tensor in (*graph.input, *graph.output)}
    graph = helper.make_graph(
        [node for graph in renamed for node in graph.node],
        ensemble.name,
        [tensors[name] for name in ensemble.inputs],
        [tensors[name] for name in ensemble.outputs],
        [values for graph in renamed for values in graph.initializer],
    )
    made = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", opset)],
        ir_version=max(model.ir_version for _, model in chain),
    )
    return bytes(made.SerializeToString())


def selection_network() -> bytes:
    """Return the ONNX file of ``portion_selection``; the same bytes every time."""
    nodes, constants, outputs = [], [numpy_helper.from_array(np.array([1], np.int64), "axis")], []
    for name, portion in SELECTED_PORTIONS.items():
        where = PORTION_SLICES[portion]
        for end, column in (("start", where.start), ("stop", where.stop)):
            constants.append(numpy_helper.from_array(np.array([column], np.int64), f"{name}_{end}"))
        nodes.append(helper.make_node("Slice", ["descriptors", f"{name}_start", f"{name}_stop", "axis"], [name]))
        outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", where.stop - where.start]))
    source = helper.make_tensor_value_info("descriptors", TensorProto.FLOAT, ["N", DESCRIPTOR_SIZE])
    graph = helper.make_graph(nodes, SELECTION_MODEL, [source], outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=8)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString(deterministic=True))


def _read(name: str, path: Path) -> onnx.ModelProto:
    try:
        return onnx.load(path)
    except (DecodeError, OSError) as error:
        raise SemfaceError(Reason.MODEL_LOADING, f"the network of model {name} is damaged or being written") from error


def _opset(model: onnx.ModelProto) -> int:
    return max(int(imported.version) for imported in model.opset_import if imported.domain in ("", "ai.onnx"))


def _converted(model: onnx.ModelProto, opset: int) -> onnx.ModelProto:
    return model if _opset(model) == opset else version_converter.convert_version(model, opset)


def _renamed(step: Step, graph: onnx.GraphProto) -> onnx.GraphProto:
    """Return ``graph`` with the tensors at its ends named as the ensemble does, all else by its network."""
    names = {**step.inputs, **step.outputs}

    def named(tensor: str) -> str:
        # No name stands for an input that is left out.
        return names.get(tensor, f"{step.model}/{tensor}") if tensor else ""

    made = onnx.GraphProto()
    made.CopyFrom(graph)
    for node in made.node:
        # Two networks may name theirs alike; a node needs no name.
        node.ClearField("name")
        node.input[:], node.output[:] = map(named, node.input), map(named, node.output)
    for values in made.initializer:
        values.name = named(values.name)
    for tensor in (*made.input, *made.output):
        tensor.name = named(tensor.name)
    return made
