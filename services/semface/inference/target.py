"""What a model repository for Triton can be derived for."""

from enum import StrEnum


class Target(StrEnum):
    """Who runs the networks under Triton."""

    PYTHON = "python"
    """ONNX Runtime inside the Python backend, on any Triton, on a CPU."""

    ONNXRUNTIME = "onnxruntime"
    """The ONNX Runtime backend on a GPU, with TensorRT and CUDA below it."""

    TENSORRT = "tensorrt"
    """TensorRT plans on the GPU that they were built on."""
