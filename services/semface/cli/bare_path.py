"""What the gateway is compared with: a bare FastAPI with one gRPC echo and one Redis GET; and a caller of both."""

import asyncio
import http.client
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, cast

import grpc.aio
import uvicorn
from fastapi import FastAPI, Request

from semface.gateway.enrolled.connection import connect
from semface.gateway.server import SharedServer
from semface.media_types import BITSTREAM_TYPE

KEPT_BYTES: Final = 600
"""About the size of a record."""


@dataclass(frozen=True, slots=True)
class Question:
    """A request over HTTP to this machine."""

    port: int
    method: str
    path: str
    body: bytes


def ask(questions: list[Question], rounds: int) -> list[list[float]]:
    """Return the seconds that each of ``questions`` took in each round.

    They are asked in turns, so that what else runs slows all alike, and in a process of its own: a caller is no part of
    what is measured.
    """
    connections = {one.port: http.client.HTTPConnection("127.0.0.1", one.port) for one in questions}
    seconds: list[list[float]] = [[] for _ in questions]
    for _ in range(rounds):
        for one, taken in zip(questions, seconds, strict=True):
            started = time.perf_counter()
            connection = connections[one.port]
            try:
                connection.request(one.method, one.path, one.body, {"Content-Type": BITSTREAM_TYPE})
                answer = connection.getresponse()
                answer.read()
            except ConnectionError as error:
                # Of a broken pipe the command line thinks that nobody reads what it prints.
                raise RuntimeError(f"{one.path}: {error}") from error
            if answer.status not in (200, 201):
                raise RuntimeError(f"{one.path} answered {answer.status}")
            taken.append(time.perf_counter() - started)
    return seconds


@asynccontextmanager
async def bare_server(redis_url: str) -> AsyncIterator[int]:
    """Serve ``POST /bare`` while the block lasts, in this event loop like the gateway, and yield its port."""
    echo = grpc.aio.server()
    handler = grpc.unary_unary_rpc_method_handler(_echo)
    echo.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("bench.Echo", {"Echo": handler}),))
    echo_port = echo.add_insecure_port("127.0.0.1:0")
    await echo.start()
    redis = connect(redis_url, 5.0)
    await redis.set("bench", bytes(KEPT_BYTES))
    app = FastAPI()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{echo_port}") as channel:
        call = cast(Any, channel).unary_unary("/bench.Echo/Echo")

        @app.post("/bare")
        async def bare(request: Request) -> dict[str, int]:
            body = await request.body()
            return {"echoed": len(await call(body)), "kept": len(await redis.get("bench"))}

        server = SharedServer(uvicorn.Config(app, port=0, log_config=None, access_log=False, lifespan="off"))
        serving = asyncio.create_task(server.serve())
        while not server.started:  # noqa: ASYNC110 - it tells by no event
            await asyncio.sleep(0.01)
        try:
            yield server.servers[0].sockets[0].getsockname()[1]
        finally:
            server.should_exit = True
            await serving
            await redis.aclose()
            await echo.stop(None)


async def _echo(request: bytes, context: Any) -> bytes:
    return request
