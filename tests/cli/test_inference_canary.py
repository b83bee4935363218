"""The canary beside a Triton server tells of each network whether it answers."""

import asyncio
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from semface.cli.inference_canary import services
from semface.errors import Reason, SemfaceError
from semface.inference.cpu_server import CpuServer
from semface.inference.triton import TritonEngine
from semface.rpc.health import LIVENESS
from semface.rpc.server import Server
from semface.rpc.settings import ServerSettings

SERVING = health_pb2.HealthCheckResponse.SERVING


async def until(stub: health_pb2_grpc.HealthStub, name: str, serving: bool) -> None:
    async with asyncio.timeout(30):
        while True:
            answer = await stub.Check(health_pb2.HealthCheckRequest(service=name))
            if (answer.status == SERVING) is serving:
                return
            await asyncio.sleep(0.05)


@pytest.mark.slow
async def test_a_triton_that_is_gone_is_told_while_the_canary_itself_lives(
    triton_server: CpuServer, tiny_repository: Path
) -> None:
    settings = ServerSettings(
        port=0, health_port=0, inference=triton_server.url, model_repository=tiny_repository, grace_seconds=0
    )
    gone = TritonEngine("127.0.0.1:9", tiny_repository)
    engine = TritonEngine(triton_server.address, tiny_repository)
    for asked, well in ((engine, True), (gone, False)):
        server = Server(services(asked, settings), settings)
        await server.start()
        try:
            async with grpc.aio.insecure_channel(f"127.0.0.1:{server.health_port}") as channel:
                stub = health_pb2_grpc.HealthStub(channel)
                await until(stub, LIVENESS, True)
                await until(stub, "", well)
                await until(stub, "face_verification", well)
        finally:
            await server.stop()
            await asked.close()


def test_a_repository_without_networks_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SemfaceError) as refused:
        services(TritonEngine("127.0.0.1:9", tmp_path), ServerSettings(model_repository=tmp_path))
    assert refused.value.reason is Reason.MODEL_UNKNOWN
