"""A client of the running system."""

from collections.abc import Iterator

import httpx
import pytest

from semface.cli.embedded_store import embedded_store
from tests.running import System

SECONDS = 30.0


@pytest.fixture(scope="session")
def client(system: System) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=system.gateway, timeout=SECONDS) as connected:
        yield connected


@pytest.fixture(scope="session")
def frame(client: httpx.Client, portrait: bytes) -> bytes:
    """Return the bitstream frame of the portrait."""
    return (
        client.post("/v1/encode", content=portrait, headers={"Content-Type": "image/jpeg"}).raise_for_status().content
    )


@pytest.fixture(scope="session")
def store_url() -> Iterator[str]:
    """Return the URL of an embedded Valkey for further gateways."""
    with embedded_store(None) as running:
        yield running
