"""Fixtures that every suite shares."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.running import System, astronaut, jpeg, running_system
from tests.tiny_models import build_tiny_repository


@pytest.fixture(scope="session")
def tiny_repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a model repository of tiny networks with the interfaces of the real ones."""
    return build_tiny_repository(tmp_path_factory.mktemp("tiny") / "model_repository")


@pytest.fixture(scope="session")
def system(tiny_repository: Path) -> Iterator[System]:
    """Return a running system on the tiny networks: three gRPC services, the gateway and an embedded Valkey."""
    with running_system(tiny_repository) as running:
        yield running


@pytest.fixture(scope="session")
def portrait() -> bytes:
    """Return a JPEG of one face."""
    return jpeg(astronaut())
