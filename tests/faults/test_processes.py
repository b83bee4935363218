"""Processes that are asked to end, killed, starved of files and disk, or live through a jump of the clock."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import numpy as np
import pytest
from grpc_health.v1 import health_pb2

from semface.client import AsyncClient, CallError, Client
from tests.faults.conftest import BITSTREAM, RECOVERY_SECONDS, Figure
from tests.faults.processes import Deployable, gateway_settings, health, until

FACE = np.zeros(257, np.float32)
FAKE_TIME = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)
DAY = 86_400


@pytest.fixture
def codec(tiny_repository: Path, tmp_path: Path) -> Deployable:
    """Return a codec that is not started yet."""
    return Deployable("codec", tmp_path, {"SEMFACE_MODEL_REPOSITORY": tiny_repository})


async def test_sigterm_under_load_ends_every_call(codec: Deployable, figure: Figure) -> None:
    with codec:
        async with AsyncClient(codec.address, seconds=20) as client:
            faces = np.zeros((64, 257), np.float32)
            before = await client.encode(FACE)
            calls = [asyncio.ensure_future(client.encode(faces)) for _ in range(16)]
            await asyncio.sleep(0.05)
            started = time.monotonic()
            codec.signal(signal.SIGTERM)
            answered = await asyncio.gather(*calls, return_exceptions=True)
            assert await asyncio.to_thread(codec.wait) == 0
            figure("from SIGTERM to the end of the process, s", time.monotonic() - started)
        lost = [answer for answer in answered if isinstance(answer, BaseException)]
        # Told at once to go elsewhere, or answered: none is left without a word.
        assert all(isinstance(one, CallError) for one in lost), lost
        done = [answer for answer in answered if not isinstance(answer, BaseException)]
        assert done
        assert all(answer.frames[0].data == before.frames[0].data for answer in done)
        assert codec.events()[-1]["event"] == "stopped"


def test_a_process_killed_again_and_again_serves_again_on_its_port(codec: Deployable, figure: Figure) -> None:
    slowest = 0.0
    with Client(codec.address, seconds=5) as client:
        for _ in range(3):
            codec.start()
            # From the moment its health says so, the old channel of a caller has it back.
            slowest = max(slowest, until(lambda: answers(client), RECOVERY_SECONDS))
            codec.kill()
    figure("recovery of a caller after the process serves again, s", slowest)


def answers(client: Client) -> bool:
    """Return whether the codec answers."""
    try:
        return bool(client.encode(FACE).frames)
    except CallError:
        return False


def test_a_killed_system_leaves_no_redis_behind(tiny_repository: Path, tmp_path: Path, figure: Figure) -> None:
    settings = {"SEMFACE_PORT": "0", "SEMFACE_HTTP_PORT": "0", "SEMFACE_DATA": str(tmp_path), "OMP_NUM_THREADS": "1"}
    environment = os.environ | settings | {"SEMFACE_MODEL_REPOSITORY": str(tiny_repository)}
    command = [sys.executable, "-m", "semface.cli", "up", "--json"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        store = json.loads(process.stdout.readline())["store"].removeprefix("unix://")
        assert is_listening(store)
        process.kill()
    figure("until the embedded Valkey has ended, s", until(lambda: not is_listening(store), RECOVERY_SECONDS))


def is_listening(path: str) -> bool:
    """Return whether somebody listens on the socket at ``path``."""
    with socket.socket(socket.AF_UNIX) as caller:
        return caller.connect_ex(path) == 0


def test_on_a_full_disk_calls_are_answered_though_not_logged(tiny_repository: Path, tmp_path: Path) -> None:
    settings = {"SEMFACE_MODEL_REPOSITORY": tiny_repository}
    with Deployable("codec", tmp_path, settings, {"file_bytes": 4096}) as codec, Client(codec.address) as client:
        for _ in range(100):
            client.encode(FACE)
        assert codec.log.stat().st_size == 4096
        assert codec.serves()


def test_on_a_full_disk_the_key_ring_stays_whole_and_who_is_enrolled_is_served(
    services: dict[str, Deployable], redis_port: int, tmp_path: Path, frame: bytes
) -> None:
    settings = gateway_settings(services, f"redis://127.0.0.1:{redis_port}/1", tmp_path)
    subject = "/v1/subjects/kept"
    with Deployable("gateway", tmp_path, settings) as roomy:
        httpx.put(roomy.url + subject, content=frame, headers=BITSTREAM, timeout=30).raise_for_status()
    ring = (tmp_path / "ring.json").read_bytes()
    with Deployable("gateway", tmp_path, settings, {"file_bytes": 16}) as full:
        assert httpx.get(full.url + subject, timeout=10).status_code == 200
        again = httpx.put(full.url + subject, content=frame, headers=BITSTREAM, timeout=30)
        assert again.status_code == 200
    assert (tmp_path / "ring.json").read_bytes() == ring


@pytest.mark.parametrize("name", ["codec", "gateway"])
def test_without_file_handles_new_callers_wait_and_are_answered_once_there_are_some(
    tiny_repository: Path, services: dict[str, Deployable], redis_port: int, tmp_path: Path, name: str, figure: Figure
) -> None:
    settings = {
        "codec": {"SEMFACE_MODEL_REPOSITORY": tiny_repository},
        "gateway": gateway_settings(services, f"redis://127.0.0.1:{redis_port}/2", tmp_path),
    }[name]
    with Deployable(name, tmp_path, settings, {"files": 96}) as starved:
        with contextlib.ExitStack() as held:
            for _ in range(120):
                caller = held.enter_context(socket.socket())
                caller.settimeout(0.2)
                with contextlib.suppress(OSError):
                    caller.connect(("127.0.0.1", starved.port))
            time.sleep(1.5)
        figure("until it serves again, s", until(starved.serves, RECOVERY_SECONDS + 1))


@pytest.mark.skipif(FAKE_TIME is None, reason="libfaketime is not installed")
@pytest.mark.parametrize("jump", [DAY, pytest.param(-DAY, marks=pytest.mark.lengthy)])
def test_a_jump_of_the_clock_breaks_no_call(tiny_repository: Path, tmp_path: Path, jump: int) -> None:
    clock = tmp_path / "clock"
    clock.write_text("+0")
    settings = {
        "SEMFACE_MODEL_REPOSITORY": tiny_repository,
        "LD_PRELOAD": FAKE_TIME,
        "FAKETIME_TIMESTAMP_FILE": clock,
        "FAKETIME_NO_CACHE": "1",
        # Of a jump the wall clock alone knows.
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    with Deployable("codec", tmp_path, settings, fresh=True) as codec, Client(codec.address, seconds=5) as client:

        def days() -> set[str]:
            return {event["timestamp"][:10] for event in codec.events() if event["event"] == "call"}

        before = client.encode(FACE).frames[0].data
        # A call is logged after its answer has left.
        until(lambda: len(days()) == 1, RECOVERY_SECONDS)
        clock.write_text(f"{jump:+d}")
        for _ in range(20):
            assert client.encode(FACE).frames[0].data == before
        assert health(codec.address) == health_pb2.HealthCheckResponse.SERVING
        assert len(days()) == 2, "the clock of the process did not jump"
