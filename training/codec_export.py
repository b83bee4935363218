"""Writing the codec into a model repository: both networks as ONNX, their configurations, and the frozen prior."""

from pathlib import Path

import onnx
import torch
from torch import nn

from semface.codec.prior import ANALYSIS_MODEL, LATENT_SIZE, MODEL_VERSION, SYNTHESIS_MODEL, prior_path
from semface.descriptors import DESCRIPTOR_SIZE
from training import codec_prior
from training.codec_network import Analysis, CodecNetwork, Synthesis
from training.descriptor_networks import halve_weights

OPSET = 17
MAX_BATCH_SIZE = 256
QUEUE_DELAY_MICROSECONDS = 0
"""A network of 0.04 ms is not worth a wait for company, and an event loop cannot wait for less than a millisecond."""


def export(network: CodecNetwork, prior: codec_prior.Frozen, repository: Path) -> None:
    """Write ``codec_analysis``, ``codec_synthesis`` and ``prior.npz`` into ``repository``."""
    descriptors, latents = ("descriptors", DESCRIPTOR_SIZE), ("latents", LATENT_SIZE)
    _write(Analysis(network), repository / ANALYSIS_MODEL, descriptors, latents)
    _write(Synthesis(network), repository / SYNTHESIS_MODEL, latents, descriptors)
    codec_prior.write(prior_path(repository), prior)


def _write(model: nn.Module, folder: Path, source: tuple[str, int], target: tuple[str, int]) -> None:
    path = folder / MODEL_VERSION / "model.onnx"
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.onnx.export(
        model.eval(),
        (torch.zeros(2, source[1]),),
        str(path),
        dynamo=False,
        opset_version=OPSET,
        input_names=[source[0]],
        output_names=[target[0]],
        dynamic_axes={source[0]: {0: "batch"}, target[0]: {0: "batch"}},
    )
    graph = halve_weights(onnx.load(path))
    onnx.checker.check_model(graph, full_check=True)
    onnx.save(graph, path)
    (folder / "config.pbtxt").write_text(_configuration(folder.name, source, target))


def _configuration(name: str, source: tuple[str, int], target: tuple[str, int]) -> str:
    return f"""name: "{name}"
platform: "onnxruntime_onnx"
max_batch_size: {MAX_BATCH_SIZE}
input [ {{ name: "{source[0]}" data_type: TYPE_FP32 dims: [ {source[1]} ] }} ]
output [ {{ name: "{target[0]}" data_type: TYPE_FP32 dims: [ {target[1]} ] }} ]
dynamic_batching {{ max_queue_delay_microseconds: {QUEUE_DELAY_MICROSECONDS} }}
"""
