"""An embedded Valkey and a key ring for each test."""

import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from semface.cli.embedded_store import embedded_store
from semface.gateway.enrolled.key_ring import KeyRing
from semface.gateway.enrolled.store import EnrolledStore
from tests.gateway.enrolled.subjects import store_at
from tests.gateway.gateways import new_ring


@pytest.fixture(scope="session")
def url() -> Iterator[str]:
    with embedded_store(None) as running:
        yield running


@pytest.fixture
def ring(tmp_path: Path) -> KeyRing:
    return new_ring(tmp_path)


@pytest.fixture
def tenant() -> str:
    """Return a tenant of one test."""
    return f"t-{uuid.uuid4().hex[:12]}"


@pytest.fixture
async def store(url: str, ring: KeyRing) -> AsyncIterator[EnrolledStore]:
    async with store_at(url, ring) as connected:
        yield connected
