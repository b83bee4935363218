"""Bytes on the wire: a forwarder that counts what passes in both directions."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Final

from semface.evaluation.load.driving import OK, Call

CALLS: Final = 50
CHUNK: Final = 1 << 16

Count = Callable[[Call], Awaitable[int]]


@asynccontextmanager
async def bytes_of_a_call(address: str) -> AsyncIterator[tuple[str, Count]]:
    """Forward a port of this machine to ``address`` while the block lasts.

    Gives the port's address and a function from a call through it to its bytes both ways, headers and frames of HTTP/2
    included, TCP's own not: the mean of some calls after the first ones, which open the connection.
    """
    host, _, port = address.rpartition(":")
    passed = 0
    running: set[asyncio.Task[None]] = set()

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal passed
        with suppress(ConnectionError):
            while data := await reader.read(CHUNK):
                passed += len(data)
                writer.write(data)
                await writer.drain()
        writer.close()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(host, int(port))
        for ends in ((reader, far_writer), (far_reader, writer)):
            task = asyncio.create_task(pump(*ends))
            running.add(task)
            task.add_done_callback(running.discard)

    async def count(call: Call) -> int:
        for _ in range(3):
            await call()
        before = passed
        for _ in range(CALLS):
            code = await call()
            if code != OK:
                raise RuntimeError(f"a counted call ended with {code}")
        return round((passed - before) / CALLS)

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}", count
    finally:
        server.close()
        for task in list(running):
            task.cancel()
