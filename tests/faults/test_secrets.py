"""Secrets and faces in logs, metrics, errors and process lists: there are none; comparing keys tells of none."""

import base64
import json
import re
import statistics
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from semface.access.callers import Scope
from semface.access.keys import KeyFile, find_key, plain_keys
from tests.faults.conftest import BITSTREAM, JPEG, Figure
from tests.faults.processes import Deployable, all_of, gateway_settings
from tests.faults.proxy import Proxy, free_port
from tests.gateway.enrolled.servers import REDIS, needs_redis, running

PASSWORD = "a-password-of-redis-51c6"
SUBJECT = "marie-curie-7d1f"
SERVICES = ("extraction", "codec", "understanding")
MANY_DIGITS = re.compile(r"-?\d\.\d{5,}(?:e-?\d+)?")


@dataclass
class Observed:
    """What a running system wrote, told and shows, and what must not be in it."""

    texts: dict[str, str] = field(default_factory=dict)
    secrets: dict[str, str] = field(default_factory=dict)
    numbers: set[str] = field(default_factory=set)


@pytest.fixture(scope="module")
def observed(tiny_repository: Path, tmp_path_factory: pytest.TempPathFactory, face_picture: bytes) -> Observed:
    """Use everything once, well and badly, with all logging on, and collect what was written."""
    folder = tmp_path_factory.mktemp("observed")
    keys = KeyFile(folder / "keys.json")
    _, caller = keys.create("acme", list(Scope), calls_per_minute=10_000)
    _, service = keys.create("default", [Scope.FACES])
    shared = {"SEMFACE_LOG_LEVEL": "debug", "SEMFACE_KEYS_FILE": keys.path}
    ports = {name: free_port() for name in SERVICES}
    settings = {"SEMFACE_MODEL_REPOSITORY": tiny_repository, **shared}
    services = [
        Deployable(name, folder, settings | {"SEMFACE_METRICS_PORT": ports[name]}, fresh=True) for name in SERVICES
    ]
    places = {one.name: one.address for one in services}
    seen = Observed()
    with ExitStack() as stack:
        redis_port = stack.enter_context(running_redis(folder))
        link = stack.enter_context(Proxy(redis_port))
        edge = gateway_settings(places, f"redis://:{PASSWORD}@{link.address}/0", folder) | shared
        gateway = Deployable("gateway", folder, edge | {"SEMFACE_SERVICE_KEY": service}, fresh=True)
        stack.enter_context(all_of(*services, gateway))
        processes = [*services, gateway]
        with httpx.Client(base_url=gateway.url, timeout=30, headers={"Authorization": f"Bearer {caller}"}) as client:
            _use(client, face_picture, link, seen)
        for name, port in ports.items():
            seen.texts[f"metrics of {name}"] = httpx.get(f"http://127.0.0.1:{port}/metrics").text
        seen.texts["metrics of gateway"] = httpx.get(f"{gateway.url}/metrics").text
        for one in processes:
            seen.texts[f"command line of {one.name}"] = Path(f"/proc/{one.process.pid}/cmdline").read_text()
    for one in processes:
        seen.texts[f"log of {one.name}"] = one.log.read_text()
    seen.secrets |= {"caller's key": caller, "service key": service, "password of Redis": PASSWORD}
    seen.secrets["master key"] = (folder / "master.key").read_text().strip()
    seen.secrets["picture"] = base64.b64encode(face_picture).decode()[200:240]
    return seen


@contextmanager
def running_redis(folder: Path) -> Iterator[int]:
    """Run a Redis that asks for a password."""
    place = free_port()
    users = folder / "redis.acl"
    users.write_text(f"user default on >{PASSWORD} ~* &* +@all\n")
    assert REDIS is not None
    arguments = ["--port", str(place), "--bind", "127.0.0.1", "--save", "", "--aclfile", str(users)]
    with running(REDIS, arguments, place, password=PASSWORD):
        yield place


def _use(client: httpx.Client, picture: bytes, link: Proxy, seen: Observed) -> None:
    frame = client.post("/v1/encode", content=picture, headers=JPEG).raise_for_status().content
    described = client.post("/v1/decode", content=frame, headers=BITSTREAM).raise_for_status()
    seen.numbers = set(MANY_DIGITS.findall(described.text))
    assert len(seen.numbers) > 100
    client.put(f"/v1/subjects/{SUBJECT}?label=physicist-3f2a", content=picture, headers=JPEG).raise_for_status()
    exported = client.get("/v1/export").raise_for_status()
    seen.secrets["embedding"] = json.loads(exported.text)["embedding"][:40]
    told = [
        client.post(f"/v1/subjects/{SUBJECT}/verify", content=frame, headers=BITSTREAM),
        client.post("/v1/identify", content=picture, headers=JPEG),
        client.get(f"/v1/subjects/{SUBJECT}-unknown"),
        client.post("/v1/decode", content=frame[:-1] + b"x", headers=BITSTREAM),
        client.post("/v1/encode", content=picture[:500], headers=JPEG),
        client.post("/v1/expression", json={"descriptors": [1e9] * 257}),
        client.get(f"/v1/subjects/{SUBJECT}", headers={"Authorization": "Bearer semface_wrong"}),
    ]
    link.refuse()
    told += [
        client.get(f"/v1/subjects/{SUBJECT}"),
        client.put(f"/v1/subjects/{SUBJECT}", content=picture, headers=JPEG),
    ]
    link.plain()
    seen.texts["errors"] = "\n".join(answer.text for answer in told if answer.status_code >= 400)
    assert {answer.status_code for answer in told} >= {200, 401, 404, 422, 503}
    seen.secrets |= {"subject": SUBJECT, "label": "physicist-3f2a", "frame": base64.b64encode(frame).decode()}


@needs_redis
def test_no_log_metric_error_or_process_list_holds_a_secret_or_a_subject(observed: Observed) -> None:
    assert sum(name.startswith("log of") for name in observed.texts) == 4
    for where, text in observed.texts.items():
        assert text, where
        for what, secret in observed.secrets.items():
            assert secret not in text, f"the {what} stands in the {where}"


@needs_redis
def test_no_log_metric_or_error_holds_a_number_of_a_face(observed: Observed, figure: Figure) -> None:
    figure("numbers of the face looked for", len(observed.numbers))
    for where, text in observed.texts.items():
        assert not observed.numbers & set(MANY_DIGITS.findall(text)), where


def test_comparing_keys_takes_as_long_however_much_of_a_key_is_right(figure: Figure) -> None:
    key = "semface_" + "k" * 43
    digests = [f"{number:064x}" for number in range(50)]
    keys = plain_keys(digests)
    near, far = key[:-1] + "x", "x" * len(key)
    times: dict[str, list[float]] = {near: [], far: []}
    for number in range(4000):
        presented = (near, far)[number % 2]
        started = time.perf_counter_ns()
        assert find_key(keys, presented) is None
        times[presented].append(time.perf_counter_ns() - started)
    medians = {presented: statistics.median(taken) for presented, taken in times.items()}
    difference = abs(medians[near] - medians[far]) / medians[far]
    figure("difference of the medians, part", difference)
    assert difference < 0.1
