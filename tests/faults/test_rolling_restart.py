"""Two replicas of each deployable, restarted one after the other under load: no request is lost."""

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from http.client import HTTPConnection
from pathlib import Path

import httpx
import pytest

from tests.faults.conftest import JPEG, RECOVERY_SECONDS, Figure
from tests.faults.load import Load, Request
from tests.faults.processes import Deployable, all_of, gateway_settings, until
from tests.faults.proxy import Proxy

SERVICES = ("extraction", "codec", "understanding")
SUBJECT = "/v1/subjects/somebody"
LOOK_SECONDS = 0.2
lengthy = partial(pytest.param, marks=pytest.mark.lengthy)
BITSTREAM = "application/vnd.semface.bitstream"


@dataclass
class Cluster:
    """Everything twice, the gateways behind a proxy that asks them whether they are ready."""

    deployables: dict[str, tuple[Deployable, Deployable]]
    front: Proxy
    requests: list[Request]

    @property
    def url(self) -> str:
        """Where the callers ask."""
        return f"http://{self.front.address}"

    def until_found(self, replica: Deployable) -> None:
        """Wait as a rolling restart does: until whoever calls ``replica`` has it back."""
        # grpc tries a server again after at most 1.2 s; a cluster waits for longer (minReadySeconds).
        time.sleep(RECOVERY_SECONDS)
        if replica.name == "gateway":
            until(lambda: replica.port in self.front.targets, 60)

    def load(self) -> Load:
        """Return callers that need every service and Redis."""
        return Load(self.url, self.requests)


@contextmanager
def watching(front: Proxy, gateways: tuple[Deployable, Deployable]) -> Iterator[None]:
    """Let new connections go to gateways that are ready only, as the Service of a cluster does."""
    ending = threading.Event()

    def ready(gateway: Deployable) -> bool:
        try:
            return httpx.get(f"{gateway.url}/readyz", timeout=10).status_code == 200
        except httpx.HTTPError:
            return False

    def look() -> None:
        while not ending.wait(LOOK_SECONDS):
            front.targets = [gateway.port for gateway in gateways if ready(gateway)] or front.targets

    thread = threading.Thread(target=look, name="readiness")
    thread.start()
    try:
        yield
    finally:
        ending.set()
        thread.join()


@pytest.fixture(scope="module")
def cluster(
    tiny_repository: Path, redis_port: int, tmp_path_factory: pytest.TempPathFactory, face_picture: bytes
) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("cluster")
    settings = {"SEMFACE_MODEL_REPOSITORY": tiny_repository}
    pairs = {name: (Deployable(name, folder, settings), Deployable(name, folder, settings)) for name in SERVICES}
    places = {name: "ipv4:" + ",".join(one.address for one in pair) for name, pair in pairs.items()}
    edge = gateway_settings(places, f"redis://127.0.0.1:{redis_port}/0", folder)
    # A long wait is no loss. The callers of these tests keep a connection idle for five seconds at most.
    edge |= {"SEMFACE_CALL_TIMEOUT_SECONDS": 60, "SEMFACE_REDIS_TIMEOUT_SECONDS": 10, "SEMFACE_DRAIN_SECONDS": 6}
    gateways = (Deployable("gateway", folder, edge), Deployable("gateway", folder, edge))
    with ExitStack() as stack:
        stack.enter_context(all_of(*(one for pair in pairs.values() for one in pair)))
        stack.enter_context(all_of(*gateways))
        front = stack.enter_context(Proxy(*(gateway.port for gateway in gateways)))
        stack.enter_context(watching(front, gateways))
        url = f"http://{front.address}"
        frame = (
            httpx.post(f"{url}/v1/encode", content=face_picture, headers=JPEG, timeout=30).raise_for_status().content
        )
        httpx.put(f"{url}{SUBJECT}", content=face_picture, headers=JPEG, timeout=30).raise_for_status()
        requests = [
            Request("POST", "/v1/encode", face_picture, "image/jpeg"),
            Request("POST", "/v1/decode", frame, BITSTREAM),
            Request("POST", f"{SUBJECT}/verify", frame, BITSTREAM),
        ]
        yield Cluster({**pairs, "gateway": gateways}, front, requests)


@pytest.mark.parametrize("name", [*SERVICES, "gateway"])
def test_a_rolling_restart_loses_no_request(cluster: Cluster, name: str, figure: Figure) -> None:
    with cluster.load() as load:
        time.sleep(1)
        for replica in cluster.deployables[name]:
            assert replica.stop() == 0
            replica.start()
            cluster.until_found(replica)
        time.sleep(1)
    assert len(load.answers) > 20
    figure("requests lost", sum(load.lost.values()))
    assert not load.lost, load.lost


@pytest.mark.parametrize("name", [lengthy("extraction"), "codec", lengthy("understanding")])
def test_a_killed_replica_loses_no_request(cluster: Cluster, name: str, figure: Figure) -> None:
    victim = cluster.deployables[name][0]
    with cluster.load() as load:
        time.sleep(1)
        victim.kill()
        time.sleep(2)
        victim.start()
        time.sleep(0.5)
    assert len(load.answers) > 20
    figure("requests lost", sum(load.lost.values()))
    assert not load.lost, load.lost


def test_a_killed_gateway_loses_only_what_it_was_answering(cluster: Cluster, figure: Figure) -> None:
    victim = cluster.deployables["gateway"][0]
    with cluster.load() as load:
        time.sleep(1)
        killed = time.monotonic()
        victim.kill()
        time.sleep(3)
        victim.start()
    # Each of the callers had one request under way at most.
    figure("requests lost of four under way", sum(load.lost.values()))
    assert sum(load.lost.values()) <= 4, load.lost
    assert any(status == 200 for _, status, _, at in load.answers if at > killed + RECOVERY_SECONDS)


@pytest.mark.lengthy
@pytest.mark.parametrize("name", [*SERVICES, "gateway"])
def test_a_replica_that_restarts_all_the_time_harms_nobody(cluster: Cluster, name: str, figure: Figure) -> None:
    victim = cluster.deployables[name][0]
    with cluster.load() as load:
        for _ in range(5):
            victim.stop()
            victim.start(serving=False)
            time.sleep(1)
    until(victim.serves, 60)
    figure("requests lost", sum(load.lost.values()))
    assert not load.lost, load.lost


def test_a_connection_in_use_is_asked_to_go_within_the_drain_and_loses_no_request(
    services: dict[str, Deployable], redis_port: int, tmp_path: Path, frame: bytes, figure: Figure
) -> None:
    """With the drain that is set where nothing is set; the caller asks more often than that."""
    settings = gateway_settings(services, f"redis://127.0.0.1:{redis_port}/7", tmp_path)
    with Deployable("gateway", tmp_path, settings) as lone:
        caller = HTTPConnection("127.0.0.1", lone.port, timeout=10)
        told = []
        stopping = threading.Timer(0.5, lone.stop)
        stopping.start()
        while not told or told[-1][1] != "close":
            caller.request("POST", "/v1/decode", frame, {"Content-Type": BITSTREAM})
            answer = caller.getresponse()
            answer.read()
            told.append((answer.status, answer.getheader("connection")))
            time.sleep(0.1)
        stopping.join()
        assert {status for status, _ in told} == {200}
        figure("requests answered over the connection", len(told))
