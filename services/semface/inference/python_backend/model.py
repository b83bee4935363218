"""A model of Triton's Python backend that runs the ONNX network beside it with ONNX Runtime.

Runs inside the server, in the server's own environment: it imports nothing of semface.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import triton_python_backend_utils as pb_utils

NETWORK_FILE = "model.onnx"


class TritonPythonModel:
    """One instance of a model; Triton calls its methods by their names."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load the network of the version that is served."""
        config = json.loads(args["model_config"])
        self._inputs = [tensor["name"] for tensor in config["input"]]
        self._outputs = [tensor["name"] for tensor in config["output"]]
        options = ort.SessionOptions()
        # Instances run side by side; threads within a run would fight them for the cores.
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        path = Path(args["model_repository"]) / args["model_version"] / NETWORK_FILE
        self._session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer ``requests``, which have waited together, from one run of the network."""
        answers: list[Any] = [None] * len(requests)
        waiting = []
        for place, request in enumerate(requests):
            if request.is_cancelled():
                answers[place] = _failure("the caller has gone", pb_utils.TritonError.CANCELLED)
            else:
                waiting.append(place)
        inputs = [[self._array(requests[place], name) for name in self._inputs] for place in waiting]
        for place, answer in zip(waiting, self._answers(inputs), strict=True):
            answers[place] = answer
        return answers

    @staticmethod
    def _array(request: Any, name: str) -> Any:
        return pb_utils.get_input_tensor_by_name(request, name).as_numpy()

    def _answers(self, inputs: list[Any]) -> list[Any]:
        if not inputs:
            return []
        try:
            merged = [np.concatenate(arrays) for arrays in zip(*inputs, strict=True)] if len(inputs) > 1 else inputs[0]
            outputs = self._session.run(self._outputs, dict(zip(self._inputs, merged, strict=True)))
        except Exception:
            if len(inputs) == 1:
                return [_failure("the network cannot run on these tensors", pb_utils.TritonError.INTERNAL)]
            # One request must not fail the others of its batch.
            return [answer for request in inputs for answer in self._answers([request])]
        ends = np.cumsum([len(arrays[0]) for arrays in inputs])
        return [
            pb_utils.InferenceResponse(
                [
                    pb_utils.Tensor(name, output[end - len(arrays[0]) : end])
                    for name, output in zip(self._outputs, outputs, strict=True)
                ]
            )
            for arrays, end in zip(inputs, ends, strict=True)
        ]


def _failure(message: str, code: Any) -> Any:
    return pb_utils.InferenceResponse(error=pb_utils.TritonError(message, code))
