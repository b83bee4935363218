"""A TCP proxy that does to a link what life does: delay, trickle, reset, refuse, fall silent, forget."""

import asyncio
import contextlib
import random
import socket
import struct
import threading
from collections.abc import Coroutine, Sequence
from types import TracebackType
from typing import Any, Self

LOOPBACK = "127.0.0.1"
CHUNK = 1 << 16
CONNECT_SECONDS = 5.0
SEED = 11


class _Link:
    """One connection through the proxy, both ways."""

    def __init__(self, near: asyncio.StreamWriter) -> None:
        self.writers = [near]
        self.forgotten = False

    def reset(self) -> None:
        """End both sides as a crash does: the other end gets RST, not FIN."""
        for writer in self.writers:
            sock = writer.get_extra_info("socket")
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()


class Proxy:
    """Listens on a loopback port and passes on to one of ``targets`` (ports) that takes the connection, by turns.

    ``latency`` and ``jitter`` are seconds added each way to each chunk, ``bytes_per_second`` slows both ways. All may
    be set at any time, ``targets`` too. The rest are methods. It runs in a thread of its own while the block lasts.
    """

    def __init__(self, *targets: int) -> None:
        self.targets: Sequence[int] = targets
        self.latency = 0.0
        self.jitter = 0.0
        self.bytes_per_second: float | None = None
        self.port = free_port()
        self.accepted = 0
        """Connections so far."""
        self._turn = 0
        self._random = random.Random(SEED)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._links: set[_Link] = set()
        self._server: asyncio.Server | None = None
        self._flowing = asyncio.Event()
        self._flowing.set()

    @property
    def address(self) -> str:
        """``host:port``."""
        return f"{LOOPBACK}:{self.port}"

    def plain(self) -> None:
        """Pass everything on again as it comes, and listen."""
        self.latency, self.jitter, self.bytes_per_second = 0.0, 0.0, None
        self._run(self._listen())
        self._loop.call_soon_threadsafe(self._flowing.set)

    def black_hole(self) -> None:
        """Take connections and bytes, and pass them on when all is ``plain`` again, as TCP does that repeats."""
        self._loop.call_soon_threadsafe(self._flowing.clear)

    def forget(self) -> None:
        """Leave every connection half-open: neither side hears of the other again, ever. New connections are served."""
        for link in list(self._links):
            link.forgotten = True

    def reset(self) -> None:
        """Reset every connection; new ones are served."""
        self._run(self._reset())

    def refuse(self) -> None:
        """Reset every connection and refuse new ones."""
        self._run(self._close())

    def __enter__(self) -> Self:
        """Listen."""
        self._thread.start()
        self._run(self._listen())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Reset every connection and end."""
        self._run(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _listen(self) -> None:
        if self._server is None:
            self._server = await asyncio.start_server(self._serve, LOOPBACK, self.port)

    async def _close(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        await self._reset()

    async def _end(self) -> None:
        await self._close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _reset(self) -> None:
        for link in self._links:
            link.reset()
        # One more turn, so that what is aborted is closed before anybody asks again.
        await asyncio.sleep(0.01)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = _Link(writer)
        self._links.add(link)
        self.accepted += 1
        try:
            await self._flowing.wait()
            far_reader, far_writer = await self._connect()
        except OSError:
            link.reset()
        else:
            link.writers.append(far_writer)
            await asyncio.gather(self._pump(link, reader, far_writer), self._pump(link, far_reader, writer))
        finally:
            self._links.discard(link)
            for each in link.writers:
                each.close()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect to the target whose turn it is, or to one after it. Raises OSError where none is there."""
        targets = list(self.targets)
        self._turn += 1
        for place in range(len(targets)):
            port = targets[(self._turn + place) % len(targets)]
            with contextlib.suppress(OSError):
                async with asyncio.timeout(CONNECT_SECONDS):
                    return await asyncio.open_connection(LOOPBACK, port)
        raise ConnectionRefusedError

    async def _pump(self, link: _Link, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # A side that is gone ends its own direction; what the other has still to say is passed on.
        with contextlib.suppress(OSError):
            while data := await reader.read(CHUNK):
                if self.latency or self.jitter:
                    await asyncio.sleep(self.latency + self.jitter * self._random.random())
                await self._flowing.wait()
                await self._pass_on(link, data, writer)
        while link.forgotten:  # noqa: ASYNC110 - held until the proxy resets it
            await asyncio.sleep(0.05)
        with contextlib.suppress(OSError):
            writer.write_eof()

    async def _pass_on(self, link: _Link, data: bytes, writer: asyncio.StreamWriter) -> None:
        while data and not link.forgotten:
            if self.bytes_per_second is None:
                writer.write(data)
                await writer.drain()
                return
            writer.write(data[:1])
            await writer.drain()
            data = data[1:]
            await asyncio.sleep(1 / self.bytes_per_second)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])
