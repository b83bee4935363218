"""Names that do not resolve, servers that moved, certificates that expired or are for another."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import numpy as np
import pytest

from semface.access.certificates import TlsFiles
from semface.client import AsyncClient, CallError
from semface.errors import Reason
from tests.certificates import Authority
from tests.faults.conftest import RECOVERY_SECONDS, Figure
from tests.faults.name_server import NameServer
from tests.faults.proxy import free_port
from tests.rpc.conftest import running

FACE = np.zeros(257, np.float32)


@asynccontextmanager
async def served(server: TlsFiles, caller: TlsFiles) -> AsyncIterator[AsyncClient]:
    """Run a server with the files of ``server`` and give a client with those of ``caller``."""
    async with AsyncExitStack() as stack:
        files = {"tls_key": server.key, "tls_certificate": server.chain, "tls_ca": server.trusted}
        service = await stack.enter_async_context(running(**files))
        address = f"127.0.0.1:{service.server.port}"
        yield await stack.enter_async_context(AsyncClient(address, seconds=5, tls=caller))


async def is_away(client: AsyncClient) -> float:
    """Return how long it took to be told that the server is away; it has to be."""
    started = time.monotonic()
    with pytest.raises(CallError) as caught:
        await client.recognize(FACE)
    assert caught.value.reason is Reason.BACKEND_AWAY
    return time.monotonic() - started


async def until_answered(client: AsyncClient) -> float:
    """Return how long it took until a call was answered."""
    started = time.monotonic()
    while True:
        try:
            await client.recognize(FACE)
            return time.monotonic() - started
        except CallError:
            assert time.monotonic() - started < RECOVERY_SECONDS
            await asyncio.sleep(0.02)


async def test_a_name_that_does_not_resolve_is_told_in_time_and_found_again(figure: Figure) -> None:
    async with running() as service:
        with NameServer() as names:
            async with AsyncClient(names.target(service.server.port), seconds=5) as client:
                ends = time.monotonic() + 6
                while time.monotonic() < ends:
                    assert await is_away(client) < 3
                names.addresses = ("127.0.0.1",)
                figure("recovery, s", await until_answered(client))


async def test_servers_that_moved_to_other_addresses_are_found(figure: Figure) -> None:
    port = free_port()
    with NameServer("127.0.0.1") as names:
        async with AsyncClient(names.target(port), seconds=5) as client:
            slowest = 0.0
            for address in ("127.0.0.1", "127.0.0.2", "127.0.0.3"):
                names.addresses = (address,)
                async with running(host=address, port=port):
                    slowest = max(slowest, await until_answered(client))
            figure("recovery, s", slowest)


@pytest.mark.parametrize("fault", ["expired", "another name"])
async def test_a_server_with_a_wrong_certificate_is_away_until_it_has_a_right_one(
    tmp_path: Path, fault: str, figure: Figure
) -> None:
    authority = Authority(tmp_path / "authority")
    ours = authority.issue("client")
    expired, address = fault == "expired", "127.0.0.1" if fault == "expired" else "127.0.0.9"
    wrong = authority.issue("server", expired=expired, address=address)
    async with served(wrong, ours) as client:
        await is_away(client)
        authority.issue("server")
        figure("recovery, s", await until_answered(client))


async def test_a_caller_whose_certificate_expired_is_refused_until_it_is_renewed(
    tmp_path: Path, figure: Figure
) -> None:
    authority = Authority(tmp_path / "authority")
    server, expired = authority.issue("server"), authority.issue("client", expired=True)
    async with served(server, expired) as client:
        await is_away(client)
        authority.issue("client")
        figure("recovery, s", await until_answered(client))
