"""More than can be taken, and callers that are slow on purpose: what is too much is told, nobody else waits."""

import asyncio
import contextlib
import json
import socket
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import grpc.aio
import httpx
import numpy as np
import pytest
from grpc_health.v1 import health_pb2

from semface.access.callers import Scope
from semface.access.keys import KeyFile
from semface.client import AsyncClient, CallError
from semface.errors import Reason
from semface.v1 import codec_pb2, codec_pb2_grpc
from tests.faults.conftest import BITSTREAM, JPEG, RECOVERY_SECONDS, Figure
from tests.faults.processes import Deployable, gateway_settings, health, until
from tests.faults.proxy import Proxy
from tests.gateway.test_fairness import ask, flooded

FACE = np.zeros(257, np.float32)
IDLE_SECONDS = 1.0
STREAMS = 3
HEAD_SECONDS = BODY_SECONDS = ANSWER_SECONDS = 1.0
SUBJECTS = 600


@pytest.fixture(scope="module")
def codec(tiny_repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployable]:
    """Run a codec that takes little."""
    settings = {
        "SEMFACE_MODEL_REPOSITORY": tiny_repository,
        "SEMFACE_MAX_IN_FLIGHT": 2,
        "SEMFACE_MAX_WAITING": 4,
        "SEMFACE_MAX_STREAMS": STREAMS,
        "SEMFACE_STREAM_IDLE_SECONDS": IDLE_SECONDS,
    }
    with Deployable("codec", tmp_path_factory.mktemp("codec"), settings) as running:
        yield running


async def test_at_ten_times_what_it_can_take_every_call_has_its_answer_or_a_time_to_come_again(
    codec: Deployable, figure: Figure
) -> None:
    faces = np.zeros((64, 257), np.float32)
    met: Counter[str] = Counter()
    refused: list[CallError] = []
    async with AsyncClient(codec.address, seconds=60) as client:

        async def call() -> None:
            try:
                await client.encode(faces)
                met["answered"] += 1
            except CallError as error:
                refused.append(error)

        calls = [asyncio.ensure_future(call()) for _ in range(60)]
        status = await asyncio.to_thread(health, codec.address)
        await asyncio.gather(*calls)
        assert status == health_pb2.HealthCheckResponse.SERVING
        assert met["answered"] >= 1
        assert met["answered"] + len(refused) == 60
        assert {error.reason for error in refused} == {Reason.OVERLOADED}
        assert all(error.retry_seconds is not None for error in refused)
        figure("of 60 at once, answered", met["answered"])
        started = time.monotonic()
        await client.encode(faces)
        figure("next call, s", time.monotonic() - started)
        assert time.monotonic() - started < RECOVERY_SECONDS


async def never() -> AsyncIterator[bytes]:
    """Send nothing."""
    await asyncio.Event().wait()
    yield b""


async def stream_ends(client: AsyncClient) -> tuple[Reason, float]:
    """Return why an idle stream ended, and after how long."""
    started = time.monotonic()
    answers = client.decode_stream(never())
    with pytest.raises(CallError) as caught:
        await anext(answers)
    return caught.value.reason, time.monotonic() - started


async def test_beyond_the_limit_the_next_stream_is_refused_and_idle_ones_end_and_make_room(
    codec: Deployable, figure: Figure
) -> None:
    async with AsyncClient(codec.address, seconds=5) as client:
        idle = [asyncio.ensure_future(stream_ends(client)) for _ in range(STREAMS)]
        await asyncio.sleep(0.3)
        reason, seconds = await stream_ends(client)
        assert (reason, seconds < 0.5) == (Reason.OVERLOADED, True)
        await client.encode(FACE)
        for reason, seconds in await asyncio.gather(*idle):
            assert reason is Reason.DEADLINE_EXCEEDED
            assert IDLE_SECONDS - 0.1 < seconds < IDLE_SECONDS + 1
            figure("end of an idle stream allowed one second, s", seconds)
        reason, _ = await stream_ends(client)
        assert reason is Reason.DEADLINE_EXCEEDED


async def test_whoever_does_not_read_is_let_go_and_makes_room(codec: Deployable, figure: Figure) -> None:
    async with AsyncClient(codec.address, seconds=5) as client:
        frame = (await client.encode(FACE)).frames[0].data
        async with contextlib.AsyncExitStack() as stack:
            for _ in range(STREAMS):
                # A small window that does not grow, so that it is soon full.
                options = [("grpc.use_local_subchannel_pool", 1), ("grpc.http2.bdp_probe", 0)]
                channel = await stack.enter_async_context(grpc.aio.insecure_channel(codec.address, options=options))
                stream = codec_pb2_grpc.CodecServiceStub(channel).DecodeStream()
                stack.callback(stream.cancel)
                stack.callback(asyncio.ensure_future(send_for_ever(stream, frame)).cancel)
            await asyncio.sleep(0.5)
            started = time.monotonic()
            while (await stream_ends(client))[0] is Reason.OVERLOADED:
                assert time.monotonic() - started < IDLE_SECONDS + 30
                await asyncio.sleep(0.1)
            figure("until there is room, s", time.monotonic() - started)


async def send_for_ever(stream: "grpc.aio.StreamStreamCall", frame: bytes) -> None:
    """Send frames and read no answer."""
    with contextlib.suppress(grpc.RpcError, asyncio.InvalidStateError):
        while True:
            await stream.write(codec_pb2.DecodeStreamRequest(frame=frame))


async def test_calls_that_trickle_in_keep_no_place(codec: Deployable) -> None:
    with Proxy(codec.port) as link:
        async with AsyncClient(link.address, seconds=8) as slow, AsyncClient(codec.address, seconds=2) as quick:
            await slow.encode(FACE)
            link.bytes_per_second = 20
            trickling = [asyncio.ensure_future(slow.encode(FACE)) for _ in range(8)]
            await asyncio.sleep(0.5)
            for _ in range(10):
                await quick.encode(FACE)
            outcomes = await asyncio.gather(*trickling, return_exceptions=True)
            # So slow a link may be given up before the deadline.
            ended = {getattr(one, "reason", None) for one in outcomes}
            assert ended <= {Reason.DEADLINE_EXCEEDED, Reason.BACKEND_AWAY}


@pytest.fixture(scope="module")
def gateway(
    services: dict[str, Deployable], redis_port: int, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployable]:
    """Run a gateway that has little patience."""
    folder = tmp_path_factory.mktemp("impatient")
    settings = gateway_settings(services, f"redis://127.0.0.1:{redis_port}/5", folder) | {
        "SEMFACE_HTTP_HEAD_SECONDS": HEAD_SECONDS,
        "SEMFACE_HTTP_BODY_SECONDS": BODY_SECONDS,
        "SEMFACE_HTTP_ANSWER_SECONDS": ANSWER_SECONDS,
    }
    with Deployable("gateway", folder, settings) as running:
        yield running


def trickle(gateway: Deployable, text: bytes, seconds: float) -> tuple[bytes, float]:
    """Send ``text`` a byte each tenth of a second for ``seconds``; return what came back and when all was over."""
    started = time.monotonic()
    with socket.create_connection(("127.0.0.1", gateway.port)) as caller:
        for place in range(len(text)):
            if time.monotonic() - started > seconds:
                break
            try:
                caller.sendall(text[place : place + 1])
            except OSError:
                break
            caller.settimeout(0.1)
            with contextlib.suppress(TimeoutError):
                return caller.recv(65_536), time.monotonic() - started
        pytest.fail("the connection was kept")


def test_a_head_that_trickles_in_is_given_up(gateway: Deployable, figure: Figure) -> None:
    answer, seconds = trickle(gateway, b"POST /v1/decode HTTP/1.1\r\nHost: x\r\n" + b"X-Slow: yes\r\n" * 100, 5)
    assert answer == b""
    assert HEAD_SECONDS - 0.1 < seconds < HEAD_SECONDS + 1
    figure("end of a head allowed one second, s", seconds)


def test_a_body_that_trickles_in_is_refused_in_time_and_others_are_served(gateway: Deployable, figure: Figure) -> None:
    head = (
        "POST /v1/decode HTTP/1.1\r\nHost: x\r\nContent-Length: 500\r\n"
        f"Content-Type: {BITSTREAM['Content-Type']}\r\n\r\n"
    )
    started = time.monotonic()
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=0.1) as caller:
        caller.sendall(head.encode())
        answer = b""
        while not answer:
            caller.sendall(b"x")
            assert httpx.get(f"{gateway.url}/livez", timeout=2).status_code == 200
            with contextlib.suppress(TimeoutError):
                answer = caller.recv(65_536)
            assert time.monotonic() - started < BODY_SECONDS + 5
        figure("end of a body allowed one second, s", time.monotonic() - started)
        # Head and body may come apart.
        with contextlib.suppress(TimeoutError, ConnectionError):
            while more := caller.recv(65_536):
                answer += more
    status, _, body = answer.partition(b"\r\n\r\n")
    assert b" 504 " in status.splitlines()[0]
    assert json.loads(body)["reason"] == "DEADLINE_EXCEEDED"


def established(server: int, caller: int) -> bool:
    """Return whether the server on port ``server`` still has a connection with port ``caller``, by the kernel."""
    wanted = f":{server:04X}", f":{caller:04X}", "01"
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    return any(
        (local[-5:], remote[-5:], state) == wanted for _, local, remote, state in (line.split()[:4] for line in lines)
    )


def test_who_does_not_read_an_export_is_let_go_and_who_reads_slowly_has_all_of_it(
    gateway: Deployable, face_picture: bytes, figure: Figure
) -> None:
    with httpx.Client(base_url=gateway.url, timeout=30) as client:
        client.put("/v1/subjects/s0", content=face_picture, headers=JPEG).raise_for_status()
        line = json.loads(client.get("/v1/export").raise_for_status().text)
        lines = [json.dumps(line | {"subject": f"s{number}"}) for number in range(SUBJECTS)]
        made = client.post("/v1/import", content="\n".join(lines), headers={"Content-Type": "application/x-ndjson"})
        assert made.raise_for_status().json()["created"] == SUBJECTS - 1
        with socket.socket() as caller:
            # A small window and small packets, for which the kernel keeps small buffers: they are soon full.
            caller.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            caller.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 536)
            caller.settimeout(10)
            caller.connect(("127.0.0.1", gateway.port))
            caller.sendall(b"GET /v1/export HTTP/1.1\r\nHost: x\r\n\r\n")
            place = caller.getsockname()[1]
            until(lambda: established(gateway.port, place), 5)
            seconds = until(lambda: not established(gateway.port, place), ANSWER_SECONDS + 5)
            figure("end of an answer left unread for one second, s", seconds)
            held = b""
            with contextlib.suppress(ConnectionResetError):
                while part := caller.recv(65_536):
                    held += part
            # What the kernel still held is there, but not the end.
            assert 0 < held.count(b"\n{") < SUBJECTS
            assert not held.endswith(b"0\r\n\r\n")
        started, read = time.monotonic(), 0
        with client.stream("GET", "/v1/export") as answer:
            for part in answer.iter_bytes(32_768):
                read += part.count(b"\n")
                time.sleep(0.05)
        assert read == SUBJECTS
        assert time.monotonic() - started > 2 * ANSWER_SECONDS


async def test_a_tenant_that_floods_the_gateway_is_refused_and_others_are_answered_in_their_turn(
    services: dict[str, Deployable], redis_port: int, tmp_path: Path, face_picture: bytes, frame: bytes, figure: Figure
) -> None:
    file = KeyFile(tmp_path / "keys.json")
    greedy, modest = (file.create(tenant, [Scope.FACES])[1] for tenant in ("greedy", "modest"))
    settings = gateway_settings(services, f"redis://127.0.0.1:{redis_port}/6", tmp_path) | {
        "SEMFACE_KEYS_FILE": file.path,
        "SEMFACE_HTTP_MAX_IN_FLIGHT": 2,
        "SEMFACE_HTTP_MAX_WAITING": 4,
        "SEMFACE_CALL_TIMEOUT_SECONDS": 60,
    }
    with Deployable("gateway", tmp_path, settings) as crowded:
        async with (
            httpx.AsyncClient(base_url=crowded.url, timeout=60) as client,
            flooded(client, ("/v1/analyze", face_picture, JPEG), greedy, callers=10) as flood,
        ):
            for _ in range(4):
                started = time.monotonic()
                answer = await ask(client, ("/v1/expression", frame, BITSTREAM), modest)
                assert answer.status_code == 200, answer.text
                figure("answer of the other tenant, s", time.monotonic() - started)
            assert set(flood.statuses) == {200, 429}
            assert flood.statuses[200] > 0
            assert all(answer.headers["Retry-After"] for answer in flood.refused)
