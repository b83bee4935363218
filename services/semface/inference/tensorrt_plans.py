"""TensorRT plans from ONNX networks, on the machine whose GPU will run them.

``tensorrt`` and ``cuda-python`` (extra ``tensorrt``) are imported when a builder is made, never before.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from semface.errors import Reason, SemfaceError
from semface.inference.derived_repository import FREE_SIDES, WORKSPACE_BYTES, optimisation_profiles
from semface.inference.engine import Arrays, ModelMetadata

RunPlan = Callable[[Arrays], dict[str, NDArray[Any]]]
Shapes = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]
"""The least, usual and largest shape of an input."""

CALIBRATION_ROWS: Final = 8


class Precision(StrEnum):
    """In what numbers a plan may compute."""

    FP32 = "fp32"
    FP16 = "fp16"
    INT8 = "int8"


class PlanBuilder(Protocol):
    """Builds plans for one GPU and runs them there."""

    gpu: str
    """The GPU's name."""

    version: str
    """TensorRT's version."""

    def build(
        self, network: Path, profiles: Sequence[Mapping[str, Shapes]], precision: Precision, calibration: Arrays
    ) -> bytes:
        """Return the plan of the ONNX file ``network``; ``calibration`` are inputs that int8 takes its scales from.

        Raises MODEL_LOADING when TensorRT cannot build it.
        """

    def load(self, plan: bytes) -> RunPlan:
        """Return a function that runs ``plan`` on at most as many rows as its largest profile has."""


def plan_folder(cache: Path, builder: PlanBuilder) -> Path:
    """Return where plans for the builder's GPU and TensorRT version are kept: they run nowhere else."""
    gpu = re.sub(r"[^a-z0-9]+", "-", builder.gpu.lower()).strip("-")
    return cache / gpu / f"tensorrt-{builder.version}"


def plan_profiles(model: ModelMetadata) -> list[dict[str, Shapes]]:
    """Return the shapes of each input in each optimisation profile of ``model``."""
    profiles = []
    for sizes in optimisation_profiles(model.max_batch_size):
        shapes = {}
        for tensor in model.inputs:
            least, usual, most = (
                (size, *(FREE_SIDES[place] if side == -1 else side for side in tensor.shape))
                for place, size in enumerate(sizes)
            )
            shapes[tensor.name] = (least, usual, most)
        profiles.append(shapes)
    return profiles


def calibration_shapes(inputs: Arrays) -> dict[str, tuple[int, ...]]:
    """Return the shape in which a calibrator hands over each of ``inputs``: TensorRT reads just so much each time."""
    return {name: (CALIBRATION_ROWS, *array.shape[1:]) for name, array in inputs.items()}


class TensorRTBuilder:
    """The ``PlanBuilder`` on this machine's first GPU."""

    def __init__(self) -> None:
        """Import TensorRT and look for a GPU. Raises BACKEND_AWAY where either is lacking."""
        try:
            import tensorrt
            from cuda.bindings import runtime
        except ImportError as error:
            message = (
                "plans are built on the machine whose GPU runs them, with `pip install semface[tensorrt]`: "
                f"{error.name} is not installed"
            )
            raise SemfaceError(Reason.BACKEND_AWAY, message) from error
        self._tensorrt = tensorrt
        self._cuda = runtime
        self._logger = tensorrt.Logger(tensorrt.Logger.WARNING)
        self.version = str(tensorrt.__version__)
        try:
            self.gpu = _text(self._checked(runtime.cudaGetDeviceProperties(0)).name)
        except RuntimeError as error:
            raise SemfaceError(Reason.BACKEND_AWAY, "there is no GPU on this machine to build plans for") from error

    def build(
        self, network: Path, profiles: Sequence[Mapping[str, Shapes]], precision: Precision, calibration: Arrays
    ) -> bytes:
        """See :meth:`PlanBuilder.build`."""
        trt = self._tensorrt
        builder = trt.Builder(self._logger)
        definition, config = builder.create_network(0), builder.create_builder_config()
        parser = trt.OnnxParser(definition, self._logger)
        if not parser.parse(network.read_bytes()):
            message = f"TensorRT cannot read {network}: {parser.get_error(0).desc()}"
            raise SemfaceError(Reason.MODEL_LOADING, message)
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, WORKSPACE_BYTES)
        config.clear_flag(trt.BuilderFlag.TF32)
        if precision is not Precision.FP32:
            config.set_flag(trt.BuilderFlag.FP16)
        for shapes in profiles:
            profile = builder.create_optimization_profile()
            for name, (least, usual, most) in shapes.items():
                profile.set_shape(name, least, usual, most)
            config.add_optimization_profile(profile)
        if precision is Precision.INT8:
            config.set_flag(trt.BuilderFlag.INT8)
            config.int8_calibrator = self._calibrator(calibration)
            profile = builder.create_optimization_profile()
            for name, shape in calibration_shapes(calibration).items():
                profile.set_shape(name, shape, shape, shape)
            config.set_calibration_profile(profile)
        plan = builder.build_serialized_network(definition, config)
        if plan is None:
            raise SemfaceError(Reason.MODEL_LOADING, f"TensorRT cannot build {network} in {precision}")
        return bytes(plan)

    def load(self, plan: bytes) -> RunPlan:
        """See :meth:`PlanBuilder.load`."""
        trt, cuda = self._tensorrt, self._cuda
        runtime = trt.Runtime(self._logger)
        engine = runtime.deserialize_cuda_engine(plan)
        context = engine.create_execution_context()
        stream = self._checked(cuda.cudaStreamCreate())
        context.set_optimization_profile_async(engine.num_optimization_profiles - 1, stream)
        names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
        outputs = [name for name in names if engine.get_tensor_mode(name) == trt.TensorIOMode.OUTPUT]

        def run(inputs: Arrays) -> dict[str, NDArray[Any]]:
            memory = {name: self._to_device(np.ascontiguousarray(array)) for name, array in inputs.items()}
            for name, array in inputs.items():
                context.set_input_shape(name, array.shape)
            answers = {
                name: np.empty(tuple(context.get_tensor_shape(name)), trt.nptype(engine.get_tensor_dtype(name)))
                for name in outputs
            }
            memory |= {name: self._checked(cuda.cudaMalloc(array.nbytes)) for name, array in answers.items()}
            try:
                for name, address in memory.items():
                    context.set_tensor_address(name, address)
                if not context.execute_async_v3(stream):
                    raise RuntimeError("TensorRT could not run the plan")
                self._checked(cuda.cudaStreamSynchronize(stream))
                for name, array in answers.items():
                    kind = cuda.cudaMemcpyKind.cudaMemcpyDeviceToHost
                    self._checked(cuda.cudaMemcpy(array.ctypes.data, memory[name], array.nbytes, kind))
            finally:
                for address in memory.values():
                    cuda.cudaFree(address)
            return answers

        return run

    def _calibrator(self, inputs: Arrays) -> Any:
        """Return a calibrator that hands ``inputs`` to TensorRT a few rows at a time."""
        builder, rows = self, len(next(iter(inputs.values())))

        class Calibrator(self._tensorrt.IInt8EntropyCalibrator2):  # type: ignore[name-defined]
            def __init__(self) -> None:
                super().__init__()
                self._starts = iter(range(0, rows - CALIBRATION_ROWS + 1, CALIBRATION_ROWS))
                self._memory: list[Any] = []

            def get_batch_size(self) -> int:
                return CALIBRATION_ROWS

            def get_batch(self, names: list[str]) -> list[int] | None:
                for address in self._memory:
                    builder._cuda.cudaFree(address)
                start = next(self._starts, None)
                if start is None:
                    self._memory = []
                    return None
                parts = [np.ascontiguousarray(inputs[name][start : start + CALIBRATION_ROWS]) for name in names]
                self._memory = [builder._to_device(part) for part in parts]
                return [int(address) for address in self._memory]

            def read_calibration_cache(self) -> None:
                return None

            def write_calibration_cache(self, cache: bytes) -> None:
                return None

        return Calibrator()

    def _to_device(self, array: NDArray[Any]) -> Any:
        address = self._checked(self._cuda.cudaMalloc(array.nbytes))
        kind = self._cuda.cudaMemcpyKind.cudaMemcpyHostToDevice
        self._checked(self._cuda.cudaMemcpy(address, array.ctypes.data, array.nbytes, kind))
        return address

    @staticmethod
    def _checked(answer: tuple[Any, ...]) -> Any:
        """Return what a CUDA call gave beside its status. Raises RuntimeError when it failed."""
        status, *values = answer
        if int(status) != 0:
            raise RuntimeError(f"CUDA: {status}")
        return values[0] if values else None


def _text(name: Any) -> str:
    return name.decode().rstrip("\0") if isinstance(name, bytes) else str(name)
