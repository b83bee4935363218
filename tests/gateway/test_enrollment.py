"""What two gateways before one Redis promise: enrolment, erasure, limits, import and export."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import structlog
from PIL import ImageOps
from pydantic import SecretStr
from redis.asyncio import Redis

from semface.rpc.telemetry import configure_logging
from tests.gateway.gateways import MASTER_KEY, gateway
from tests.running import System, astronaut, changed_copy, jpeg

JPEG = {"Content-Type": "image/jpeg"}
LINES = {"Content-Type": "application/x-ndjson"}
NAME = "someone-in-particular"


@pytest.fixture
async def pair(
    system: System, store_url: str, tmp_path: Path
) -> AsyncIterator[tuple[httpx.AsyncClient, httpx.AsyncClient]]:
    """Two gateways that share Redis and key ring, each with an index of its own; the Redis is emptied afterwards."""
    shared = {
        "redis_url": SecretStr(store_url),
        "key_ring": tmp_path / "ring.json",
        "master_key": SecretStr(MASTER_KEY),
        "lockout_misses": 3,
        "verify_per_minute": 20,
    }
    async with (
        gateway(system, **shared, index_folder=tmp_path / "one") as first,
        gateway(system, **shared, index_folder=tmp_path / "two") as second,
    ):
        yield first, second
    structlog.reset_defaults()
    async with Redis.from_url(store_url) as store:
        await store.flushall()


def several(*photographs: bytes) -> list[tuple[str, tuple[str, bytes, str]]]:
    return [("photograph", (f"{place}.jpg", data, "image/jpeg")) for place, data in enumerate(photographs)]


def stranger() -> bytes:
    return jpeg(ImageOps.mirror(astronaut()))


async def candidates(client: httpx.AsyncClient, photograph: bytes, **asked: str) -> list[str]:
    answer = await client.post("/v1/identify", params=asked, content=photograph, headers=JPEG)
    return [one["subject"] for one in answer.raise_for_status().json()["candidates"]]


async def test_after_an_erasure_nothing_is_left_anywhere(
    pair: tuple[httpx.AsyncClient, httpx.AsyncClient],
    store_url: str,
    tmp_path: Path,
    portrait: bytes,
    capfd: pytest.CaptureFixture[str],
) -> None:
    configure_logging("debug", "json")
    first, second = pair
    created = await first.put(f"/v1/subjects/{NAME}", content=portrait, headers=JPEG)
    assert created.status_code == 201
    for client in pair:
        assert await candidates(client, portrait) == [NAME]
    assert (await second.delete(f"/v1/subjects/{NAME}")).status_code == 204
    for client in pair:
        assert await candidates(client, portrait) == []
        assert (await client.get(f"/v1/subjects/{NAME}")).status_code == 404
        assert (await client.post(f"/v1/subjects/{NAME}/verify", content=portrait, headers=JPEG)).status_code == 404
    async with Redis.from_url(store_url) as store:
        # Other tests' tenants live in the same store.
        left = sorted(key.decode() for key in await store.keys("semface:{default}:*"))
        # The one attempt after the erasure was counted under the pseudonym; the count ends with its minute.
        assert [key for key in left if ":attempts:" not in key] == [
            "semface:{default}:audit",
            "semface:{default}:changes",
        ]
        trail = await store.xrange("semface:{default}:audit")
    assert [fields[b"did"] for _, fields in trail][:2] == [b"enroll", b"erase"]
    assert NAME not in repr(trail) + repr(left)
    told = (await first.get("/v1/audit")).json()["entries"]
    assert {entry["subject"] for entry in told} == {trail[0][1][b"subject"].hex()}
    metrics = (await first.get("/metrics")).text + (await second.get("/metrics")).text
    logged = "".join(capfd.readouterr())
    assert "request" in logged
    assert NAME not in metrics + logged


async def test_a_subject_is_described_listed_changed_and_expires(
    pair: tuple[httpx.AsyncClient, httpx.AsyncClient], portrait: bytes
) -> None:
    first, second = pair
    asked = {"consent": "contract 7", "label": ["a", "b"], "group": "staff", "expires_in_seconds": 3600}
    made = (await first.put("/v1/subjects/a", params=asked, content=portrait, headers=JPEG)).raise_for_status().json()
    told = (await second.get("/v1/subjects/a")).json()
    assert (told["consent"], told["labels"], told["groups"]) == ("contract 7", ["a", "b"], ["staff"])
    assert told["expires_at"] == pytest.approx(made["enrolled_at"] + 3600, abs=5)
    assert await candidates(second, portrait, group="staff") == ["a"]
    assert await candidates(second, portrait, group="guests") == []
    change = {"consent": None, "groups": ["guests"]}
    changed = (await second.patch("/v1/subjects/a", json=change)).raise_for_status().json()
    assert (changed["consent"], changed["labels"], changed["groups"]) == (None, ["a", "b"], ["guests"])
    page = (await first.get("/v1/subjects", params={"limit": 10})).json()
    assert [one["subject"] for one in page["subjects"]] == ["a"]
    assert page["after"] is None
    (await second.patch("/v1/subjects/a", json={"expires_in_seconds": 1})).raise_for_status()
    await asyncio.sleep(1.1)
    assert (await first.get("/v1/subjects/a")).status_code == 404
    assert await candidates(first, portrait) == []
    unknown = await first.patch("/v1/subjects/a", json={"labels": []})
    assert unknown.json()["reason"] == "SUBJECT_UNKNOWN"
    for wrong in ({"labels": None}, {"name": "x"}, {"expires_in_seconds": -1}):
        refused = await first.patch("/v1/subjects/a", json=wrong)
        assert (refused.status_code, refused.json()["reason"]) == (422, "FIELD_INVALID")


async def test_several_photographs_of_one_person_enrol_and_of_two_do_not(
    pair: tuple[httpx.AsyncClient, httpx.AsyncClient], portrait: bytes
) -> None:
    first, _ = pair
    other = jpeg(changed_copy(astronaut()))
    made = await first.put("/v1/subjects/a", files=several(portrait, other))
    assert (made.status_code, made.json()["samples"]) == (201, 2)
    mixed = await first.put("/v1/subjects/b", files=several(portrait, other, stranger()))
    assert (mixed.status_code, mixed.json()["reason"], mixed.json()["field"]) == (422, "FACES_DIFFER", "faces[2]")
    assert (await first.get("/v1/subjects/b")).status_code == 404
    many = await first.put("/v1/subjects/b", files=several(*[b"x"] * 9))
    assert many.json()["reason"] == "MESSAGE_MALFORMED"


async def test_a_request_sent_again_is_answered_as_before(
    pair: tuple[httpx.AsyncClient, httpx.AsyncClient], portrait: bytes
) -> None:
    first, second = pair
    headers = JPEG | {"Request-Id": uuid.uuid4().hex}
    made = await first.put("/v1/subjects/a", content=portrait, headers=headers)
    again = await second.put("/v1/subjects/a", content=portrait, headers=headers)
    assert made.status_code == again.status_code == 201
    assert made.json()["enrolled_at"] == again.json()["enrolled_at"]
    for path, body in (("/v1/subjects/b", portrait), ("/v1/subjects/a", stranger())):
        reused = await second.put(path, content=body, headers=headers)
        assert (reused.status_code, reused.json()["reason"]) == (409, "REQUEST_ID_REUSED")
    assert (await second.get("/v1/subjects/b")).status_code == 404


async def test_guessing_locks_a_subject_at_every_gateway(
    pair: tuple[httpx.AsyncClient, httpx.AsyncClient], portrait: bytes
) -> None:
    first, second = pair
    await first.put("/v1/subjects/a", content=portrait, headers=JPEG)
    for client in (first, second, first):
        missed = await client.post("/v1/subjects/a/verify", content=stranger(), headers=JPEG)
        assert missed.raise_for_status().json()["matched"] is False
    locked = await second.post("/v1/subjects/a/verify", content=portrait, headers=JPEG)
    assert (locked.status_code, locked.json()["reason"]) == (429, "RATE_LIMITED")
    assert 800 < int(locked.headers["retry-after"]) <= 900
    did = [entry["did"] for entry in (await first.get("/v1/audit")).json()["entries"]]
    assert did.count("verify_refused") == 3


async def test_an_export_imports_again_and_a_bad_line_is_told(
    pair: tuple[httpx.AsyncClient, httpx.AsyncClient], portrait: bytes
) -> None:
    first, second = pair
    for name in ("a", "b"):
        await first.put(f"/v1/subjects/{name}", params={"group": name}, content=portrait, headers=JPEG)
    exported = (await first.get("/v1/export")).text
    lines = [json.loads(line) for line in exported.splitlines()]
    assert sorted(line["subject"] for line in lines) == ["a", "b"]
    await first.delete("/v1/subjects/a")
    short = json.dumps(lines[0] | {"embedding": "AAAAAA=="})
    body = f"{exported}no JSON\n{short}\n"
    answer = (await second.post("/v1/import", content=body, headers=LINES)).raise_for_status().json()
    assert (answer["created"], answer["replaced"], answer["refused"]) == (1, 1, 2)
    assert [(one["line"], one["reason"]) for one in answer["problems"]] == [
        (3, "FIELD_INVALID"),
        (4, "DESCRIPTOR_SHAPE"),
    ]
    assert await candidates(first, portrait, group="a") == ["a"]
    wrong = await second.post("/v1/import", content=body, headers=JPEG)
    assert wrong.status_code == 415
