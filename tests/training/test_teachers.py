"""The teachers that `make teachers` builds compute what the networks in the packages compute."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from training.datasets import REPOSITORY
from training.teacher_networks import folder
from training.teachers.tensorflow_js import read_weights

REFERENCE = REPOSITORY.parent / "shared" / "teachers"

# The range of each network's input: a uniform picture of noise inside it reaches every layer.
INPUT_RANGES = {
    "face_landmark": (0.0, 1.0),
    "face_detection_short_range": (-1.0, 1.0),
    "faceres": (-120.0, 130.0),
}


def test_quantised_weights_are_restored():
    entries = [
        {"name": "half", "shape": [2], "dtype": "float32", "quantization": {"dtype": "float16"}},
        {
            "name": "byte",
            "shape": [1, 2],
            "dtype": "float32",
            "quantization": {"dtype": "uint8", "scale": 0.5, "min": -3},
        },
        {"name": "axes", "shape": [], "dtype": "int32"},
    ]
    data = np.array([1.5, -2.0], "<f2").tobytes() + bytes([0, 255]) + np.array(7, "<i4").tobytes()
    weights = read_weights(entries, data)
    np.testing.assert_array_equal(weights["half"], np.array([1.5, -2.0], np.float32))
    np.testing.assert_array_equal(weights["byte"], np.array([[-3.0, 124.5]], np.float32))
    assert weights["axes"] == 7


@pytest.mark.parametrize("data", [bytes(4), bytes(12)])
def test_a_weight_file_of_another_length_is_refused(data: bytes):
    with pytest.raises(ValueError, match=r"bytes of weights|smaller than"):
        read_weights([{"name": "kernel", "shape": [2], "dtype": "float32"}], data)


def outputs(path: Path, limits: tuple[float, float]) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (source,) = session.get_inputs()
    shape = [size if isinstance(size, int) else 1 for size in source.shape]
    picture = np.random.default_rng(0).uniform(*limits, shape).astype(np.float32)
    return session.run(None, {source.name: picture})


@pytest.mark.slow
@pytest.mark.parametrize("name", INPUT_RANGES)
def test_a_built_teacher_equals_the_reference(name: str):
    built, reference = folder() / f"{name}.onnx", REFERENCE / f"{name}.onnx"
    if not built.exists():
        pytest.skip("the teachers are not built: make teachers")
    if not reference.exists():
        pytest.skip("needs the shared reference teachers")
    for ours, theirs in zip(outputs(built, INPUT_RANGES[name]), outputs(reference, INPUT_RANGES[name]), strict=True):
        assert ours.shape == theirs.shape
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4 * np.abs(theirs).max())
