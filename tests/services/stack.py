"""The three services on one port, as ``semface up`` runs them, in a thread of its own."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from semface.codec import service as codec
from semface.codec.settings import CodecSettings
from semface.extraction import service as extraction
from semface.extraction.settings import ExtractionSettings
from semface.inference import open_engine
from semface.rpc.server import Server
from semface.understanding import service as understanding
from semface.understanding.settings import UnderstandingSettings

START_SECONDS = 60


def photograph(name: str) -> bytes:
    """Return a picture that scikit-image carries; its code is not imported."""
    spec = find_spec("skimage")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    return (Path(spec.submodule_search_locations[0]) / "data" / name).read_bytes()


@contextmanager
def running_stack(repository: Path, **changes: Any) -> Iterator[str]:
    """Serve the networks of ``repository`` on a free port and give the address."""
    settings = {"host": "127.0.0.1", "port": 0, "model_repository": repository, "grace_seconds": 1, **changes}
    address: list[str] = []
    started = threading.Event()
    stopping: list[Any] = []

    async def main() -> None:
        engine = open_engine(ExtractionSettings(**settings))
        services = [
            *extraction.services(engine, ExtractionSettings(**settings)),
            *codec.services(engine, CodecSettings(**settings)),
            *understanding.services(engine, UnderstandingSettings(**settings)),
        ]
        server = Server(services, ExtractionSettings(**settings))
        address.append(f"127.0.0.1:{await server.start()}")
        stop = asyncio.Event()
        stopping.extend((asyncio.get_running_loop(), stop))
        await server.wait_until_serving()
        started.set()
        await stop.wait()
        await server.stop()
        await engine.close()

    thread = threading.Thread(target=lambda: asyncio.run(main()), name="stack")
    thread.start()
    try:
        while not started.wait(0.05):
            assert thread.is_alive(), "the services could not start; the thread's traceback says why"
        yield address[0]
    finally:
        if stopping:
            stopping[0].call_soon_threadsafe(stopping[1].set)
        thread.join(START_SECONDS)
