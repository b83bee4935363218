import hashlib
from pathlib import Path

import numpy as np
import pytest

from semface.errors import Reason, SemfaceError
from semface.inference.repository import ModelRepository
from tests.inference.networks import DOUBLED, add_model


def refusal(root: Path, name: str) -> SemfaceError:
    with pytest.raises(SemfaceError) as caught:
        ModelRepository(root).model(name)
    return caught.value


def test_metadata_are_those_of_the_configuration_and_the_file(tmp_path: Path) -> None:
    more = 'parameters { key: "threshold" value { string_value: "0.5" } }'
    file = add_model(tmp_path, "double", more=more)
    model = ModelRepository(tmp_path).model("double").metadata
    assert (model.name, model.version, model.max_batch_size) == ("double", "1", 4)
    assert model.hash == hashlib.sha256(file.read_bytes()).hexdigest()
    assert model.parameters == {"threshold": "0.5"}
    (x,) = model.inputs
    assert (x.name, x.dtype, x.shape) == ("x", np.float32, (-1,))


def test_the_highest_version_is_served(tmp_path: Path) -> None:
    for version in ("9", "10"):
        add_model(tmp_path, "double", version=version)
    (tmp_path / "double" / "draft").mkdir()
    assert ModelRepository(tmp_path).model("double").metadata.version == "10"


def test_the_delay_is_read_in_seconds(tmp_path: Path) -> None:
    add_model(tmp_path, "double", more="dynamic_batching { max_queue_delay_microseconds: 500 }")
    assert ModelRepository(tmp_path).model("double").queue_delay_seconds == pytest.approx(5e-4)


@pytest.mark.parametrize("name", ["absent", "../double", "double/../double", "", "."])
def test_a_name_that_is_no_model_is_unknown(tmp_path: Path, name: str) -> None:
    add_model(tmp_path, "double")
    assert refusal(tmp_path / "double" if name == "../double" else tmp_path, name).reason is Reason.MODEL_UNKNOWN


def test_a_model_without_its_network_is_not_ready_until_the_file_comes(tmp_path: Path) -> None:
    file = add_model(tmp_path, "double")
    data = file.read_bytes()
    file.unlink()
    repository = ModelRepository(tmp_path)
    with pytest.raises(SemfaceError) as caught:
        repository.model("double")
    assert caught.value.reason is Reason.MODEL_LOADING
    file.write_bytes(data)
    assert repository.model("double").metadata.version == "1"


@pytest.mark.parametrize(
    "text",
    [
        "max_batch_size: four",
        "batch_size_maximum: 4",
        f'name: "triple" platform: "onnxruntime_onnx" max_batch_size: 4 {DOUBLED}',
        f'name: "double" platform: "tensorrt_plan" max_batch_size: 4 {DOUBLED}',
        f'name: "double" platform: "onnxruntime_onnx" {DOUBLED}',
        f'name: "double" platform: "onnxruntime_onnx" max_batch_size: 4 {DOUBLED.replace("FP32", "STRING")}',
    ],
    ids=["no number", "unknown field", "another name", "another platform", "no batch axis", "unknown type"],
)
def test_a_configuration_that_cannot_be_served_is_refused(tmp_path: Path, text: str) -> None:
    add_model(tmp_path, "double")
    (tmp_path / "double" / "config.pbtxt").write_text(text)
    error = refusal(tmp_path, "double")
    assert error.reason is Reason.MODEL_LOADING
    assert "double" in error.message


def test_names_are_those_with_a_configuration(tmp_path: Path) -> None:
    add_model(tmp_path, "double")
    add_model(tmp_path, "again")
    (tmp_path / "notes").mkdir()
    assert ModelRepository(tmp_path).names() == ["again", "double"]
