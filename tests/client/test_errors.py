"""A failed call is an exception by reason, for both clients, whoever failed it."""

import asyncio
import socket
from functools import partial
from typing import Any

import grpc
import grpc.aio
import numpy as np
import pytest

from semface.client import AsyncClient, CallError, Client
from semface.errors import Reason, SemfaceError
from semface.rpc.server import Server, Service
from semface.v1 import understanding_pb2_grpc
from tests.rpc.conftest import EXPRESSION, Obedient, healthy, running, server_settings

FACE = np.zeros(257, dtype=np.float32)


@pytest.mark.parametrize("reason", [reason for reason in Reason if reason is not Reason.INTERNAL])
async def test_a_refusal_arrives_by_its_reason_with_field_and_retry(reason: Reason) -> None:
    async with running() as service, AsyncClient(f"127.0.0.1:{service.server.port}") as client:
        with pytest.raises(CallError, match="refused") as caught:
            await client.recognize(FACE, model=reason.name)
    error = caught.value
    assert error.reason is reason
    assert error.field == "face.descriptors"
    assert error.code is grpc.StatusCode[reason.answer.code]
    assert (error.retry_seconds is not None) == (reason in {Reason.OVERLOADED, Reason.RATE_LIMITED})


async def test_the_blocking_client_raises_the_same() -> None:
    async with running() as service:
        with Client(f"127.0.0.1:{service.server.port}") as client:
            with pytest.raises(CallError) as caught:
                await asyncio.to_thread(client.recognize, FACE, model="GROUP_ABSENT")
            assert caught.value.reason is Reason.GROUP_ABSENT
            assert caught.value.field == "face.descriptors"


async def test_a_defect_arrives_with_the_id_under_which_it_is_logged() -> None:
    async with running() as service, AsyncClient(f"127.0.0.1:{service.server.port}") as client:
        with pytest.raises(CallError) as caught:
            await client.recognize(FACE, model="defect")
    assert caught.value.reason is Reason.INTERNAL
    assert caught.value.error_id
    assert caught.value.error_id in caught.value.message


async def test_a_deadline_ends_the_call() -> None:
    async with running() as service, AsyncClient(f"127.0.0.1:{service.server.port}", seconds=5) as client:
        with pytest.raises(CallError) as caught:
            await client.within(0.1).recognize(FACE, model="wait")
        assert caught.value.reason is Reason.DEADLINE_EXCEEDED
        await client.recognize(FACE)


async def test_a_message_over_the_transports_limit_is_too_large() -> None:
    async with running(max_message_bytes=2000) as service, AsyncClient(f"127.0.0.1:{service.server.port}") as client:
        with pytest.raises(CallError) as caught:
            await client.recognize(bytes(4000))
    assert caught.value.reason is Reason.BODY_TOO_LARGE


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.slow
async def test_a_server_that_was_away_for_long_is_found_again_within_two_seconds() -> None:
    port = free_port()
    async with AsyncClient(f"127.0.0.1:{port}") as client:
        # By then grpc's own back-off would let more than five seconds pass between attempts.
        for _ in range(50):
            with pytest.raises(CallError) as caught:
                await client.recognize(FACE)
            assert caught.value.reason is Reason.BACKEND_AWAY
            await asyncio.sleep(0.2)
        add = partial(understanding_pb2_grpc.add_ExpressionServiceServicer_to_server, Obedient())
        server = Server([Service(EXPRESSION, add, healthy)], server_settings(port=port))
        await server.start()
        try:
            async with asyncio.timeout(2):
                while True:
                    try:
                        await client.recognize(FACE)
                        break
                    except CallError:
                        await asyncio.sleep(0.05)
        finally:
            await server.stop()


async def test_a_server_that_is_away_is_told_at_once() -> None:
    async with AsyncClient(f"127.0.0.1:{free_port()}") as client, asyncio.timeout(2):
        with pytest.raises(CallError) as caught:
            await client.recognize(FACE)
    assert caught.value.reason is Reason.BACKEND_AWAY


async def test_a_server_that_stops_before_it_has_answered_is_away() -> None:
    async with running(grace_seconds=0.1) as service, AsyncClient(f"127.0.0.1:{service.server.port}") as client:
        call = asyncio.create_task(client.recognize(FACE, model="wait"))
        await service.until_entered(1)
        await service.server.stop()
        with pytest.raises(CallError) as caught:
            await call
    assert caught.value.reason is Reason.BACKEND_AWAY


class Cancelling(understanding_pb2_grpc.ExpressionServiceServicer):
    """Ends each call as a server ends those that outlast the grace of its stop."""

    async def Recognize(self, request: Any, context: Any) -> Any:
        await context.abort(grpc.StatusCode.CANCELLED, "the server stops")


async def test_a_call_that_the_server_cancels_means_that_it_is_away() -> None:
    server = grpc.aio.server()
    understanding_pb2_grpc.add_ExpressionServiceServicer_to_server(Cancelling(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with AsyncClient(f"127.0.0.1:{port}") as client:
            with pytest.raises(CallError) as caught:
                await client.recognize(FACE)
    finally:
        await server.stop(None)
    assert caught.value.code is grpc.StatusCode.CANCELLED
    assert caught.value.reason is Reason.BACKEND_AWAY


async def test_a_caller_that_cancels_gets_its_own_cancelling_back() -> None:
    async with running() as service, AsyncClient(f"127.0.0.1:{service.server.port}") as client:
        call = asyncio.create_task(client.recognize(FACE, model="wait"))
        await service.until_entered(1)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call


async def test_health_is_asked_for_by_service() -> None:
    async with running() as service, AsyncClient(f"127.0.0.1:{service.server.port}") as client:
        await service.server.wait_until_serving()
        assert await client.serving() is True
        assert await client.serving(EXPRESSION) is True
    gone = asyncio.Event().wait
    async with running(gone) as service, AsyncClient(f"127.0.0.1:{service.server.port}") as client:
        assert await client.serving(EXPRESSION) is False


async def test_what_can_be_seen_here_is_refused_without_a_call() -> None:
    async with AsyncClient(f"127.0.0.1:{free_port()}") as client:
        with pytest.raises(SemfaceError) as caught:
            await client.encode(FACE[:256])
        assert caught.value.reason is Reason.DESCRIPTOR_SHAPE
        with pytest.raises(SemfaceError, match="far_1e-3") as caught:
            await client.compare(FACE, FACE, operating_point="lenient")
        assert caught.value.reason is Reason.FIELD_INVALID
