"""What the scenarios share: a gateway whose every link runs through a proxy, pictures, figures."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from semface.client import Client
from tests.faults.processes import Deployable, all_of, gateway_settings, until
from tests.faults.proxy import Proxy
from tests.gateway.enrolled.servers import REDIS, redis_server
from tests.running import astronaut, jpeg

JPEG = {"Content-Type": "image/jpeg"}
BITSTREAM = {"Content-Type": "application/vnd.semface.bitstream"}
FIGURES = Path(__file__).resolve().parents[2] / "build" / "faults.jsonl"
CALL_SECONDS = 2.0
REDIS_SECONDS = 2.0
RECOVERY_SECONDS = 2.0


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark all that lies here."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.faults)


Figure = Callable[[str, float], None]


@pytest.fixture
def figure(request: pytest.FixtureRequest) -> Figure:
    """Note a figure of the test under what it tells; ``python -m tests.faults.figures`` shows the worst of each."""

    def note(told: str, value: float) -> None:
        FIGURES.parent.mkdir(exist_ok=True)
        line = {"test": request.node.name, "told": told, "value": round(value, 3), "at": time.strftime("%Y-%m-%d")}
        with FIGURES.open("a") as file:
            file.write(json.dumps(line) + "\n")

    return note


@pytest.fixture(scope="session")
def face_picture() -> bytes:
    """Return a small JPEG of one face, which is found quickly."""
    return jpeg(astronaut().crop((130, 10, 330, 210)).resize((160, 160)))


@pytest.fixture(scope="session")
def services(tiny_repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Deployable]]:
    """Run the three services, each as a process."""
    folder, settings = tmp_path_factory.mktemp("services"), {"SEMFACE_MODEL_REPOSITORY": tiny_repository}
    running = {name: Deployable(name, folder, settings) for name in ("extraction", "codec", "understanding")}
    with all_of(*running.values()):
        yield running


@pytest.fixture(scope="session")
def frame(services: dict[str, Deployable]) -> bytes:
    """Return the bitstream frame of one face."""
    face = np.random.default_rng(11).normal(0, 0.5, 257).astype(np.float32)
    with Client(services["codec"].address) as client:
        return client.encode(face).frames[0].data


@dataclass
class Linked:
    """A gateway before the services of the running system and a Redis of its own, each behind a proxy."""

    gateway: Deployable
    extraction: Proxy
    codec: Proxy
    understanding: Proxy
    redis: Proxy
    client: httpx.Client
    frame: bytes

    @property
    def proxies(self) -> tuple[Proxy, ...]:
        """Every link."""
        return self.extraction, self.codec, self.understanding, self.redis

    def ask(self, service: str) -> httpx.Response:
        """Send the request that needs ``service`` and no other."""
        path = {"codec": "/v1/decode", "understanding": "/v1/expression"}[service]
        return self.client.post(path, content=self.frame, headers=BITSTREAM)


def told(answer: httpx.Response) -> tuple[int, Any]:
    """Return status and reason."""
    is_problem = answer.headers.get("content-type") == "application/problem+json"
    return answer.status_code, answer.json()["reason"] if is_problem else None


def timed(call: Callable[[], httpx.Response]) -> tuple[httpx.Response, float]:
    """Return what ``call`` returns and the seconds it took."""
    started = time.monotonic()
    return call(), time.monotonic() - started


def seconds_until_answered(call: Callable[[], httpx.Response], most: float = RECOVERY_SECONDS) -> float:
    """Return how long it took until ``call`` was answered well; fail after ``most`` seconds."""
    seen: list[tuple[int, Any]] = []

    def answered() -> bool:
        seen.append(told(call()))
        return seen[-1][0] < 300

    return until(answered, most, lambda: f"no answer within {most} s but {seen[-3:]}")


@pytest.fixture(scope="module")
def redis_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Return the port of a Redis of this module."""
    if REDIS is None:
        pytest.skip("redis-server is not installed")
    with redis_server(tmp_path_factory.mktemp("redis") / "data") as port:
        yield port


@pytest.fixture(scope="module")
def running_links(
    services: dict[str, Deployable],
    redis_port: int,
    tmp_path_factory: pytest.TempPathFactory,
    frame: bytes,
) -> Iterator[Linked]:
    """Run the gateway of this module."""
    folder = tmp_path_factory.mktemp("gateway")
    with ExitStack() as stack:
        extraction, codec, understanding = (stack.enter_context(Proxy(one.port)) for one in services.values())
        redis = stack.enter_context(Proxy(redis_port))
        links = {"extraction": extraction, "codec": codec, "understanding": understanding}
        addresses = {name: proxy.address for name, proxy in links.items()}
        settings = gateway_settings(addresses, f"redis://{redis.address}/0", folder) | {
            "SEMFACE_CALL_TIMEOUT_SECONDS": CALL_SECONDS,
            "SEMFACE_REDIS_TIMEOUT_SECONDS": REDIS_SECONDS,
        }
        gateway = stack.enter_context(Deployable("gateway", folder, settings))
        client = stack.enter_context(httpx.Client(base_url=gateway.url, timeout=30))
        yield Linked(gateway, extraction, codec, understanding, redis, client, frame)


@pytest.fixture
def links(running_links: Linked) -> Iterator[Linked]:
    """Give the module's gateway with all links plain, and mend them afterwards."""
    yield running_links
    for proxy in running_links.proxies:
        proxy.plain()
    for service in ("codec", "understanding"):
        seconds_until_answered(lambda service=service: running_links.ask(service), 10)  # type: ignore[misc]
