"""Fixtures that every suite shares."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from semface.inference.cpu_server import CpuServer
from tests.inference.networks import add_model
from tests.running import System, astronaut, jpeg, running_system
from tests.tiny_models import build_tiny_repository
from tests.triton_server import SLEEPING_MODEL, running_triton


@pytest.fixture(scope="session")
def tiny_repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a model repository of tiny networks with the interfaces of the real ones."""
    return build_tiny_repository(tmp_path_factory.mktemp("tiny") / "model_repository")


@pytest.fixture(scope="session")
def engine_repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the tiny networks, and beside them one that doubles and, on Triton, one that also sleeps."""
    path = build_tiny_repository(tmp_path_factory.mktemp("engine") / "model_repository")
    for name in ("double", "sleeping"):
        add_model(path, name, more="dynamic_batching { max_queue_delay_microseconds: 500 }")
    return path


@pytest.fixture(scope="session")
def triton_server(engine_repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CpuServer]:
    """Return a real Triton server on loopback that serves ``engine_repository``."""
    folder = tmp_path_factory.mktemp("triton")
    with running_triton(engine_repository, folder, programs={"sleeping": SLEEPING_MODEL}) as server:
        yield server


@pytest.fixture(scope="session")
def system(tiny_repository: Path) -> Iterator[System]:
    """Return a running system on the tiny networks: three gRPC services, the gateway and an embedded Valkey."""
    with running_system(tiny_repository) as running:
        yield running


@pytest.fixture(scope="session")
def portrait() -> bytes:
    """Return a JPEG of one face."""
    return jpeg(astronaut())
