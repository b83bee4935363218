"""Whether the networks of a repository are what their configurations and model cards say."""

import numpy as np
import onnxruntime as ort

from semface.errors import SemfaceError
from semface.inference.cards import CARD_FILE
from semface.inference.engine import Arrays, Engine, ModelMetadata, TensorMetadata
from semface.inference.ensembles import ENSEMBLES, run_steps
from semface.inference.example_inputs import example_inputs
from semface.inference.repository import ModelRepository

AGREEMENT_ROWS = 16
"""Rows by which two engines are compared."""

ONNX_TYPES = {
    "tensor(bool)": np.dtype(np.bool_),
    "tensor(uint8)": np.dtype(np.uint8),
    "tensor(int32)": np.dtype(np.int32),
    "tensor(int64)": np.dtype(np.int64),
    "tensor(float16)": np.dtype(np.float16),
    "tensor(float)": np.dtype(np.float32),
}


async def check_model(engine: Engine, repository: ModelRepository, name: str) -> list[str]:
    """Return what is wrong with model ``name``, one line each; empty when it can be served.

    It must load, have the tensors that its configuration names and a model card, answer with finite numbers, and answer
    a row alone as it does among others.
    """
    try:
        model = repository.model(name)
        problems = _tensor_problems(
            model.metadata, ort.InferenceSession(model.path, providers=["CPUExecutionProvider"])
        )
        if not (repository.root / name / CARD_FILE).is_file():
            problems.append(f"has no {CARD_FILE}")
        return problems or await _answer_problems(engine, model.metadata)
    except SemfaceError as error:
        return [error.message]
    except Exception as error:  # whatever ONNX Runtime says of a network that it cannot load or run
        return [f"cannot be run: {' '.join(str(error).split())}"]


def _tensor_problems(model: ModelMetadata, session: ort.InferenceSession) -> list[str]:
    problems = []
    for told, found in ((model.inputs, session.get_inputs()), (model.outputs, session.get_outputs())):
        expected = {tensor.name: _described(tensor) for tensor in told}
        actual = {
            node.name: (ONNX_TYPES.get(node.type), tuple(s if isinstance(s, int) else -1 for s in node.shape[1:]))
            for node in found
        }
        if expected != actual:
            problems.append(f"its configuration says {expected}, its network {actual}")
    return problems


def _described(tensor: TensorMetadata) -> tuple[np.dtype[np.generic], tuple[int, ...]]:
    return tensor.dtype, tensor.shape


async def _answer_problems(engine: Engine, model: ModelMetadata) -> list[str]:
    inputs = example_inputs(model, rows=min(3, model.max_batch_size))
    together = await engine.infer(model.name, inputs)
    alone = await engine.infer(model.name, {name: array[:1] for name, array in inputs.items()})
    problems = []
    for name, array in together.items():
        if not np.isfinite(array).all():
            problems.append(f"{name} is not finite")
        if not np.array_equal(array[:1], alone[name]):
            problems.append(f"{name} of a row changes with the rows beside it")
    return problems


async def compare_engines(first: Engine, second: Engine, name: str) -> str:
    """Return how far the answers of two engines for model ``name`` are apart on the same noise; empty when equal."""
    model = first.metadata(name)
    inputs = example_inputs(model, rows=min(AGREEMENT_ROWS, model.max_batch_size))
    try:
        return _difference(await first.infer(name, inputs), await second.infer(name, inputs))
    except SemfaceError as error:
        return error.message


async def compare_ensemble(plain: Engine, server: Engine, name: str) -> str:
    """Return how far one call of ensemble ``name`` of ``server`` is from the calls of ``plain`` in its place."""
    model = server.metadata(name)
    inputs = example_inputs(model, rows=min(AGREEMENT_ROWS, model.max_batch_size))
    try:
        tensors = await run_steps(plain, ENSEMBLES[name], inputs)
        return _difference({key: tensors[key] for key in ENSEMBLES[name].outputs}, await server.infer(name, inputs))
    except SemfaceError as error:
        return error.message


def _difference(ours: Arrays, theirs: Arrays) -> str:
    if all(np.array_equal(ours[key], theirs[key]) for key in ours):
        return ""
    furthest = max(float(np.abs(ours[key].astype(np.float64) - theirs[key]).max()) for key in ours)
    return f"answers differ between the engines by up to {furthest:.3g}"
