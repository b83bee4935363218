import json
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from semface.errors import Reason, SemfaceError
from semface.inference.derived_repository import (
    MANIFEST_FILE,
    build_repository,
    optimisation_profiles,
)
from semface.inference.ensembles import ENSEMBLES, SELECTION_MODEL
from semface.inference.repository import ModelRepository
from semface.inference.target import Target
from tests.inference.networks import add_model


@pytest.fixture(params=list(Target))
def target(request: pytest.FixtureRequest) -> Target:
    found: Target = request.param
    return found


def read(repository: Path) -> dict[str, Any]:
    """Return the configurations in ``repository`` as Triton's own client reads them."""
    found = {}
    for path in repository.glob("*/config.pbtxt"):
        found[path.parent.name] = text_format.Parse(path.read_text(), model_config_pb2.ModelConfig())
    return found


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_every_network_keeps_its_name_its_tensors_and_its_batches(
    tiny_repository: Path, tmp_path: Path, target: Target
) -> None:
    source = ModelRepository(tiny_repository)
    build_repository(source, tmp_path / "out", target)
    configs = read(tmp_path / "out")
    assert configs.keys() == {*source.names(), *ENSEMBLES, SELECTION_MODEL}
    for name in source.names():
        derived, committed = configs[name], source.config(name)
        assert list(derived.input) == list(committed.input)
        assert list(derived.output) == list(committed.output)
        assert derived.max_batch_size == committed.max_batch_size
        assert derived.parameters["sha256"].string_value == source.model(name).metadata.hash
        assert {*committed.parameters} <= {*derived.parameters}
        ours, theirs = derived.dynamic_batching, committed.dynamic_batching
        if target is Target.PYTHON and theirs.max_queue_delay_microseconds:
            assert (list(ours.preferred_batch_size), ours.max_queue_delay_microseconds) == ([8], 4000)
        else:
            assert ours.max_queue_delay_microseconds == theirs.max_queue_delay_microseconds


def test_nothing_is_cached_and_every_network_is_warm_before_it_is_asked(
    tiny_repository: Path, tmp_path: Path, target: Target
) -> None:
    build_repository(ModelRepository(tiny_repository), tmp_path / "out", target)
    for name, config in read(tmp_path / "out").items():
        assert not config.response_cache.enable
        if name in ENSEMBLES:
            continue
        assert [warm_up.batch_size for warm_up in config.model_warmup] == [1, 8]
        assert all(warm_up.inputs.keys() == {tensor.name for tensor in config.input} for warm_up in config.model_warmup)
        assert config.HasField("dynamic_batching")
        assert list(config.version_policy.specific.versions) == [1]
        assert len(config.instance_group) == 1


def test_each_target_has_what_its_backend_needs(tiny_repository: Path, tmp_path: Path) -> None:
    for target in Target:
        build_repository(ModelRepository(tiny_repository), tmp_path / target, target)
    python, onnx, tensorrt = (
        read(tmp_path / target)["face_detection_proposal"]
        for target in (Target.PYTHON, Target.ONNXRUNTIME, Target.TENSORRT)
    )
    folders = {
        target: {path.name for path in (tmp_path / target / "codec_analysis" / "1").iterdir()} for target in Target
    }
    assert python.backend == "python"
    assert folders[Target.PYTHON] == {"model.py", "model.onnx"}
    assert onnx.platform == "onnxruntime_onnx"
    assert folders[Target.ONNXRUNTIME] == {"model.onnx"}
    accelerators = {item.name: item for item in onnx.optimization.execution_accelerators.gpu_execution_accelerator}
    assert accelerators.keys() == {"tensorrt", "cuda"}
    assert accelerators["tensorrt"].parameters["trt_profile_min_shapes"] == "images:1x3x12x12"
    assert accelerators["tensorrt"].parameters["precision_mode"] == "FP32"
    assert accelerators["cuda"].parameters["use_tf32"] == "0"
    assert tensorrt.platform == "tensorrt_plan"
    assert tensorrt.default_model_filename == "model.plan"
    # A plan belongs to one GPU: `semface models engines` puts it there.
    assert folders[Target.TENSORRT] == set()
    profiles = json.loads(tensorrt.parameters["optimisation_profiles"].string_value)
    assert list(tensorrt.instance_group[0].profile) == [str(number) for number in range(len(profiles))]


@pytest.mark.parametrize(("size", "sizes"), [(1, [1]), (4, [1, 4]), (8, [1, 8]), (256, [1, 8, 256])])
def test_profiles_are_for_one_a_few_and_full_batches(size: int, sizes: list[int]) -> None:
    assert [usual for _, usual, _ in optimisation_profiles(size)] == sizes
    assert all(least == 1 <= usual <= most <= size for least, usual, most in optimisation_profiles(size))


def test_an_ensemble_joins_its_networks_by_the_names_that_they_know(tiny_repository: Path, tmp_path: Path) -> None:
    build_repository(ModelRepository(tiny_repository), tmp_path / "out", Target.PYTHON)
    configs = read(tmp_path / "out")
    for name, ensemble in ENSEMBLES.items():
        known = {tensor.name for tensor in configs[name].input}
        for step in configs[name].ensemble_scheduling.step:
            network = configs[step.model_name]
            assert {*step.input_map} == {tensor.name for tensor in network.input}
            assert {*step.output_map} <= {tensor.name for tensor in network.output}
            assert {*step.input_map.values()} <= known
            known |= {*step.output_map.values()}
        assert {*ensemble.outputs} <= known


def test_the_source_is_never_written_into(tmp_path: Path, target: Target) -> None:
    source = tmp_path / "source"
    add_model(source, "double")
    before = files(tmp_path)
    for output in (source, source / "double", source / "new", tmp_path):
        with pytest.raises(SemfaceError) as caught:
            build_repository(ModelRepository(source), output, target)
        assert caught.value.reason is Reason.FIELD_INVALID
    assert files(tmp_path) == before


def test_what_was_not_generated_is_not_overwritten(tiny_repository: Path, tmp_path: Path, target: Target) -> None:
    (tmp_path / "letter.txt").write_text("mine")
    with pytest.raises(SemfaceError, match="was not generated"):
        build_repository(ModelRepository(tiny_repository), tmp_path, target)
    assert files(tmp_path) == {"letter.txt": b"mine"}


def test_a_repository_built_again_holds_nothing_of_the_one_before(tmp_path: Path) -> None:
    add_model(tmp_path / "first", "gone")
    add_model(tmp_path / "second", "double")
    output = tmp_path / "out"
    build_repository(ModelRepository(tmp_path / "first"), output, Target.ONNXRUNTIME)
    build_repository(ModelRepository(tmp_path / "second"), output, Target.PYTHON)
    once = files(output)
    assert {name.split("/")[0] for name in once} == {"double", MANIFEST_FILE}
    build_repository(ModelRepository(tmp_path / "second"), output, Target.PYTHON)
    assert files(output) == once


def test_the_served_version_is_the_one_that_is_highest_here(tmp_path: Path) -> None:
    for version in ("1", "3"):
        add_model(tmp_path / "source", "double", version=version)
    build_repository(ModelRepository(tmp_path / "source"), tmp_path / "out", Target.PYTHON)
    assert list(read(tmp_path / "out")["double"].version_policy.specific.versions) == [3]
    assert (tmp_path / "out" / "double" / "3" / "model.onnx").is_file()
    assert not (tmp_path / "out" / "double" / "1").exists()


def test_a_network_that_is_not_there_yet_is_told_before_anything_is_written(tmp_path: Path) -> None:
    add_model(tmp_path / "source", "double").unlink()
    with pytest.raises(SemfaceError) as caught:
        build_repository(ModelRepository(tmp_path / "source"), tmp_path / "out", Target.PYTHON)
    assert caught.value.reason is Reason.MODEL_LOADING
    assert not (tmp_path / "out").exists()
