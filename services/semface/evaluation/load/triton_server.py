"""A Triton server on this machine's CPU, for the ladder: the networks of a repository behind it."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from semface.evaluation.load.running import split_cores, staying_on
from semface.inference.cpu_server import ENVIRONMENT, CpuServer
from semface.inference.derived_repository import build_repository
from semface.inference.repository import ModelRepository
from semface.inference.target import Target


@contextmanager
def running_triton(repository: Path, environment: Path = ENVIRONMENT) -> Iterator[str]:
    """Serve ``repository`` on the system's core while the block lasts and give the URL that SEMFACE_INFERENCE takes.

    Raises BACKEND_AWAY where `make triton` did not install the server in ``environment``.
    """
    with tempfile.TemporaryDirectory(prefix="semface-ladder-") as folder:
        derived = Path(folder) / "model_repository"
        build_repository(ModelRepository(repository), derived, Target.PYTHON, instances=1)
        server = CpuServer(derived, Path(folder) / "triton.log", environment)
        # Whoever starts it hands its cores on.
        with staying_on(split_cores()[0]):
            server.start()
        try:
            yield server.url
        finally:
            server.stop()
