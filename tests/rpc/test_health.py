"""Health tells what canary inferences found."""

import asyncio

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from semface.rpc.health import LIVENESS
from semface.rpc.settings import ServerSettings
from tests.rpc.conftest import EXPRESSION, Running, refusal, running

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


class Canary:
    """Passes while it is well."""

    def __init__(self) -> None:
        self.well = False

    async def __call__(self) -> None:
        if not self.well:
            raise RuntimeError("the network is gone")


async def status(service: Running, name: str) -> int:
    answer = await health_pb2_grpc.HealthStub(service.channel).Check(health_pb2.HealthCheckRequest(service=name))
    return int(answer.status)


async def until(service: Running, name: str, wanted: int) -> None:
    async with asyncio.timeout(3):
        while await status(service, name) != wanted:  # noqa: ASYNC110 - Check is what is tested, not Watch
            await asyncio.sleep(0.005)


async def test_a_service_serves_only_while_its_canary_passes() -> None:
    canary = Canary()
    async with running(canary, canary_interval_seconds=0.02) as service:
        await until(service, "semface.v1.CodecService", SERVING)
        assert await status(service, EXPRESSION) == NOT_SERVING
        assert await status(service, "") == NOT_SERVING
        canary.well = True
        await asyncio.wait_for(service.server.wait_until_serving(), 3)
        assert await status(service, EXPRESSION) == SERVING
        assert await status(service, "") == SERVING
        canary.well = False
        await until(service, EXPRESSION, NOT_SERVING)
        assert await status(service, "") == NOT_SERVING
        assert await status(service, "semface.v1.CodecService") == SERVING


async def test_liveness_depends_on_no_canary() -> None:
    async with running(Canary(), canary_interval_seconds=0.02) as service:
        await until(service, EXPRESSION, NOT_SERVING)
        assert await status(service, LIVENESS) == SERVING


async def test_a_canary_that_hangs_has_failed() -> None:
    seconds = iter([0.0])

    async def canary() -> None:
        await asyncio.sleep(next(seconds, 60.0))

    async with running(canary, canary_timeout_seconds=0.05, canary_interval_seconds=0.02) as service:
        await until(service, EXPRESSION, SERVING)
        await until(service, EXPRESSION, NOT_SERVING)


async def test_an_unknown_service_is_not_found(service: Running) -> None:
    assert (await refusal(status(service, "semface.v1.Nobody"))).code is grpc.StatusCode.NOT_FOUND


async def test_a_watcher_sees_a_service_become_healthy() -> None:
    canary = Canary()
    async with running(canary) as service:
        watch = health_pb2_grpc.HealthStub(service.channel).Watch(health_pb2.HealthCheckRequest(service=EXPRESSION))
        assert (await watch.read()).status == NOT_SERVING
        canary.well = True
        assert (await asyncio.wait_for(watch.read(), 3)).status == SERVING
        watch.cancel()


async def test_health_is_answered_when_calls_are_shed() -> None:
    async with running(max_in_flight=1, max_waiting=0) as service:
        call = asyncio.create_task(service.ask("wait"))
        await service.until_entered(1)
        await until(service, EXPRESSION, SERVING)
        service.obedient.release.set()
        await call


def test_canaries_look_often_where_networks_run_on_another_server() -> None:
    assert ServerSettings(inference="embedded").canary_interval_seconds == 30
    remote = ServerSettings(inference="grpc://triton:8001")
    assert remote.canary_interval_seconds + remote.canary_timeout_seconds < 2
    assert ServerSettings(inference="grpc://triton:8001", canary_interval_seconds=9).canary_interval_seconds == 9
