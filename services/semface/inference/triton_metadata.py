"""Whether what a Triton server says of a model is what the model repository here says of it."""

from collections.abc import Iterable, Sequence
from typing import Any, Final

from tritonclient.utils import np_to_triton_dtype  # type: ignore[import-untyped]

from semface.inference.engine import ModelMetadata, TensorMetadata

HASH_PARAMETER: Final = "sha256"
"""The parameter of a generated configuration that tells the network's hash, so that a client can see what is served."""

Described = dict[str, tuple[str, tuple[int, ...]]]


def describe_differences(model: ModelMetadata, served: Any, config: Any) -> list[str]:
    """Return how the server's ``ModelMetadataResponse`` and ``ModelConfig`` differ from ``model``, one line each.

    The hash is compared where the server's configuration tells one.
    """
    differences = []
    for kind, ours, theirs in (("inputs", model.inputs, served.inputs), ("outputs", model.outputs, served.outputs)):
        expected, found = _expected(ours), _found(theirs)
        if expected != found:
            differences.append(f"its {kind} are {found}, not {expected}")
    if model.version not in served.versions:
        differences.append(f"its versions are {list(served.versions)}, not {model.version}")
    if config.max_batch_size < model.max_batch_size:
        differences.append(f"its largest batch is {config.max_batch_size}, not {model.max_batch_size}")
    told = config.parameters[HASH_PARAMETER].string_value if HASH_PARAMETER in config.parameters else ""
    if told and told != model.hash:
        differences.append(f"its network is {told[:16]}, not {model.hash[:16]}")
    return differences


def _expected(tensors: Sequence[TensorMetadata]) -> Described:
    # The leading axis is the batch.
    return {tensor.name: (np_to_triton_dtype(tensor.dtype), (-1, *tensor.shape)) for tensor in tensors}


def _found(tensors: Iterable[Any]) -> Described:
    return {tensor.name: (tensor.datatype, tuple(tensor.shape)) for tensor in tensors}
