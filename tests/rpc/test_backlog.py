"""Calls that the event loop has not taken yet are known by their number, and open streams are not among them."""

import asyncio
import time
from itertools import pairwise
from typing import Any

import grpc
import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from semface.rpc.backlog import Backlog
from tests.rpc.conftest import running

CALLS = 20


async def test_calls_that_came_in_while_the_loop_was_held_are_counted_until_they_are_taken() -> None:
    backlog, told = Backlog(look_every=1), list[int]()

    async def answer(request: bytes, context: grpc.aio.ServicerContext[Any, Any]) -> bytes:
        backlog.take(context)
        if request == b"hold":
            time.sleep(0.5)  # noqa: ASYNC251 - it holds the loop
        told.append(backlog.waiting)
        return b""

    def ask() -> None:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            method = channel.unary_unary("/test.Holding/Hold", None, None)
            asked = [method.future(b"hold")]
            time.sleep(0.1)
            asked += [method.future(b"") for _ in range(CALLS)]
            for answer in asked:
                answer.result(timeout=10)

    server = grpc.aio.server()
    backlog.watch_newest()
    handlers = {"Hold": grpc.unary_unary_rpc_method_handler(answer)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Holding", handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        await asyncio.to_thread(ask)
    finally:
        await server.stop(None)
    assert told[0] == CALLS
    # Of calls that are taken at once either may tell its number first.
    assert all(later <= earlier + 1 for earlier, later in pairwise(told))
    assert told[-1] == 0


async def test_whoever_watches_health_takes_no_call_the_room() -> None:
    async with running(max_in_flight=1, max_waiting=2) as service:
        stub = health_pb2_grpc.HealthStub(service.channel)
        watching = [stub.Watch(health_pb2.HealthCheckRequest()) for _ in range(CALLS)]
        for watch in watching:
            await watch.read()
        for _ in range(100):
            await service.ask()


async def test_of_calls_that_wait_unseen_those_beyond_the_queue_are_refused() -> None:
    async with running(max_in_flight=1, max_waiting=4) as service:
        codes: list[str] = []

        def flood() -> None:
            with grpc.insecure_channel(f"127.0.0.1:{service.server.port}") as channel:
                method = channel.unary_unary("/semface.v1.ExpressionService/Recognize", None, None)
                asked = [method.future(b"", timeout=30) for _ in range(200)]
                codes.extend(answer.code().name for answer in asked)

        await service.ask()
        flooding = asyncio.create_task(asyncio.to_thread(flood))
        while not flooding.done():
            time.sleep(0.005)  # noqa: ASYNC251 - it holds the loop
            await asyncio.sleep(0)
        await flooding
    assert set(codes) == {"OK", "RESOURCE_EXHAUSTED"}
    assert codes.count("RESOURCE_EXHAUSTED") > 100
