"""What is measured on a running system: overload over real sockets, the ladder's steps, and the sizes of messages."""

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from semface.evaluation.load.asking import grpc_calls, photograph
from semface.evaluation.load.driving import closed_loop, open_loop
from semface.evaluation.load.ladder import ORDER, measure_ladder
from semface.evaluation.load.running import running_system
from semface.evaluation.load.wire import bytes_of_a_call
from tests.running import astronaut_path


@pytest.mark.slow
async def test_at_twice_the_saturating_rate_every_answer_is_ok_or_a_refusal_and_soon(tiny_repository: Path) -> None:
    with running_system([], {"SEMFACE_MODEL_REPOSITORY": str(tiny_repository), "SEMFACE_MAX_DECODING": "1"}) as system:
        async with grpc_calls(system.grpc) as calls:
            exchanges = await calls.exchanges(photograph(astronaut_path()))
            call = calls.method("extract", exchanges["extract"].request)
            saturated = await closed_loop(call, 16, seconds=2)
            twice = await open_loop(call, 2 * saturated.rate, seconds=3)
            assert saturated.failed == saturated.shed == 0
            assert twice.failed == twice.unanswered == 0
            assert twice.shed > 0
            # What is let in goes on being answered, and does not wait for more than the queue may hold.
            assert twice.rate > 0.4 * saturated.rate
            assert twice.percentile(0.99) < 5 * saturated.percentile(0.99) + 1000
            # Afterwards nothing is left of it.
            assert (await closed_loop(call, 1, seconds=1)).shed == 0


@pytest.mark.slow
async def test_the_ladder_has_every_step_and_each_is_slower_than_the_one_below(tiny_repository: Path) -> None:
    rungs = await measure_ladder(astronaut_path(), tiny_repository, "embedded", 0.1, lambda done: None)
    found = {(rung.call, rung.step): rung for rung in rungs}
    for call in ("extract", "encode", "understand"):
        assert [rung.step for rung in rungs if rung.call == call] == list(ORDER[:4])
        assert found[call, "gRPC"].p50_ms > found[call, "networks"].p50_ms
    assert found["analyze", "gateway"].p50_ms > found["analyze", "core"].p50_ms
    # A photograph travels, a bitstream is some hundred bytes.
    assert (found["extract", "gRPC"].wire_bytes or 0) > 20 * (found["encode", "gRPC"].wire_bytes or 0)


@pytest.mark.slow
def test_a_measurement_that_is_ended_ends_the_system_that_it_started(tiny_repository: Path) -> None:
    environment = os.environ | {"SEMFACE_MODEL_REPOSITORY": str(tiny_repository)}
    command = [sys.executable, "-m", "semface.cli", "bench", "soak", "--share", "0.1"]
    with subprocess.Popen(command, env=environment) as measurement:
        children = Path(f"/proc/{measurement.pid}/task/{measurement.pid}/children")
        deadline = time.monotonic() + 30
        while not (started := children.read_text()):
            assert time.monotonic() < deadline, "it started nothing"
            time.sleep(0.05)
        measurement.terminate()
        assert measurement.wait(30) == 130
    assert not Path(f"/proc/{int(started)}").exists()


async def test_bytes_on_the_wire_are_counted_in_both_directions() -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(100):
            writer.write(3 * data)
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    async with server, bytes_of_a_call(f"127.0.0.1:{server.sockets[0].getsockname()[1]}") as (address, count):
        host, _, port = address.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))

        async def call() -> str:
            writer.write(b"12345678")
            await reader.readexactly(24)
            return "OK"

        assert await count(call) == 32
        writer.close()
