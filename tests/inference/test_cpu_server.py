import subprocess
import time
from pathlib import Path

import pytest

from semface.errors import Reason, SemfaceError
from semface.inference.cpu_server import SHARED_MEMORY, CpuServer
from tests.inference.networks import add_model
from tests.triton_server import running_triton

GONE_SECONDS = 5.0


def test_a_server_that_is_not_installed_is_told_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(SemfaceError, match="make triton") as caught:
        CpuServer(tmp_path, tmp_path / "log", tmp_path / "nowhere")
    assert caught.value.reason is Reason.BACKEND_AWAY


@pytest.mark.slow
@pytest.mark.parametrize("end", ["stop", "kill"])
def test_a_server_leaves_neither_processes_nor_shared_memory_behind(tmp_path: Path, end: str) -> None:
    add_model(tmp_path / "source", "double")
    with running_triton(tmp_path / "source", tmp_path) as server:
        group = str(server.pid)
        assert processes(group)
        getattr(server, end)()
        # What was killed is gone a moment later.
        until = time.monotonic() + GONE_SECONDS
        while processes(group) and time.monotonic() < until:
            time.sleep(0.05)
        assert not processes(group)
        assert not list(SHARED_MEMORY.glob(f"semface-*-{server.port}-*"))


def processes(group: str) -> list[str]:
    """Return the processes of ``group`` that live."""
    listed = subprocess.run(
        ["ps", "-eo", "pgid=", "-o", "stat="], capture_output=True, text=True, check=True, timeout=10
    ).stdout
    return [line for line in listed.splitlines() if line.split()[0] == group and not line.split()[1].startswith("Z")]
