"""A server takes what it can, lets some wait, sheds the rest, and ends what takes too long."""

import asyncio
import time
from contextlib import AsyncExitStack

import grpc
import pytest

from semface.v1 import codec_pb2, codec_pb2_grpc, understanding_pb2, understanding_pb2_grpc
from tests.rpc.conftest import Running, eventually, refusal, running


async def test_calls_beyond_the_queue_are_shed_at_once_and_those_in_it_are_served() -> None:
    async with running(max_in_flight=2, max_waiting=1) as service:
        taken = [asyncio.create_task(service.ask("wait")) for _ in range(2)]
        await service.until_entered(2)
        waiting = asyncio.create_task(service.ask())
        await asyncio.sleep(0.05)
        started = time.perf_counter()
        refused = await refusal(service.ask())
        assert time.perf_counter() - started < 1
        assert refused.code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert refused.reason == "OVERLOADED"
        assert refused.retry_seconds is not None
        assert not waiting.done()
        service.obedient.release.set()
        answers = await asyncio.gather(*taken, waiting)
        assert answers[-1].timings.queue_ms > 40
        assert answers[0].timings.inference_ms > 40
        assert answers[0].timings.total_ms >= answers[0].timings.inference_ms
        await service.ask()


async def test_a_caller_who_leaves_the_queue_makes_room() -> None:
    async with running(max_in_flight=1, max_waiting=1) as service:
        taken = asyncio.create_task(service.ask("wait"))
        await service.until_entered(1)
        left = asyncio.create_task(service.ask(seconds=0.1))
        assert (await refusal(left)).code is grpc.StatusCode.DEADLINE_EXCEEDED
        waiting = asyncio.create_task(service.ask())
        await asyncio.sleep(0.05)
        service.obedient.release.set()
        await asyncio.gather(taken, waiting)


async def test_streams_beyond_their_bound_are_shed_and_do_not_block_calls() -> None:
    async with running(max_in_flight=1, max_streams=1) as service:
        stub = codec_pb2_grpc.CodecServiceStub(service.channel)
        stream = stub.DecodeStream()
        await stream.write(codec_pb2.DecodeStreamRequest(frame=b"ab"))
        await stream.read()

        async def open_another() -> None:
            second = stub.DecodeStream()
            # The refusal may arrive before the frame is written.
            await second.write(codec_pb2.DecodeStreamRequest(frame=b"ab"))
            await second.read()

        assert (await refusal(open_another())).reason == "OVERLOADED"
        await service.ask()
        await stream.done_writing()


async def test_a_passed_deadline_is_told_and_the_work_is_cancelled(service: Running) -> None:
    refused = await refusal(service.ask("wait", seconds=0.1))
    assert refused.code is grpc.StatusCode.DEADLINE_EXCEEDED
    await eventually(lambda: service.obedient.cancelled == 1)
    await service.ask()


async def test_without_a_deadline_the_servers_cap_ends_the_call_and_frees_its_place() -> None:
    async with running(call_seconds=0.1, max_in_flight=1) as service:
        refused = await asyncio.wait_for(refusal(service.ask("wait", seconds=None)), 5)
        assert refused.code is grpc.StatusCode.DEADLINE_EXCEEDED
        assert refused.reason == "DEADLINE_EXCEEDED"
        assert service.obedient.cancelled == 1
        await service.ask()


async def test_a_caller_who_goes_away_is_counted_as_cancelled(service: Running) -> None:
    call = asyncio.create_task(service.ask("wait"))
    await service.until_entered(1)
    call.cancel()
    labels = {"method": "/semface.v1.ExpressionService/Recognize", "code": "CANCELLED"}
    registry = service.server.telemetry.registry
    await eventually(lambda: registry.get_sample_value("semface_grpc_calls_total", labels) == 1)
    await service.ask()


async def test_a_stream_in_which_nothing_is_sent_for_long_ends_and_makes_room() -> None:
    async with running(max_streams=1, stream_idle_seconds=0.3) as service:
        stub = codec_pb2_grpc.CodecServiceStub(service.channel)
        for _ in range(2):
            stream = stub.DecodeStream()
            # One that goes on sending lives on.
            for _ in range(4):
                await stream.write(codec_pb2.DecodeStreamRequest(frame=b"ab"))
                assert (await stream.read()).face.quality_name == "ba"
                await asyncio.sleep(0.1)
            refused = await refusal(stream.read())
            assert refused.code is grpc.StatusCode.DEADLINE_EXCEEDED
            assert refused.reason == "DEADLINE_EXCEEDED"
            assert "0.3 s" in refused.message


async def test_a_stream_whose_caller_goes_away_makes_room() -> None:
    async with running(max_streams=1) as service:
        stub = codec_pb2_grpc.CodecServiceStub(service.channel)
        labels = {"method": "/semface.v1.CodecService/DecodeStream"}
        registry = service.server.telemetry.registry
        for _ in range(3):
            stream = stub.DecodeStream()
            await stream.write(codec_pb2.DecodeStreamRequest(frame=b"ab"))
            assert (await stream.read()).face.quality_name == "ba"
            stream.cancel()
            await eventually(lambda: registry.get_sample_value("semface_grpc_in_flight", labels) == 0)


@pytest.mark.parametrize(("connections", "calls"), [(1, 1000), (12, 200)])
async def test_of_a_flood_every_call_is_answered_or_refused(connections: int, calls: int) -> None:
    async with running(max_in_flight=1, max_waiting=4) as service, AsyncExitStack() as opened:
        await service.ask()
        address, alone = f"127.0.0.1:{service.server.port}", [("grpc.use_local_subchannel_pool", 1)]
        channels = [
            await opened.enter_async_context(grpc.aio.insecure_channel(address, options=alone))
            for _ in range(connections)
        ]

        async def code(channel: grpc.aio.Channel) -> str:
            stub = understanding_pb2_grpc.ExpressionServiceStub(channel)
            try:
                await stub.Recognize(understanding_pb2.RecognizeRequest(), timeout=60)
            except grpc.aio.AioRpcError as error:
                return error.code().name
            return "OK"

        codes = await asyncio.gather(*(code(channel) for channel in channels for _ in range(calls)))
    assert set(codes) == {"OK", "RESOURCE_EXHAUSTED"}
