"""The running services, for the clients."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.services.stack import running_stack


@pytest.fixture(scope="session")
def address(tiny_repository: Path) -> Iterator[str]:
    """Where the three services listen."""
    with running_stack(tiny_repository) as listening:
        yield listening
