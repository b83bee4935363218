"""What Redis holds is lost, old or elsewhere: who is enrolled is there, or it is said; never a false answer."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import redis

from tests.faults.conftest import BITSTREAM, Figure, seconds_until_answered, told
from tests.faults.processes import Deployable, all_of, gateway_settings
from tests.faults.proxy import Proxy, free_port
from tests.gateway.enrolled.servers import needs_redis, redis_server
from tests.services.stack import running_stack
from tests.tiny_models import build_tiny_repository

pytestmark = needs_redis
DURABLE = ("--appendonly", "yes", "--appendfsync", "always")
SUBJECTS = [f"/v1/subjects/s{number}" for number in range(5)]


@contextmanager
def gateway_at(services: dict[str, Deployable] | str, redis_url: str, folder: Path) -> Iterator[httpx.Client]:
    """Run a gateway while the block lasts and give a client of it."""
    settings = gateway_settings(services, redis_url, folder) | {"SEMFACE_REDIS_TIMEOUT_SECONDS": 10}
    with Deployable("gateway", folder, settings) as gateway, httpx.Client(base_url=gateway.url, timeout=30) as client:
        yield client


def enroll(client: httpx.Client, subjects: list[str], picture: bytes) -> None:
    for subject in subjects:
        client.put(subject, content=picture, headers=BITSTREAM).raise_for_status()


def enrolled(client: httpx.Client, subjects: list[str]) -> int:
    """Return how many of ``subjects`` are there."""
    return sum(client.get(subject).status_code == 200 for subject in subjects)


def candidates(client: httpx.Client, picture: bytes) -> set[str]:
    """Return who is identified."""
    found = client.post("/v1/identify?top=20", content=picture, headers=BITSTREAM).raise_for_status().json()
    return {candidate["subject"] for candidate in found["candidates"]}


def names(subjects: list[str]) -> set[str]:
    return {subject.rpartition("/")[2] for subject in subjects}


def test_over_a_crash_and_a_loss_of_redis_nothing_is_lost_and_nothing_is_made_up(
    services: dict[str, Deployable], tmp_path: Path, frame: bytes, figure: Figure
) -> None:
    port, data = free_port(), tmp_path / "redis"
    url = f"redis://127.0.0.1:{port}/0"

    def identify() -> httpx.Response:
        return client.post("/v1/identify", content=frame, headers=BITSTREAM)

    with gateway_at(services, url, tmp_path) as client:
        with redis_server(data, *DURABLE, port=port):
            enroll(client, SUBJECTS, frame)
            assert candidates(client, frame) == names(SUBJECTS)
        # The server was killed as it stood.
        assert told(identify()) == (503, "BACKEND_AWAY")
        with redis_server(data, *DURABLE, port=port):
            figure("recovery after a crash, s", seconds_until_answered(identify))
            lost = len(SUBJECTS) - enrolled(client, SUBJECTS)
            figure("enrolled lost by a crash", lost)
            assert lost == 0
            assert candidates(client, frame) == names(SUBJECTS)
            with redis.Redis(port=port) as admin:
                admin.flushall()
            # Emptied: nobody is there, and nobody of before is found.
            assert enrolled(client, SUBJECTS) == 0
            assert candidates(client, frame) == set()
            enroll(client, SUBJECTS[:1], frame)
            assert candidates(client, frame) == names(SUBJECTS[:1])


def test_rolled_back_to_a_snapshot_those_of_the_snapshot_are_there_and_no_others(
    services: dict[str, Deployable], tmp_path: Path, frame: bytes, figure: Figure
) -> None:
    port, data, kept = free_port(), tmp_path / "redis", tmp_path / "snapshot.rdb"
    with gateway_at(services, f"redis://127.0.0.1:{port}/0", tmp_path) as client:
        with redis_server(data, port=port), redis.Redis(port=port) as admin:
            enroll(client, SUBJECTS[:3], frame)
            admin.save()
            shutil.copy(data / "dump.rdb", kept)
            enroll(client, SUBJECTS[3:], frame)
            assert candidates(client, frame) == names(SUBJECTS)
        shutil.copy(kept, data / "dump.rdb")
        with redis_server(data, port=port):
            figure("recovery, s", seconds_until_answered(lambda: client.get(SUBJECTS[0])))
            assert enrolled(client, SUBJECTS) == 3
            assert candidates(client, frame) == names(SUBJECTS[:3])


def test_gateways_out_of_step_never_answer_with_what_was(
    services: dict[str, Deployable], redis_port: int, tmp_path: Path, frame: bytes
) -> None:
    with Proxy(redis_port) as link:
        ahead = Deployable(
            "gateway", tmp_path, gateway_settings(services, f"redis://127.0.0.1:{redis_port}/3", tmp_path)
        )
        settings = gateway_settings(services, f"redis://{link.address}/3", tmp_path)
        behind = Deployable("gateway", tmp_path, settings | {"SEMFACE_REDIS_TIMEOUT_SECONDS": 1})
        with (
            all_of(ahead, behind),
            httpx.Client(base_url=ahead.url, timeout=30) as one,
            httpx.Client(base_url=behind.url, timeout=30) as other,
        ):
            enroll(one, SUBJECTS[:2], frame)
            assert candidates(other, frame) == names(SUBJECTS[:2])
            link.refuse()
            one.delete(SUBJECTS[0]).raise_for_status()
            enroll(one, SUBJECTS[2:3], frame)
            # It has them in memory still, and does not say so.
            away = other.post("/v1/identify", content=frame, headers=BITSTREAM)
            assert told(away) == (503, "BACKEND_AWAY")
            link.plain()
            seconds_until_answered(lambda: other.get(SUBJECTS[1]))
            assert candidates(other, frame) == names(SUBJECTS[1:3])
            assert told(other.get(SUBJECTS[0])) == (404, "SUBJECT_UNKNOWN")


def test_under_a_new_model_who_is_enrolled_stays_and_is_never_a_silent_miss(
    services: dict[str, Deployable], redis_port: int, tmp_path: Path, frame: bytes
) -> None:
    url, subject = f"redis://127.0.0.1:{redis_port}/4", SUBJECTS[0]
    with gateway_at(services, url, tmp_path) as client:
        enroll(client, [subject], frame)
    repository = build_tiny_repository(tmp_path / "models")
    network = repository / "face_verification" / "1" / "model.onnx"
    newer = network.parents[1] / "2"
    newer.mkdir()
    # The same numbers in another file: a new version.
    (newer / "model.onnx").write_bytes(network.read_bytes() + b"\x12\x05newer")
    with running_stack(repository) as newer_services, gateway_at(newer_services, url, tmp_path) as client:

        def verify() -> httpx.Response:
            return client.post(f"{subject}/verify", content=frame, headers=BITSTREAM)

        assert enrolled(client, [subject]) == 1
        assert told(verify()) == (409, "MODEL_MISMATCH")
        assert told(client.post("/v1/identify", content=frame, headers=BITSTREAM)) == (409, "MODEL_MISMATCH")
        enroll(client, [subject], frame)
        assert verify().json()["matched"] is True
