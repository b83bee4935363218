"""Ids of every alphabet and shape of a path, and the largest sizes, one less and one more."""

from collections.abc import Iterator
from urllib.parse import quote

import httpx
import pytest

from tests.faults.conftest import BITSTREAM, JPEG, told
from tests.faults.processes import Deployable, gateway_settings

IDS = {
    "parent": "..",
    "path": "../../etc/passwd",
    "absolute path": "/etc/passwd",
    "windows path": "..\\..\\system32",
    "encoded path": "%2e%2e%2f",
    "hidden": ".ssh",
    "null": "a\0b",
    "line": "a\nb",
    "escape": "\x1b[2J",
    "accent": "zoë",
    "decomposed": "zoe\u0308",
    "full width": "ａｂ",
    "right to left": "\u202eabc",
    "zero width": "a\u200bb",
    "emoji": "\U0001f600",
    "cyrillic": "аbc",
    "key pattern": "semface:{default}:*",
    "template": "{{7*7}}",
    "sql": "a' OR '1'='1",
    "empty": "",
    "space": " ",
    "too long": "a" * 129,
}


@pytest.fixture(scope="module")
def client(
    services: dict[str, Deployable], redis_port: int, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[httpx.Client]:
    folder = tmp_path_factory.mktemp("gateway")
    settings = gateway_settings(services, f"redis://127.0.0.1:{redis_port}/0", folder)
    settings["SEMFACE_CALL_TIMEOUT_SECONDS"] = 60
    with (
        Deployable("gateway", folder, settings) as gateway,
        httpx.Client(base_url=gateway.url, timeout=90) as connected,
    ):
        yield connected


@pytest.mark.parametrize("name", IDS)
def test_an_id_that_is_none_is_refused_wherever_one_is_taken(
    client: httpx.Client, face_picture: bytes, name: str
) -> None:
    path = f"/v1/subjects/{quote(IDS[name], safe='')}"
    before = client.get("/v1/subjects").json()["subjects"]
    for method, place in (("PUT", path), ("GET", path), ("DELETE", path), ("PATCH", path), ("POST", f"{path}/verify")):
        answer = client.request(method, place, content=face_picture, headers=JPEG)
        status, reason = told(answer)
        assert status in {404, 405, 422}, (method, status)
        assert reason in {"ROUTE_UNKNOWN", "METHOD_NOT_ALLOWED", "FIELD_INVALID"}, (method, reason)
        if len(IDS[name]) > 4:
            assert IDS[name] not in answer.text
    assert client.get("/v1/subjects").json()["subjects"] == before


def test_words_of_every_alphabet_come_back_as_they_were(client: httpx.Client, face_picture: bytes) -> None:
    words = [word for name, word in IDS.items() if name in {"accent", "decomposed", "full width", "emoji", "cyrillic"}]
    longest = "a" * 128
    try:
        told_back = client.put(
            f"/v1/subjects/{longest}", params={"label": words}, content=face_picture, headers=JPEG
        ).raise_for_status()
        assert told_back.json()["labels"] == words
        assert client.get(f"/v1/subjects/{longest}").json()["labels"] == words
    finally:
        client.delete(f"/v1/subjects/{longest}")


def test_the_largest_photograph_is_taken_and_one_byte_more_is_not(client: httpx.Client, face_picture: bytes) -> None:
    for more, status in ((-1, 200), (0, 200), (1, 413)):
        padded = face_picture + bytes(10_000_000 + more - len(face_picture))
        assert client.post("/v1/encode", content=padded, headers=JPEG).status_code == status, more


@pytest.mark.parametrize(
    ("size", "status", "reason"),
    [
        (1023, 422, "BITSTREAM_CORRUPT"),
        (1024, 422, "BITSTREAM_CORRUPT"),
        (1025, 413, "BITSTREAM_TOO_LARGE"),
        (65_536, 413, "BITSTREAM_TOO_LARGE"),
        (65_537, 413, "BITSTREAM_TOO_LARGE"),
    ],
)
def test_the_longest_bitstream_is_read_and_one_byte_more_is_refused_by_size(
    client: httpx.Client, size: int, status: int, reason: str
) -> None:
    assert told(client.post("/v1/decode", content=bytes(size), headers=BITSTREAM)) == (status, reason)


def test_no_script_of_another_page_may_read_an_answer(client: httpx.Client) -> None:
    asked = {"Origin": "https://elsewhere.example", "Access-Control-Request-Method": "POST"}
    for answer in (client.options("/v1/analyze", headers=asked), client.get("/readyz", headers=asked)):
        assert not [name for name in answer.headers if name.startswith("access-control-")]
