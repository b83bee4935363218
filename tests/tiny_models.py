"""A complete model repository of tiny networks with seeded weights, so that the running system can be tested anywhere.

The networks have the interfaces of the real ones and behave: descriptors depend smoothly on the picture, the codec is
near lossless, embeddings keep the angle between identities. The face detector is the real one, built from its package.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from semface.descriptors import DESCRIPTOR_SIZE, GROUPS, PORTION_SLICES, Portion
from semface.extraction.alignment import CROP_SIZE

SEED = 20220101
LATENT_SLICES = {
    Portion.IDENTITY: slice(0, 160),
    Portion.EXPRESSION: slice(160, 232),
    Portion.ILLUMINATION: slice(232, 256),
}
SPREADS = {"shape": 1.0, "texture": 1.0, "expression": 0.5, "rotation": 0.1, "translation": 5.0, "illumination": 0.05}
GAINS = (1.0, 2.0, 4.0)
PRIOR_MINIMUM = -64
PRIOR_SYMBOLS = 129
PRECISION_BITS = 16
VERIFICATION_THRESHOLDS = {"threshold_far_1e-2": 0.5, "threshold_far_1e-3": 0.6, "threshold_accuracy": 0.45}
TYPE_NAMES = {TensorProto.UINT8: "TYPE_UINT8", TensorProto.FLOAT: "TYPE_FP32"}

Tensor = tuple[str, int, Sequence[int]]
"""Name, element type and shape without the batch axis."""


def build_tiny_repository(path: Path) -> Path:
    """Write the eight networks, and DAN, under ``path`` and return it. The same files come out every time."""
    path.mkdir(parents=True, exist_ok=True)
    _build_detector(path)
    _build_extraction(path)
    _build_codec(path)
    _build_expression(path)
    _build_verification(path)
    _build_dan(path)
    return path


def _build_detector(path: Path) -> None:
    from semface.cli.models import build_detector

    build_detector(path)


def _build_extraction(path: Path) -> None:
    random = np.random.default_rng(SEED)
    window = CROP_SIZE // 8
    pooled = 8 * 8 * 3
    weights = random.normal(0, 1 / np.sqrt(pooled), (pooled, DESCRIPTOR_SIZE)) * _spread()
    nodes = [
        helper.make_node("Cast", ["crops"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["pixels"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("AveragePool", ["planes"], ["pooled"], kernel_shape=[window] * 2, strides=[window] * 2),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("Sub", ["flat", "grey"], ["centred"]),
        helper.make_node("MatMul", ["centred", "weights"], ["descriptors"]),
        # A face of more contrast is taken to be recognised better.
        helper.make_node("Div", ["centred", "scale"], ["scaled"]),
        helper.make_node("ReduceL2", ["scaled"], ["contrast"], axes=[1], keepdims=1),
        helper.make_node("Tanh", ["contrast"], ["quality"]),
    ]
    constants = {"grey": np.array([127.5]), "weights": weights / 64, "scale": np.array([127.5])}
    crops = ("crops", TensorProto.UINT8, (CROP_SIZE, CROP_SIZE, 3))
    answers = [_vectors("descriptors", DESCRIPTOR_SIZE), _vectors("quality", 1)]
    _write(path, "descriptor_extraction", nodes, constants, crops, *answers)


def _build_codec(path: Path) -> None:
    forward, backward = _codec_matrices()
    latents, descriptors = _vectors("latents", 256), _vectors("descriptors", DESCRIPTOR_SIZE)
    analysis = [helper.make_node("MatMul", ["descriptors", "weights"], ["latents"])]
    synthesis = [helper.make_node("MatMul", ["latents", "weights"], ["descriptors"])]
    _write(path, "codec_analysis", analysis, {"weights": forward}, descriptors, latents)
    _write(path, "codec_synthesis", synthesis, {"weights": backward}, latents, descriptors)
    np.savez(
        path / "codec_synthesis" / "1" / "prior.npz",
        gains=np.repeat(np.array(GAINS, np.float32)[:, None], 256, axis=1),
        frequencies=np.stack([np.tile(_laplace_frequencies(gain), (256, 1)) for gain in GAINS]),
        minimum=np.full((len(GAINS), 256), PRIOR_MINIMUM, np.int32),
        quality_names=np.array(["low", "medium", "high"]),
        default_quality=np.int64(1),
    )


def _build_expression(path: Path) -> None:
    random = np.random.default_rng(SEED + 1)
    weights = random.normal(0, 0.2, (70, 8)) / _spread()[PORTION_SLICES[Portion.EXPRESSION], None]
    nodes = [
        helper.make_node("MatMul", ["descriptors", "weights"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["confidences"], axis=1),
    ]
    _write(
        path,
        "expression_recognition",
        nodes,
        {"weights": weights},
        _vectors("descriptors", 70),
        _vectors("confidences", 8),
    )


def _build_dan(path: Path) -> None:
    random = np.random.default_rng(SEED + 3)
    window, heads = CROP_SIZE // 4, 4
    nodes = [
        helper.make_node("Cast", ["crops"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["pixels"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("AveragePool", ["planes"], ["pooled"], kernel_shape=[window] * 2, strides=[window] * 2),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weights"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["confidences"], axis=1),
        helper.make_node("Conv", ["pooled", "heads"], ["attention"]),
    ]
    constants = {
        "weights": random.normal(0, 0.003, (4 * 4 * 3, 8)),
        "heads": np.abs(random.normal(size=(heads, 3, 1, 1))),
    }
    crops = ("crops", TensorProto.UINT8, (CROP_SIZE, CROP_SIZE, 3))
    attention = ("attention", TensorProto.FLOAT, (heads, 4, 4))
    _write(path, "dan", nodes, constants, crops, _vectors("confidences", 8), attention)


def _build_verification(path: Path) -> None:
    weights = _orthonormal(512, SEED + 2)[:160]
    nodes = [
        helper.make_node("MatMul", ["descriptors", "weights"], ["projected"]),
        helper.make_node("ReduceL2", ["projected"], ["norm"], axes=[1], keepdims=1),
        helper.make_node("Max", ["norm", "floor"], ["safe"]),
        helper.make_node("Div", ["projected", "safe"], ["embedding"]),
    ]
    constants = {"weights": weights, "floor": np.array([1e-6])}
    _write(
        path,
        "face_verification",
        nodes,
        constants,
        _vectors("descriptors", 160),
        _vectors("embedding", 512),
        parameters=VERIFICATION_THRESHOLDS,
    )


def _spread() -> NDArray[np.float64]:
    spread = np.empty(DESCRIPTOR_SIZE)
    for name, where in GROUPS.items():
        spread[where] = SPREADS[name]
    return spread


def _orthonormal(size: int, seed: int) -> NDArray[np.float64]:
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(size, size)))[0]


def _codec_matrices() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return block-diagonal analysis (257, 256) and synthesis (256, 257), inverse up to three lighting numbers."""
    forward, backward = np.zeros((DESCRIPTOR_SIZE, 256)), np.zeros((256, DESCRIPTOR_SIZE))
    spread = _spread()
    for portion, latent in LATENT_SLICES.items():
        where = PORTION_SLICES[portion]
        rows, columns = where.stop - where.start, latent.stop - latent.start
        rotation = _orthonormal(max(rows, columns), SEED + 10 + portion.value)[:rows, :columns]
        forward[where, latent] = rotation / spread[where, None]
        backward[latent, where] = rotation.T * spread[where]
    return forward, backward


def _laplace_frequencies(gain: float) -> NDArray[np.uint32]:
    """Return (S,) positive integers that sum to 2^16: a Laplace distribution of unit deviation times ``gain``."""
    values = np.arange(PRIOR_SYMBOLS) + PRIOR_MINIMUM
    likelihood = np.exp(-np.abs(values) * np.sqrt(2) / gain)
    spare = 2**PRECISION_BITS - PRIOR_SYMBOLS
    frequencies = 1 + np.floor(spare * likelihood / likelihood.sum()).astype(np.uint32)
    frequencies[-PRIOR_MINIMUM] += 2**PRECISION_BITS - frequencies.sum()
    return frequencies


def _vectors(name: str, size: int) -> Tensor:
    return (name, TensorProto.FLOAT, (size,))


def _write(
    path: Path,
    name: str,
    nodes: list[onnx.NodeProto],
    constants: dict[str, NDArray[np.float64]],
    source: Tensor,
    *targets: Tensor,
    parameters: dict[str, float] | None = None,
) -> None:
    folder = path / name / "1"
    folder.mkdir(parents=True, exist_ok=True)
    graph = helper.make_graph(
        nodes,
        name,
        [helper.make_tensor_value_info(source[0], source[1], ["N", *source[2]])],
        [helper.make_tensor_value_info(target[0], target[1], ["N", *target[2]]) for target in targets],
        [numpy_helper.from_array(value.astype(np.float32), key) for key, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, folder / "model.onnx")
    (path / name / "config.pbtxt").write_text(_config(name, source, targets, parameters or {}), encoding="utf-8")


def _config(name: str, source: Tensor, targets: Sequence[Tensor], parameters: dict[str, float]) -> str:
    lines = [f'name: "{name}"', 'platform: "onnxruntime_onnx"', "max_batch_size: 32"]
    for kind, (tensor, element, shape) in (("input", source), *(("output", target) for target in targets)):
        dims = ", ".join(map(str, shape))
        lines.append(f'{kind} [ {{ name: "{tensor}" data_type: {TYPE_NAMES[element]} dims: [ {dims} ] }} ]')
    lines.append("dynamic_batching { max_queue_delay_microseconds: 500 }")
    for key, value in parameters.items():
        lines.append(f'parameters {{ key: "{key}" value {{ string_value: "{value}" }} }}')
    return "\n".join(lines) + "\n"
