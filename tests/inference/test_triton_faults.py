"""What the engine on Triton does when the server fails it: a real server, killed, starved and misled."""

import asyncio
import os
import signal
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc.aio
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tritonclient.grpc.aio import InferenceServerClient
from tritonclient.utils import InferenceServerException

from semface.codec.service import SERVICE_NAME, services
from semface.codec.settings import CodecSettings
from semface.deadline import deadline
from semface.errors import Reason, SemfaceError
from semface.inference.cpu_server import CpuServer
from semface.inference.triton import TritonEngine
from semface.messages import pack_descriptors
from semface.rpc.server import Server
from semface.v1 import codec_pb2, codec_pb2_grpc
from tests.inference.networks import DOUBLED, add_model
from tests.rpc.conftest import refusal
from tests.triton_server import EMPTY_MODEL, SLEEPING_MODEL, running_triton

pytestmark = pytest.mark.slow

ONE = np.full((1, 2), 0.01, np.float32)
CODEC_MODELS = ("codec_analysis", "codec_synthesis")


async def failure(call: Awaitable[object]) -> SemfaceError:
    """Return why ``call`` failed; it has to."""
    with pytest.raises(SemfaceError) as caught:
        await call
    return caught.value


def sleep_for(seconds: float) -> dict[str, np.ndarray]:
    return {"x": np.array([[seconds, 0]], np.float32)}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A repository of two networks that double; on Triton one of them sleeps too."""
    for name in ("double", "sleeping"):
        add_model(tmp_path / "source", name, more="dynamic_batching { }")
    return tmp_path / "source"


@pytest.fixture
def server(source: Path, tmp_path: Path) -> Iterator[CpuServer]:
    """A server of the test's own, to be broken."""
    with running_triton(source, tmp_path, programs={"sleeping": SLEEPING_MODEL}) as started:
        yield started


@pytest.fixture
async def engine(triton_server: CpuServer, engine_repository: Path) -> AsyncIterator[TritonEngine]:
    """An engine on the session's server, which is not to be broken."""
    opened = TritonEngine(triton_server.address, engine_repository)
    yield opened
    await opened.close()


async def test_a_server_killed_in_the_middle_fails_every_call_in_time_and_is_found_again(
    server: CpuServer, source: Path
) -> None:
    engine = TritonEngine(server.address, source)
    await engine.infer("double", {"x": ONE})
    with deadline(4.0):
        calls = [asyncio.ensure_future(engine.infer("sleeping", sleep_for(2))) for _ in range(4)]
        await asyncio.sleep(0.5)
        killed = time.monotonic()
        server.kill()
        reasons = {(await failure(call)).reason for call in calls}
    assert reasons == {Reason.BACKEND_AWAY}
    assert time.monotonic() - killed < 2.5
    assert not await engine.ready("double")
    await asyncio.to_thread(server.start)
    async with asyncio.timeout(5):
        while not await engine.ready("double"):  # noqa: ASYNC110 - asked as a probe asks
            await asyncio.sleep(0.05)
    np.testing.assert_array_equal((await engine.infer("double", {"x": ONE}))["y"], 2 * ONE)
    await engine.close()


class Forwarder:
    """Passes on what comes to its port once it listens there."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._writers: list[asyncio.StreamWriter] = []
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])

    async def listen(self) -> asyncio.Server:
        return await asyncio.start_server(self._forward, "127.0.0.1", self.port)

    def close(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
        self._writers += [writer, far_writer]
        await asyncio.gather(self._pump(reader, far_writer), self._pump(far_reader, writer), return_exceptions=True)

    @staticmethod
    async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()


async def test_a_call_that_finds_nobody_at_first_is_answered_once_somebody_listens(
    triton_server: CpuServer, engine_repository: Path
) -> None:
    forwarder = Forwarder(triton_server.port)
    engine = TritonEngine(f"127.0.0.1:{forwarder.port}", engine_repository)
    with deadline(5.0):
        call = asyncio.ensure_future(engine.infer("double", {"x": ONE}))
        await asyncio.sleep(0.1)
        assert not call.done()
        async with await forwarder.listen():
            np.testing.assert_array_equal((await call)["y"], 2 * ONE)
            await engine.close()
            forwarder.close()


async def test_an_unloaded_model_is_told_as_such_and_the_others_go_on(
    triton_server: CpuServer, engine: TritonEngine
) -> None:
    async with InferenceServerClient(triton_server.address) as admin:
        await engine.infer("double", {"x": ONE})
        await admin.unload_model("double", headers=triton_server.headers)
        error = await failure(engine.infer("double", {"x": ONE}))
        assert error.reason is Reason.MODEL_LOADING
        assert "double" in error.message
        assert not await engine.ready("double")
        assert (await engine.infer("sleeping", sleep_for(0)))["y"].shape == (1, 2)
        await admin.load_model("double", headers=triton_server.headers)
        assert await engine.ready("double")


OTHER_MODELS: dict[str, tuple[dict[str, Any], str]] = {
    "other_weights": ({"factor": 3.0}, "its network is"),
    "other_shape": ({"tensors": DOUBLED.replace("-1", "2")}, "its inputs are"),
    "smaller_batches": ({"max_batch_size": 2}, "its largest batch is 2"),
    "other_version": ({"version": "7"}, "its versions are"),
}
"""How a server's model differs from the one here, and what is said of it."""


async def test_a_server_that_serves_other_models_or_answers_with_nothing_is_not_believed(tmp_path: Path) -> None:
    for name, (served, _) in {**OTHER_MODELS, "empty": ({}, ""), "same": ({}, "")}.items():
        add_model(tmp_path / "here", name)
        add_model(tmp_path / "there", name, **served)
    with running_triton(tmp_path / "there", tmp_path, programs={"empty": EMPTY_MODEL}) as server:
        engine = TritonEngine(server.address, tmp_path / "here")
        for name, (_, told) in OTHER_MODELS.items():
            error = await failure(engine.infer(name, {"x": ONE}))
            assert error.reason is Reason.MODEL_LOADING
            assert told in error.message
            assert not await engine.ready(name)
        assert (await failure(engine.infer("empty", {"x": ONE}))).reason is Reason.BACKEND_AWAY
        assert not await engine.ready("empty")
        assert await engine.ready("same")
        await engine.close()


async def test_a_model_that_cannot_load_leaves_the_others_to_be_asked(tmp_path: Path, source: Path) -> None:
    with (
        pytest.raises(SemfaceError, match="did not start"),
        running_triton(source, tmp_path, programs={"sleeping": "no program at all"}),
    ):
        pytest.fail("a model that cannot load must not be taken for ready")
    server = CpuServer(tmp_path / "triton", tmp_path / "triton.log").start(ready=False)
    try:
        engine = TritonEngine(server.address, source)
        with deadline(30):
            while not await engine.ready("double"):  # noqa: ASYNC110 - the server tells of no event
                await asyncio.sleep(0.05)
        assert (await failure(engine.infer("sleeping", sleep_for(0)))).reason is Reason.MODEL_LOADING
        await engine.close()
    finally:
        server.stop()


async def test_a_model_slower_than_the_caller_waits_is_given_up_in_time(engine: TritonEngine) -> None:
    await engine.infer("sleeping", sleep_for(0))
    started = time.monotonic()
    with deadline(0.5):
        error = await failure(engine.infer("sleeping", sleep_for(1.5)))
    assert error.reason is Reason.DEADLINE_EXCEEDED
    assert 0.3 < time.monotonic() - started < 0.5
    with deadline(5):
        assert (await engine.infer("sleeping", sleep_for(0)))["y"].shape == (1, 2)


async def test_a_caller_that_goes_away_has_its_request_cancelled_at_the_server(engine: TritonEngine) -> None:
    await engine.infer("sleeping", sleep_for(0))
    started = time.monotonic()
    first = asyncio.ensure_future(engine.infer("sleeping", sleep_for(1)))
    await asyncio.sleep(0.2)
    second = asyncio.ensure_future(engine.infer("sleeping", sleep_for(20)))
    await asyncio.sleep(0.2)
    second.cancel()
    await first
    with pytest.raises(asyncio.CancelledError):
        await second
    await engine.infer("sleeping", sleep_for(0))
    # The one instance was free for the last call: what was cancelled was not run.
    assert time.monotonic() - started < 15


async def test_who_has_no_key_may_neither_load_nor_share_memory(triton_server: CpuServer) -> None:
    wrong_key = dict.fromkeys(triton_server.headers, "guessed")
    async with InferenceServerClient(triton_server.address) as caller:
        for call in (
            caller.load_model("double"),
            caller.unload_model("double"),
            caller.get_model_repository_index(),
            caller.register_system_shared_memory("mine", "/mine", 64),
            caller.get_system_shared_memory_status(),
            caller.update_trace_settings(settings={"trace_level": ["OFF"]}),
            caller.load_model("double", headers=wrong_key),
        ):
            with pytest.raises(InferenceServerException, match="restricted"):
                await call
        index = await caller.get_model_repository_index(headers=triton_server.headers)
        assert {model.name for model in index.models} >= {"double", "sleeping"}


def stub_process(server: CpuServer, model: str) -> int:
    """Return the number of the process in which the Python backend runs ``model``."""
    listed = subprocess.run(
        ["ps", "-ww", "--ppid", str(server.pid), "-o", "pid=", "-o", "args="],
        capture_output=True,
        text=True,
        check=True,
        timeout=10,
    ).stdout
    return next(int(line.split()[0]) for line in listed.splitlines() if f" {model}_0_0 " in line)


@asynccontextmanager
async def codec_service(server: CpuServer, repository: Path) -> AsyncIterator[grpc.aio.Channel]:
    """Serve the codec over the networks on ``server``, with the settings that such a service has by itself."""
    settings = CodecSettings(
        host="127.0.0.1", port=0, inference=server.url, model_repository=repository, grace_seconds=0.5
    )
    engine = TritonEngine(server.address, repository)
    service = Server(services(engine, settings), settings)
    port = await service.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield channel
    finally:
        await service.stop()
        await engine.close()


async def until_health(channel: grpc.aio.Channel, status: int, seconds: float) -> float:
    """Return how long it took until the service told ``status``; fail after ``seconds``."""
    started = time.monotonic()
    stub, request = health_pb2_grpc.HealthStub(channel), health_pb2.HealthCheckRequest(service=SERVICE_NAME)
    async with asyncio.timeout(seconds):
        while (await stub.Check(request)).status != status:  # noqa: ASYNC110 - asked as a probe asks
            await asyncio.sleep(0.02)
    return time.monotonic() - started


@pytest.mark.parametrize("victim", ["stub", "server"])
async def test_a_service_says_within_two_seconds_that_its_server_is_away_and_recovers_by_itself(
    tiny_repository: Path, tmp_path: Path, victim: str
) -> None:
    face = pack_descriptors(np.zeros(257, np.float32))
    request = codec_pb2.EncodeRequest(faces=[face])
    with running_triton(tiny_repository, tmp_path, models=CODEC_MODELS) as server:
        async with codec_service(server, tiny_repository) as channel:
            encode = codec_pb2_grpc.CodecServiceStub(channel).Encode
            await until_health(channel, health_pb2.HealthCheckResponse.SERVING, 10)
            before = (await encode(request, timeout=5)).frames
            if victim == "stub":
                os.kill(stub_process(server, "codec_analysis"), signal.SIGKILL)
            else:
                server.kill()
            calling = asyncio.ensure_future(refusal(encode(request, timeout=3)))
            await until_health(channel, health_pb2.HealthCheckResponse.NOT_SERVING, 2)
            refused = await calling
            assert refused.code is grpc.StatusCode.UNAVAILABLE
            assert refused.reason == "BACKEND_AWAY"
            if victim == "stub":
                server.stop()
            await asyncio.to_thread(server.start)
            await until_health(channel, health_pb2.HealthCheckResponse.SERVING, 5)
            assert (await encode(request, timeout=5)).frames == before
