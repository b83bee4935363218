"""Repositories for Triton, derived from the committed one: its ``config.pbtxt`` is the single source of all.

``python`` runs on any Triton with the Python backend, on a CPU; ``onnxruntime`` on a GPU with the backend of that name;
``tensorrt`` on a GPU, from plans that ``semface models engines`` builds there.
"""

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2  # type: ignore[import-untyped]

from semface.descriptors import DESCRIPTOR_SIZE, PORTION_SLICES
from semface.errors import Reason, SemfaceError
from semface.inference.composition import selection_network
from semface.inference.ensembles import (
    ENSEMBLES,
    SELECTED_PORTIONS,
    SELECTION_MODEL,
    Ensemble,
    ensemble_metadata,
    members,
)
from semface.inference.example_inputs import example_shape
from semface.inference.repository import CONFIG_FILE, NETWORK_FILE, PLATFORM, ModelRepository
from semface.inference.target import Target
from semface.inference.triton_metadata import HASH_PARAMETER

PLAN_FILE: Final = "model.plan"
MANIFEST_FILE: Final = "generated.json"
"""Lies in a generated repository; only a folder that has it, or an empty one, is written into."""

FREE_SIDES: Final = (12, 384, 1024)
"""Least, usual and largest size on a GPU of an axis that may have any: the pyramid that detection looks at."""

CPU_BATCH: Final = 8
"""So many rows start at once on a CPU: larger batches are no quicker there for each row."""

CPU_QUEUE_MICROSECONDS: Final = 4000
"""How long fewer wait, where waiting pays: callers that were answered together need about as long to ask again."""

WORKSPACE_BYTES: Final = 1 << 30
PYTHON_MODEL: Final = Path(__file__).parent / "python_backend" / "model.py"


def build_repository(source: ModelRepository, output: Path, target: Target, instances: int = 2) -> list[Path]:
    """Write the repository for ``target`` into ``output`` and return its configurations.

    ``instances`` of each network that looks at pictures run at once on a CPU. Everything that an earlier call wrote
    there is replaced. Raises FIELD_INVALID when ``output`` is in the source or holds anything else, and what reading a
    model raises.
    """
    _check_output(source.root, output)
    configs = {name: _with_hash(source, name) for name in source.names()}
    if output.exists():
        shutil.rmtree(output)
    output.mkdir(parents=True)
    write_manifest(output, target, {})
    derive = _DERIVATIONS[target]
    networks = {name: source.model(name).path for name in configs}
    ensembles = [found for found in ENSEMBLES.values() if members(found) <= configs.keys() | {SELECTION_MODEL}]
    if any(SELECTION_MODEL in members(found) for found in ensembles):
        configs[SELECTION_MODEL] = _selection_config(max(config.max_batch_size for config in configs.values()))
        networks[SELECTION_MODEL] = output / SELECTION_MODEL / "1" / NETWORK_FILE
    written = [
        _write_model(output, _completed(derive(config, instances), instances), networks[name], target)
        for name, config in configs.items()
    ]
    return [*written, *(_write_ensemble(output, _ensemble_config(source, found, configs)) for found in ensembles)]


def write_manifest(repository: Path, target: Target, engines: Mapping[str, Any]) -> None:
    """Say in ``repository`` that it is generated, for which ``target``, and from which TensorRT ``engines``."""
    text = json.dumps({"target": target.value, "engines": dict(engines)}, indent=2)
    (repository / MANIFEST_FILE).write_text(text + "\n", encoding="utf-8")


def optimisation_profiles(max_batch_size: int) -> list[tuple[int, int, int]]:
    """Return the batch sizes (least, usual, most) of each TensorRT profile: one face, a few, full batches."""
    usual = sorted({1, min(8, max_batch_size), max_batch_size})
    return [(1, size, size) for size in usual]


def profile_sides(max_batch_size: int, dims: Sequence[int]) -> list[tuple[int, int, int]]:
    """Return the least, usual and largest size of each axis, the batch's first, for tensors of shape ``dims``."""
    batch = (1, min(8, max_batch_size), max_batch_size)
    return [batch, *(FREE_SIDES if side == -1 else (side, side, side) for side in dims)]


def _check_output(source: Path, output: Path) -> None:
    inside, target = source.resolve(), output.resolve()
    if target.is_relative_to(inside) or inside.is_relative_to(target):
        message = f"{output} is or holds the repository that is read; name a folder elsewhere, such as build/repository"
        raise SemfaceError(Reason.FIELD_INVALID, message, field="output")
    if output.exists() and (not output.is_dir() or (any(output.iterdir()) and not (output / MANIFEST_FILE).is_file())):
        message = f"{output} holds something that was not generated; name an empty folder"
        raise SemfaceError(Reason.FIELD_INVALID, message, field="output")


def _with_hash(source: ModelRepository, name: str) -> Any:
    metadata, config = source.model(name).metadata, source.config(name)
    config.name = name
    config.parameters[HASH_PARAMETER].string_value = metadata.hash
    config.version_policy.specific.versions.append(int(metadata.version))
    return config


def _completed(config: Any, instances: int) -> Any:
    """Return ``config`` with what every target has: warm-up, no cache, and instances where none are told."""
    # Faces are unique and biometric: a cache would be of no use, and would keep them.
    config.response_cache.enable = False
    if not config.instance_group:
        count = instances if any(len(tensor.dims) > 1 for tensor in config.input) else 1
        config.instance_group.add(kind=model_config_pb2.ModelInstanceGroup.KIND_CPU, count=count)
    for size in sorted({1, min(8, config.max_batch_size)}):
        warm_up = config.model_warmup.add(name=f"batch of {size}", batch_size=size, count=1)
        for tensor in config.input:
            entry = warm_up.inputs[tensor.name]
            entry.data_type = tensor.data_type
            entry.dims.extend(example_shape(tensor.dims))
            entry.zero_data = True
    return config


def _python(config: Any, instances: int) -> Any:
    config.ClearField("platform")
    config.backend = "python"
    queue = config.dynamic_batching
    if queue.max_queue_delay_microseconds:
        queue.preferred_batch_size.append(min(CPU_BATCH, config.max_batch_size))
        queue.max_queue_delay_microseconds = CPU_QUEUE_MICROSECONDS
    return config


def _onnxruntime(config: Any, instances: int) -> Any:
    accelerators = config.optimization.execution_accelerators.gpu_execution_accelerator
    # What TensorRT does not take falls to CUDA. Full precision: only checked plans may change numbers.
    tensorrt = accelerators.add(name="tensorrt")
    tensorrt.parameters["precision_mode"] = "FP32"
    tensorrt.parameters["max_workspace_size_bytes"] = str(WORKSPACE_BYTES)
    # One engine for all sizes of batch and picture, not a new one whenever a size is met first.
    for place, key in enumerate(("min", "opt", "max")):
        tensorrt.parameters[f"trt_profile_{key}_shapes"] = ",".join(
            f"{tensor.name}:"
            + "x".join(str(sides[place]) for sides in profile_sides(config.max_batch_size, tensor.dims))
            for tensor in config.input
        )
    cuda = accelerators.add(name="cuda")
    cuda.parameters["cudnn_conv_use_max_workspace"] = "1"
    cuda.parameters["use_ep_level_unified_stream"] = "1"
    # TF32 keeps 10 bits of a mantissa, which would change what the codec rounds.
    cuda.parameters["use_tf32"] = "0"
    config.instance_group.add(kind=model_config_pb2.ModelInstanceGroup.KIND_GPU, count=1)
    return config


def _tensorrt(config: Any, instances: int) -> Any:
    # The selection of columns has no weights and nothing to gain from a plan.
    if config.name == SELECTION_MODEL:
        return _onnxruntime(config, instances)
    config.platform = "tensorrt_plan"
    config.default_model_filename = PLAN_FILE
    profiles = optimisation_profiles(config.max_batch_size)
    config.instance_group.add(
        kind=model_config_pb2.ModelInstanceGroup.KIND_GPU,
        count=1,
        profile=[str(number) for number in range(len(profiles))],
    )
    config.parameters["optimisation_profiles"].string_value = json.dumps(profiles)
    config.dynamic_batching.preferred_batch_size.extend(usual for _, usual, _ in profiles[1:])
    return config


_DERIVATIONS: Final[Mapping[Target, Callable[[Any, int], Any]]] = MappingProxyType(
    {Target.PYTHON: _python, Target.ONNXRUNTIME: _onnxruntime, Target.TENSORRT: _tensorrt}
)


def derived_config(source: ModelRepository, name: str, target: Target, instances: int = 2) -> Any:
    """Return the configuration of model ``name`` of ``source`` as it is for ``target``."""
    return _completed(_DERIVATIONS[target](_with_hash(source, name), instances), instances)


def write_model(repository: Path, config: Any, network: Path, target: Target) -> Path:
    """Write one model into ``repository`` in place of what is there, with the files that ``target`` needs."""
    shutil.rmtree(repository / config.name, ignore_errors=True)
    return _write_model(repository, config, network, target)


def _write_model(repository: Path, config: Any, network: Path, target: Target) -> Path:
    path = _write_config(repository, config)
    version = path.parent / (str(config.version_policy.specific.versions[0]))
    version.mkdir(exist_ok=True)
    if config.name == SELECTION_MODEL:
        (version / NETWORK_FILE).write_bytes(selection_network())
    elif config.platform == PLATFORM or target is Target.PYTHON:
        shutil.copyfile(network, version / NETWORK_FILE)
    if target is Target.PYTHON:
        shutil.copyfile(PYTHON_MODEL, version / PYTHON_MODEL.name)
    return path


def _write_config(repository: Path, config: Any) -> Path:
    path: Path = repository / config.name / CONFIG_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text_format.MessageToString(config), encoding="utf-8")
    return path


def _write_ensemble(output: Path, config: Any) -> Path:
    path = _write_config(output, config)
    # Triton looks for a folder of a version even where there is nothing to put into it.
    (path.parent / "1").mkdir()
    return path


def _ensemble_config(source: ModelRepository, ensemble: Ensemble, configs: Mapping[str, Any]) -> Any:
    metadata = ensemble_metadata(source, ensemble)
    config = model_config_pb2.ModelConfig(
        name=ensemble.name, platform="ensemble", max_batch_size=metadata.max_batch_size
    )
    config.parameters[HASH_PARAMETER].string_value = metadata.hash
    tensors: dict[str, tuple[int, list[int]]] = {}
    for step in ensemble.steps:
        for told, names in ((configs[step.model].input, step.inputs), (configs[step.model].output, step.outputs)):
            tensors |= {
                names[tensor.name]: (tensor.data_type, list(tensor.dims)) for tensor in told if tensor.name in names
            }
        made = config.ensemble_scheduling.step.add(model_name=step.model, model_version=-1)
        made.input_map.update(step.inputs)
        made.output_map.update(step.outputs)
    for ends, told in ((ensemble.inputs, config.input), (ensemble.outputs, config.output)):
        for name in ends:
            told.add(name=name, data_type=tensors[name][0], dims=tensors[name][1])
    return config


def _selection_config(max_batch_size: int) -> Any:
    config = model_config_pb2.ModelConfig(name=SELECTION_MODEL, platform=PLATFORM, max_batch_size=max_batch_size)
    config.input.add(name="descriptors", data_type=model_config_pb2.TYPE_FP32, dims=[DESCRIPTOR_SIZE])
    for name, portion in SELECTED_PORTIONS.items():
        where = PORTION_SLICES[portion]
        config.output.add(name=name, data_type=model_config_pb2.TYPE_FP32, dims=[where.stop - where.start])
    config.dynamic_batching.max_queue_delay_microseconds = 0
    config.version_policy.specific.versions.append(1)
    return config
