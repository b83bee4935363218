"""Commands that run servers: `up`, `serve`, `demonstrate`. Whatever is heavy is imported when it is called."""

import asyncio
import contextlib
import ctypes
import json
import os
import signal
from collections.abc import Callable, Coroutine
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from semface.cli.output import Json

app = typer.Typer(rich_markup_mode=None)


class Deployable(StrEnum):
    """What `semface serve` can run."""

    EXTRACTION = "extraction"
    CODEC = "codec"
    UNDERSTANDING = "understanding"
    GATEWAY = "gateway"
    CANARY = "canary"


@app.command()
def up(
    data: Annotated[
        Path | None, typer.Option(help="Folder that keeps what is enrolled (default: SEMFACE_DATA, else memory only).")
    ] = None,
    as_json: Json = False,
) -> None:
    """Run the whole system in one process until it is interrupted."""
    run_loop(_up(data, as_json))


@app.command()
def serve(name: Annotated[Deployable, typer.Argument(help="Which deployable.")]) -> None:
    """Run one deployable until it is interrupted; its settings come from the environment."""
    run_loop(_serve_gateway(name) if name is Deployable.GATEWAY else _serve_grpc(name))


@app.command()
def demonstrate(
    once: Annotated[bool, typer.Option("--once", help="Stop after the table.")] = False,
    output: Annotated[Path, typer.Option(help="Folder for the picture.")] = Path("build"),
    as_json: Json = False,
) -> None:
    """Start the system, send a photograph through it, show a table and write a picture; then stay up."""
    from semface.cli.demonstration import demonstrate_system

    run_loop(demonstrate_system(output, once=once, as_json=as_json))


def run_loop(work: Coroutine[Any, Any, None]) -> None:
    """Run ``work`` until it is done or the process is asked to stop (SIGINT or SIGTERM), which cancels it."""
    bound_heap()
    set_grpc_experiments()
    with asyncio.Runner(loop_factory=loop_factory()) as runner, contextlib.suppress(asyncio.CancelledError):
        runner.run(_until_signal(work))


HEAP_LIMITS = {-8: 2, -3: 4 << 20, -1: 16 << 20}
"""Options of glibc's mallopt: arenas for all threads; bytes from which a block is mapped by itself; free bytes at the
end of a heap from which they are given back. Large pictures and tensors then leave no holes, and those of common sizes
cost no page faults at every call."""


def bound_heap() -> None:
    """Set ``HEAP_LIMITS`` where the C library knows them and nobody has set others in the environment."""
    if any(name.startswith("MALLOC_") for name in os.environ):
        return
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return
    for option, value in HEAP_LIMITS.items():
        mallopt(option, value)


GRPC_EXPERIMENTS = "-event_engine_listener"
"""What grpc is told of its own: since 1.80 servers read by way of one thread more, and a photograph comes in several
reads. That costs tenths of a millisecond where a system has one core."""


def set_grpc_experiments() -> None:
    """Set ``GRPC_EXPERIMENTS``, which grpc reads when it is imported, where nobody has set others."""
    os.environ.setdefault("GRPC_EXPERIMENTS", GRPC_EXPERIMENTS)


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    """Return uvloop's, which is not to be had on every system, or else asyncio's own."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop
    return uvloop.new_event_loop


async def _until_signal(work: Coroutine[Any, Any, None]) -> None:
    task = asyncio.current_task()
    assert task is not None
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, task.cancel)
    await work


async def wait_for_signal() -> None:
    """Wait until ``run_loop`` cancels."""
    await asyncio.Event().wait()


async def _up(data: Path | None, as_json: bool) -> None:
    from semface.cli.stack import StackSettings, running_stack
    from semface.rpc.server import settle_memory
    from semface.rpc.telemetry import configure_logging
    from semface.tracing.export import exported_traces

    settings = StackSettings() if data is None else StackSettings(data=data)
    configure_logging(settings.log_level, settings.log_format)
    async with exported_traces(settings, "system"), running_stack(settings) as stack:
        settle_memory()
        if as_json:
            places = {"grpc": stack.grpc_address, "gateway": stack.gateway_url, "store": stack.store_url}
            print(json.dumps(places), flush=True)
        else:
            kept = "kept" if stack.keeps_data else "in memory only; set SEMFACE_DATA to keep it"
            print(f"gateway        {stack.gateway_url}", flush=True)
            print(f"documentation  {stack.gateway_url}/docs")
            print(f"gRPC           {stack.grpc_address}")
            print(f"enrolled       {stack.store_url} ({kept})")
            if not settings.asks_for_keys:
                print("keys           none are set, so this machine alone can call; see `semface keys create`")
            print("Ctrl-C stops it.", flush=True)
        await wait_for_signal()


async def _serve_gateway(name: str) -> None:
    from semface.gateway.server import GatewayServer
    from semface.gateway.settings import GatewaySettings
    from semface.rpc.telemetry import configure_logging
    from semface.tracing.export import exported_traces

    settings = GatewaySettings()
    configure_logging(settings.log_level, settings.log_format)
    gateway = GatewayServer(settings)
    async with exported_traces(settings, name):
        await gateway.start()
        try:
            await wait_for_signal()
        finally:
            await gateway.stop()


async def _serve_grpc(name: Deployable) -> None:
    from semface.inference.engine import open_engine
    from semface.rpc.server import serve as serve_services

    services, settings = _deployable(name)
    engine = open_engine(settings)
    try:
        await serve_services(services(engine, settings), settings, name)
    finally:
        await engine.close()


def _deployable(name: Deployable) -> tuple[Any, Any]:
    if name is Deployable.EXTRACTION:
        from semface.extraction.service import services as extraction
        from semface.extraction.settings import ExtractionSettings

        return extraction, ExtractionSettings()
    if name is Deployable.CODEC:
        from semface.codec.service import services as codec
        from semface.codec.settings import CodecSettings

        return codec, CodecSettings()
    if name is Deployable.CANARY:
        from semface.cli.inference_canary import services as canary
        from semface.rpc.settings import ServerSettings

        return canary, ServerSettings()
    from semface.understanding.service import services as understanding
    from semface.understanding.settings import UnderstandingSettings

    return understanding, UnderstandingSettings()
