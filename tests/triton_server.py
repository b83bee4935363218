"""Real Triton servers for tests, each over a repository derived from one of tiny networks."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from semface.inference.cpu_server import CpuServer
from semface.inference.derived_repository import PYTHON_MODEL, build_repository
from semface.inference.engine import TRITON_SCHEME, Engine
from semface.inference.repository import ModelRepository
from semface.inference.target import Target

BOTH_ENGINES = (
    pytest.param("embedded", marks=pytest.mark.engine),
    pytest.param("triton", marks=[pytest.mark.engine, pytest.mark.slow]),
)
"""Parameters of a fixture that gives each engine in turn."""

SLEEPING_MODEL = (
    PYTHON_MODEL.read_text(encoding="utf-8")
    + """
import time

Base = TritonPythonModel


class TritonPythonModel(Base):
    def _answers(self, inputs):
        time.sleep(sum(float(arrays[0].max()) for arrays in inputs))
        return super()._answers(inputs)
"""
)
"""What runs every network, but it sleeps as many seconds before as the largest number of each request says."""

EMPTY_MODEL = """
import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        nothing = np.empty((0, 2), np.float32)
        return [pb_utils.InferenceResponse([pb_utils.Tensor("y", nothing)]) for _ in requests]
"""
"""Succeeds and answers with nothing."""


@contextmanager
def running_triton(
    source: Path,
    folder: Path,
    *,
    models: Sequence[str] | None = None,
    port: int = 0,
    programs: dict[str, str] | None = None,
    metrics_port: int | None = None,
    trace_config: Sequence[str] = (),
) -> Iterator[CpuServer]:
    """Serve ``models`` of ``source`` (None: all) while the block lasts; ``folder`` takes repository and log.

    ``programs`` replace what single models run. Where the server cannot start, the test fails and tells why.
    """
    repository = folder / "triton"
    build_repository(ModelRepository(source), repository, Target.PYTHON, instances=1)
    for name, program in (programs or {}).items():
        (repository / name / "1" / "model.py").write_text(program)
    with CpuServer(
        repository,
        folder / "triton.log",
        models=models,
        port=port,
        metrics_port=metrics_port,
        trace_config=trace_config,
    ) as server:
        yield server


def open_test_engine(kind: str, repository: Path, request: pytest.FixtureRequest) -> Engine:
    """Return an engine of this ``kind`` over ``repository``; that on Triton asks the session's server."""
    from semface.inference.embedded import EmbeddedEngine
    from semface.inference.triton import TritonEngine

    if kind == "embedded":
        return EmbeddedEngine(repository, threads=2)
    server: CpuServer = request.getfixturevalue("triton_server")
    return TritonEngine(server.url.removeprefix(TRITON_SCHEME), repository)
