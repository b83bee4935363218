"""The running services."""

from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from tests.services.stack import running_stack


@pytest.fixture(scope="session")
def address(tiny_repository: Path) -> Iterator[str]:
    """Where the three services listen."""
    with running_stack(tiny_repository) as listening:
        yield listening


@pytest.fixture(scope="session")
def channel(address: str) -> Iterator[grpc.Channel]:
    """A channel to them, which sends what it is given, however large."""
    with grpc.insecure_channel(address, options=[("grpc.max_send_message_length", -1)]) as connected:
        yield connected
