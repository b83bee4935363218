import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

from semface.client import CallError, Client
from semface.gateway.enrolled.key_ring import new_master_key
from semface.inference.cpu_server import CpuServer
from tests.cli.conftest import Run
from tests.running import System, running_system

STOP_SECONDS = 15


def test_a_face_is_enrolled_and_identified_through_a_running_gateway(run: Run, system: System, photo: Path) -> None:
    where = ("--url", system.gateway, "--json")
    enrolled = run("enroll", "me", photo, *where)
    assert json.loads(enrolled.stdout)["created"] is True
    try:
        found = json.loads(run("identify", photo, *where).stdout)
        assert [candidate["subject"] for candidate in found["candidates"]] == ["me"]
    finally:
        httpx.delete(f"{system.gateway}/v1/subjects/me").raise_for_status()
    refused = run("enroll", "../me", photo, *where)
    assert refused.stderr.count("\n") == 1
    assert refused.returncode == 1


def test_a_gateway_that_is_away_is_one_line_with_what_to_do(run: Run, photo: Path) -> None:
    told = run("identify", photo, "--url", "http://127.0.0.1:1").stderr
    assert told.count("\n") == 1
    assert "BACKEND_AWAY" in told
    assert "semface up" in told


def test_what_is_enrolled_outlives_the_process_where_it_has_a_folder(
    tiny_repository: Path, portrait: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEMFACE_DATA", str(tmp_path))
    subject = "/v1/subjects/kept"
    with running_system(tiny_repository) as first:
        httpx.put(
            first.gateway + subject, content=portrait, headers={"Content-Type": "image/jpeg"}, timeout=30
        ).raise_for_status()
    assert first.process.returncode == 0
    with running_system(tiny_repository) as second:
        assert httpx.get(second.gateway + subject).status_code == 200


@pytest.mark.slow
def test_a_system_whose_networks_run_on_triton_answers_the_same(
    triton_server: CpuServer, system: System, tiny_repository: Path, portrait: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEMFACE_INFERENCE", triton_server.url)

    def bitstream(gateway: str) -> bytes:
        answer = httpx.post(
            f"{gateway}/v1/encode", content=portrait, headers={"Content-Type": "image/jpeg"}, timeout=30
        )
        return answer.raise_for_status().content

    with running_system(tiny_repository) as on_triton:
        assert bitstream(on_triton.gateway) == bitstream(system.gateway)


@pytest.mark.parametrize(("chosen", "known"), [(None, True), ("-no_such_experiment", False)])
def test_what_grpc_is_told_is_told_before_it_is_read_and_is_known_to_it(chosen: str | None, known: bool) -> None:
    started = (
        "import asyncio, sys; from semface.cli import main, running; assert 'grpc' not in sys.modules;"
        "running.set_grpc_experiments(); import grpc.aio; asyncio.run(grpc.aio.insecure_channel('a:1').close())"
    )
    environment = os.environ | ({} if chosen is None else {"GRPC_EXPERIMENTS": chosen})
    told = subprocess.run([sys.executable, "-c", started], env=environment, check=True, capture_output=True, text=True)
    assert ("Unknown experiment" not in told.stderr) is known


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_service_alone_starts_and_stops_cleanly(tiny_repository: Path, number: signal.Signals) -> None:
    environment = os.environ | {
        "SEMFACE_MODEL_REPOSITORY": str(tiny_repository),
        "SEMFACE_PORT": "0",
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, "-m", "semface.cli", "serve", "codec"]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        port = next(json.loads(line)["port"] for line in process.stderr if '"listening"' in line)
        with Client(f"127.0.0.1:{port}") as client:
            wait_until_serving(client)
            values = np.zeros((1, 257), np.float32)
            assert client.decode([client.encode(values).frames[0].data]).faces[0].descriptors.shape == (257,)
        process.send_signal(number)
        assert process.wait(STOP_SECONDS) == 0


def wait_until_serving(client: Client) -> None:
    """Return once the codec's canary has passed."""
    deadline = time.monotonic() + STOP_SECONDS
    while time.monotonic() < deadline:
        try:
            if client.serving("semface.v1.CodecService"):
                return
        except CallError:
            pass
        time.sleep(0.05)
    pytest.fail("the codec never served")


def test_a_gateway_without_a_key_ring_says_what_to_set(shell: Run) -> None:
    done = shell("serve", "gateway", SEMFACE_HTTP_PORT="0")
    assert done.returncode == 1
    assert "SEMFACE_KEY_RING" in done.stderr.splitlines()[-1]


def test_a_taken_port_is_one_line(shell: Run, system: System, tmp_path: Path) -> None:
    ring = {"SEMFACE_KEY_RING": str(tmp_path / "ring.json"), "SEMFACE_MASTER_KEY": new_master_key()}
    done = shell("serve", "gateway", SEMFACE_HTTP_PORT=system.gateway.rpartition(":")[2], **ring)
    assert done.returncode == 1
    assert "SEMFACE_HTTP_PORT" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_the_demonstration_shows_the_whole_way(shell: Run, tmp_path: Path) -> None:
    done = shell("demonstrate", "--once", "--json", "--output", tmp_path, SEMFACE_PORT="0", SEMFACE_HTTP_PORT="0")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["faces"] == 1
    assert told["bits"]["total"] < 8 * told["photograph_bytes"] / 1000
    assert sum(told["expression"].values()) == pytest.approx(1, abs=1e-4)
    assert told["score_of_changed_copy"] > told["threshold"] > told["score_of_other_identity"]
    assert set(told["milliseconds"]) == {"extract", "encode", "understand", "queue", "total"}
    picture = np.asarray(Image.open(tmp_path / "demonstration.png")).astype(int)
    left, right = np.split(picture, 2, axis=1)
    assert np.abs(left - right).mean() > 1


def test_the_demonstration_prints_a_table(shell: Run, tmp_path: Path) -> None:
    done = shell("demonstrate", "--once", "--output", tmp_path, SEMFACE_PORT="0", SEMFACE_HTTP_PORT="0")
    for words in ("faces found", "identity", "happiness", "changed copy", "other identity", "extract", "/docs"):
        assert words in done.stdout


def test_a_system_that_lacks_a_network_says_which_and_ends(run: Run, tiny_repository: Path, tmp_path: Path) -> None:
    lacking = tmp_path / "models"
    shutil.copytree(tiny_repository, lacking)
    shutil.rmtree(lacking / "descriptor_extraction")
    done = run("up", SEMFACE_MODEL_REPOSITORY=str(lacking), SEMFACE_PORT="0", SEMFACE_HTTP_PORT="0")
    assert done.returncode == 1
    assert "descriptor_extraction" in done.stderr.splitlines()[-1]
