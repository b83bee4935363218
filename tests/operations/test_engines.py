"""Networks are exchanged on a running Triton one at a time, and one that does not answer goes back."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from semface.errors import Reason, SemfaceError
from semface.inference.cpu_server import CpuServer
from semface.inference.derived_repository import build_repository
from semface.inference.example_inputs import example_inputs
from semface.inference.repository import ModelRepository
from semface.inference.target import Target
from semface.inference.triton import TritonEngine
from semface.operations.engines import addresses, install_networks
from tests.triton_server import EMPTY_MODEL, running_triton

pytestmark = pytest.mark.slow

NETWORKS = ("codec_analysis", "expression_recognition", "face_verification")
DOUBLING = """
import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        return [
            pb_utils.InferenceResponse(
                [pb_utils.Tensor("confidences", np.full((len(r.inputs()[0].as_numpy()), 8), 0.125, np.float32))]
            )
            for r in requests
        ]
"""
"""Another way to run the network, as a plan is: it answers with an eighth for every expression."""


@pytest.fixture
def server(tiny_repository: Path, tmp_path: Path) -> Iterator[CpuServer]:
    with running_triton(tiny_repository, tmp_path, models=NETWORKS) as running:
        yield running


def built(tiny_repository: Path, folder: Path, programs: dict[str, str]) -> Path:
    build_repository(ModelRepository(tiny_repository), folder, Target.PYTHON, instances=1)
    for name, program in programs.items():
        (folder / name / "1" / "model.py").write_text(program)
    return folder


async def confidences(server: CpuServer, repository: Path) -> np.ndarray:
    engine = TritonEngine(server.address, repository)
    try:
        inputs = example_inputs(engine.metadata("expression_recognition"), rows=1)
        return next(iter((await engine.infer("expression_recognition", inputs)).values()))
    finally:
        await engine.close()


async def test_what_answers_is_served_and_what_does_not_goes_back(
    server: CpuServer, tiny_repository: Path, tmp_path: Path
) -> None:
    source = ModelRepository(tiny_repository)
    before = await confidences(server, tiny_repository)
    programs = {
        "expression_recognition": DOUBLING,
        "codec_analysis": EMPTY_MODEL,
        "face_verification": "import nothing_",
    }
    new = built(tiny_repository, tmp_path / "built", programs)
    outcomes = install_networks(source, new, server.repository, addresses(server.address), server.key)
    assert outcomes["expression_recognition"] == "loaded"
    assert outcomes["codec_analysis"].startswith("went back: ")
    assert outcomes["face_verification"].startswith("went back: ")
    assert not np.allclose(before, 0.125)
    assert np.allclose(await confidences(server, tiny_repository), 0.125)
    engine = TritonEngine(server.address, tiny_repository)
    assert await engine.ready("codec_analysis")
    assert await engine.ready("face_verification")
    await engine.close()
    # A restart serves the same.
    server.stop()
    server.start()
    assert np.allclose(await confidences(server, tiny_repository), 0.125)
    assert not server.repository.with_name("triton.staging").exists()


def test_without_the_key_nothing_is_changed(server: CpuServer, tiny_repository: Path, tmp_path: Path) -> None:
    new = built(tiny_repository, tmp_path / "built", {"expression_recognition": DOUBLING})
    program = server.repository / "expression_recognition" / "1" / "model.py"
    kept = program.read_text()
    with pytest.raises(SemfaceError) as refused:
        install_networks(ModelRepository(tiny_repository), new, server.repository, [server.address], "wrong")
    assert refused.value.reason is Reason.BACKEND_AWAY
    assert "restricted" in refused.value.message
    assert program.read_text() == kept


def test_a_folder_that_was_not_generated_is_refused(tiny_repository: Path, tmp_path: Path) -> None:
    with pytest.raises(SemfaceError) as refused:
        install_networks(ModelRepository(tiny_repository), tmp_path, tmp_path, [], "key")
    assert refused.value.reason is Reason.FIELD_INVALID


def test_a_name_behind_which_nothing_is_is_refused() -> None:
    for name in ("nothing.invalid:8001", "nothing", "127.0.0.1:none"):
        with pytest.raises(SemfaceError):
            addresses(name)
