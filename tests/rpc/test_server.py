"""A server starts, reports and stops as every deployable does."""

import asyncio
import json
import os
import signal
import socket
import sys
import urllib.request

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from structlog.testing import capture_logs

from semface.errors import Reason, SemfaceError
from semface.rpc.server import Server
from semface.v1 import understanding_pb2
from tests.rpc.conftest import EXPRESSION, Running, refusal, running, server_settings


async def test_a_message_over_the_limit_is_refused_and_the_next_is_served() -> None:
    async with running(max_message_bytes=10_000) as service:
        source = understanding_pb2.FaceSource(bitstream=bytes(20_000))
        refused = await refusal(service.recognize(understanding_pb2.RecognizeRequest(face=source)))
        assert refused.code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert service.obedient.entered == 0
        await service.ask()


async def test_a_stop_lets_calls_in_flight_end_and_takes_no_new_ones() -> None:
    async with running(grace_seconds=5) as service:
        calls = [asyncio.create_task(service.ask("wait")) for _ in range(8)]
        await service.until_entered(8)
        stopping = asyncio.create_task(service.server.stop())
        await asyncio.sleep(0.1)
        assert (await refusal(service.ask())).code is grpc.StatusCode.UNAVAILABLE
        assert not stopping.done()
        service.obedient.release.set()
        assert len(await asyncio.gather(*calls)) == 8
        await asyncio.wait_for(stopping, 2)


async def test_health_flips_before_the_port_closes() -> None:
    async with running(grace_seconds=5) as service:
        await service.server.wait_until_serving()
        watch = health_pb2_grpc.HealthStub(service.channel).Watch(health_pb2.HealthCheckRequest(service=EXPRESSION))
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
        call = asyncio.create_task(service.ask("wait"))
        await service.until_entered(1)
        stopping = asyncio.create_task(service.server.stop())
        assert (await asyncio.wait_for(watch.read(), 2)).status == health_pb2.HealthCheckResponse.NOT_SERVING
        watch.cancel()
        assert not call.done()
        service.obedient.release.set()
        await call
        await stopping


async def test_a_stop_does_not_wait_longer_than_its_grace() -> None:
    async with running(grace_seconds=0.1) as service:
        call = asyncio.create_task(service.ask("wait"))
        await service.until_entered(1)
        await asyncio.wait_for(service.server.stop(), 2)
        assert (await refusal(call)).code in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}


async def test_a_taken_port_is_an_error_that_says_so() -> None:
    async with running() as service:
        with pytest.raises(SemfaceError, match=r"cannot listen on 127\.0\.0\.1") as caught:
            await Server([], server_settings(port=service.server.port)).start()
    assert caught.value.reason is Reason.FIELD_INVALID


def has_ipv6_loopback() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


@pytest.mark.skipif(not has_ipv6_loopback(), reason="this machine has no IPv6")
async def test_a_server_listens_on_ipv6_where_it_is_told_to() -> None:
    async with running(host="::1") as service, grpc.aio.insecure_channel(f"[::1]:{service.server.port}") as channel:
        await channel.unary_unary(f"/{EXPRESSION}/Recognize")(b"", wait_for_ready=True, timeout=5)


@pytest.mark.parametrize(("host", "warned"), [("0.0.0.0", True), ("127.0.0.1", False), ("localhost", False)])
async def test_without_keys_only_loopback_listens_and_it_is_said(host: str, warned: bool) -> None:
    with capture_logs() as logs:
        async with running(host=host) as service:
            port = service.server.port
            assert service.server.host == ("127.0.0.1" if warned else host)
    warnings = [(line["event"], line["host"], line["port"]) for line in logs if line["log_level"] == "warning"]
    assert warnings == ([("unprotected", "127.0.0.1", port)] if warned else [])


async def test_whoever_allows_it_listens_without_keys_anywhere() -> None:
    async with running(host="0.0.0.0", allow_anonymous=True) as service:
        assert service.server.host == "0.0.0.0"
        await service.ask()


async def test_metrics_count_calls_by_method_and_code() -> None:
    async with running(metrics_port=0) as service:
        await service.ask()
        await refusal(service.ask("NO_FACE"))
        url = f"http://127.0.0.1:{service.server.metrics_port}/metrics"
        method = 'method="/semface.v1.ExpressionService/Recognize"'
        text = ""
        # A call is counted when it is over for the server, which may be after the caller has its answer.
        for _ in range(50):
            with await asyncio.to_thread(urllib.request.urlopen, url) as answer:
                text = answer.read().decode()
            if f"semface_grpc_in_flight{{{method}}} 0.0" in text:
                break
            await asyncio.sleep(0.1)
    assert f'semface_grpc_calls_total{{code="OK",{method}}} 1.0' in text
    assert f'semface_grpc_calls_total{{code="FAILED_PRECONDITION",{method}}} 1.0' in text
    assert f"semface_grpc_call_seconds_count{{{method}}} 2.0" in text
    assert f"semface_grpc_in_flight{{{method}}} 0.0" in text


async def reflected(service: Running) -> list[str]:
    stub = reflection_pb2_grpc.ServerReflectionStub(service.channel)
    call = stub.ServerReflectionInfo()
    await call.write(reflection_pb2.ServerReflectionRequest(list_services=""))
    answer = await call.read()
    await call.done_writing()
    return [item.name for item in answer.list_services_response.service]


async def test_reflection_names_the_services_only_when_it_is_set() -> None:
    async with running(reflection=True) as service:
        assert EXPRESSION in await reflected(service)
    async with running() as service:
        assert (await refusal(reflected(service))).code is grpc.StatusCode.UNIMPLEMENTED


SERVE = """
import asyncio
from semface.rpc.server import Service, serve
from semface.rpc.settings import ServerSettings
from functools import partial
from semface.v1.understanding_pb2_grpc import add_ExpressionServiceServicer_to_server
from tests.rpc.conftest import EXPRESSION, Obedient, healthy

async def main():
    servicer = Obedient()
    service = Service(EXPRESSION, partial(add_ExpressionServiceServicer_to_server, servicer), healthy)
    asyncio.get_running_loop().call_later(1.0, servicer.release.set)
    await serve([service], ServerSettings(port=0), "expression")

asyncio.run(main())
"""


async def test_sigterm_ends_a_deployable_after_its_calls_and_its_logs_are_json() -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", SERVE, stderr=asyncio.subprocess.PIPE, env=environment
    )
    assert process.stderr is not None
    logs = []
    while not logs or logs[-1]["event"] != "listening":
        logs.append(json.loads(await asyncio.wait_for(process.stderr.readline(), 20)))
    async with grpc.aio.insecure_channel(f"127.0.0.1:{logs[-1]['port']}") as channel:
        method = channel.unary_unary(f"/{EXPRESSION}/Recognize")
        call = method(understanding_pb2.RecognizeRequest(model="wait").SerializeToString(), wait_for_ready=True)
        await asyncio.sleep(0.3)
        process.send_signal(signal.SIGTERM)
        assert understanding_pb2.RecognizeResponse.FromString(await call).timings.total_ms > 0
    rest = (await asyncio.wait_for(process.communicate(), 20))[1].decode().splitlines()
    assert process.returncode == 0
    assert {"call", "stopped"} <= {json.loads(line)["event"] for line in rest}
