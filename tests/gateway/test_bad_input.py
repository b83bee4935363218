import socket
import struct
import time
import zlib
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.running import jpeg, noise

JPEG = {"Content-Type": "image/jpeg"}
PNG = {"Content-Type": "image/png"}
JSON = {"Content-Type": "application/json"}
BITSTREAM = {"Content-Type": "application/vnd.semface.bitstream"}
TOO_LONG = 10_000_001


def huge_png() -> bytes:
    """Return a PNG of 20,000 × 20,000 black pixels in some 50 KB."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    side = 20_000
    packer = zlib.compressobj(9)
    rows = b"".join(packer.compress(bytes(1 + side // 8)) for _ in range(side)) + packer.flush()
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def in_pieces(length: int) -> Iterator[bytes]:
    """Yield ``length`` bytes without saying how many they will be."""
    for _ in range(length // 1000 + 1):
        yield bytes(1000)


ROWS: list[tuple[str, str, str, dict[str, Any], int, str]] = [
    ("not an image", "POST", "/v1/analyze", {"content": b"hello", "headers": JPEG}, 422, "IMAGE_UNDECODABLE"),
    ("an empty image", "POST", "/v1/encode", {"content": b"", "headers": JPEG}, 422, "IMAGE_UNDECODABLE"),
    ("huge pixels", "POST", "/v1/analyze", {"content": huge_png(), "headers": PNG}, 413, "IMAGE_TOO_LARGE"),
    ("long image", "POST", "/v1/analyze", {"content": bytes(TOO_LONG), "headers": JPEG}, 413, "IMAGE_TOO_LARGE"),
    ("endless image", "POST", "/v1/encode", {"content": in_pieces(TOO_LONG), "headers": JPEG}, 413, "IMAGE_TOO_LARGE"),
    (
        "long bits",
        "POST",
        "/v1/decode",
        {"content": in_pieces(70_000), "headers": BITSTREAM},
        413,
        "BITSTREAM_TOO_LARGE",
    ),
    ("long frame", "POST", "/v1/decode", {"content": bytes(5000), "headers": BITSTREAM}, 413, "BITSTREAM_TOO_LARGE"),
    ("long json", "POST", "/v1/decode", {"content": bytes(70_000), "headers": JSON}, 413, "BODY_TOO_LARGE"),
    ("no face", "POST", "/v1/analyze", {"content": jpeg(noise()), "headers": JPEG}, 422, "NO_FACE"),
    ("no face to enrol", "PUT", "/v1/subjects/a", {"content": jpeg(noise()), "headers": JPEG}, 422, "NO_FACE"),
    ("256 numbers", "POST", "/v1/expression", {"json": {"descriptors": [0.0] * 256}}, 422, "DESCRIPTOR_SHAPE"),
    ("79 of 80", "POST", "/v1/render", {"json": {"descriptors": {"shape": [0.0] * 79}}}, 422, "DESCRIPTOR_SHAPE"),
    (
        "not a number",
        "POST",
        "/v1/expression",
        {"content": '{"descriptors": [' + "NaN," * 256 + "0]}", "headers": JSON},
        422,
        "NOT_FINITE",
    ),
    (
        "beyond float32",
        "POST",
        "/v1/expression",
        {"content": '{"descriptors": [' + "1e300," * 256 + "0]}", "headers": JSON},
        422,
        "NOT_FINITE",
    ),
    (
        "light that nothing bears",
        "POST",
        "/v1/render",
        {"json": {"descriptors": {"illumination": [2e6] * 27}}},
        422,
        "FIELD_INVALID",
    ),
    (
        "a face across the camera",
        "POST",
        "/v1/render?size=1024",
        {"json": {"descriptors": {"translation": [0, 0, 950]}}},
        422,
        "FIELD_INVALID",
    ),
    ("words", "POST", "/v1/expression", {"json": {"descriptors": ["a"] * 257}}, 422, "FIELD_INVALID"),
    ("truth values", "POST", "/v1/expression", {"json": {"descriptors": [True] * 257}}, 422, "FIELD_INVALID"),
    ("unknown group", "POST", "/v1/expression", {"json": {"descriptors": {"mood": [1.0]}}}, 422, "FIELD_INVALID"),
    ("unknown field", "POST", "/v1/decode", {"json": {"path": "/etc/passwd"}}, 422, "FIELD_INVALID"),
    ("bad base64", "POST", "/v1/decode", {"json": {"bitstream": "@@"}}, 422, "FIELD_INVALID"),
    ("bad json", "POST", "/v1/decode", {"content": b"{", "headers": JSON}, 400, "MESSAGE_MALFORMED"),
    ("deep json", "POST", "/v1/decode", {"content": b"[" * 60_000, "headers": JSON}, 400, "MESSAGE_MALFORMED"),
    (
        "no boundary",
        "POST",
        "/v1/encode",
        {"content": b"x", "headers": {"Content-Type": "multipart/form-data"}},
        400,
        "MESSAGE_MALFORMED",
    ),
    ("wrong part", "POST", "/v1/encode", {"files": {"selfie": b"x"}}, 422, "FIELD_INVALID"),
    ("garbage bits", "POST", "/v1/decode", {"content": b"\xff" * 60, "headers": BITSTREAM}, 422, "BITSTREAM_CORRUPT"),
    ("no bits", "POST", "/v1/decode", {"content": b"", "headers": BITSTREAM}, 422, "BITSTREAM_CORRUPT"),
    ("no type", "POST", "/v1/analyze", {"content": b"x"}, 415, "MEDIA_TYPE_UNSUPPORTED"),
    (
        "bits for a photograph",
        "POST",
        "/v1/analyze",
        {"content": b"x", "headers": BITSTREAM},
        415,
        "MEDIA_TYPE_UNSUPPORTED",
    ),
    ("bad portion", "POST", "/v1/encode?portion=soul", {"content": b"x", "headers": JPEG}, 422, "FIELD_INVALID"),
    ("bad choice", "POST", "/v1/encode?face=ugliest", {"content": b"x", "headers": JPEG}, 422, "FIELD_INVALID"),
    ("bad size", "POST", "/v1/render?size=100000", {"json": {"descriptors": [0.0] * 257}}, 422, "FIELD_INVALID"),
    (
        "bad accept",
        "POST",
        "/v1/encode",
        {"content": b"x", "headers": JPEG | {"Accept": "text/html"}},
        406,
        "NOT_ACCEPTABLE",
    ),
    ("unknown subject", "GET", "/v1/subjects/nobody", {}, 404, "SUBJECT_UNKNOWN"),
    ("unknown path", "GET", "/v1/everything", {}, 404, "ROUTE_UNKNOWN"),
    ("wrong method", "GET", "/v1/analyze", {}, 405, "METHOD_NOT_ALLOWED"),
]


@pytest.mark.parametrize(
    ("method", "path", "request_body", "status", "reason"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS]
)
def test_bad_input_is_told_as_a_problem_and_the_next_request_succeeds(
    client: httpx.Client, frame: bytes, method: str, path: str, request_body: dict[str, Any], status: int, reason: str
) -> None:
    answer = client.request(method, path, **request_body)
    told = answer.json()
    assert (answer.status_code, told["reason"]) == (status, reason)
    assert answer.headers["content-type"] == "application/problem+json"
    assert told["status"] == status
    assert told["type"] == f"urn:semface:error:{reason}"
    assert told["detail"]
    assert client.post("/v1/decode", content=frame, headers=BITSTREAM).status_code == 200


def test_a_truncated_photograph_is_refused(client: httpx.Client, portrait: bytes) -> None:
    answer = client.post("/v1/analyze", content=portrait[: len(portrait) // 2], headers=JPEG)
    assert (answer.status_code, answer.json()["reason"]) == (422, "IMAGE_UNDECODABLE")


def test_every_flipped_bit_of_a_payload_is_refused(client: httpx.Client, frame: bytes) -> None:
    for bit in range(8 * 8, 8 * len(frame), 61):
        damaged = bytearray(frame)
        damaged[bit // 8] ^= 1 << bit % 8
        answer = client.post("/v1/expression", content=bytes(damaged), headers=BITSTREAM)
        assert (answer.status_code, answer.json()["reason"]) == (422, "BITSTREAM_CORRUPT")


def test_a_wrong_method_is_told_the_right_ones(client: httpx.Client) -> None:
    answer = client.put("/v1/analyze")
    assert answer.headers["allow"] == "POST"


def test_a_type_in_capitals_has_the_same_limit(client: httpx.Client) -> None:
    answer = client.post("/v1/encode", content=bytes(TOO_LONG), headers={"Content-Type": "Image/JPEG"})
    assert (answer.status_code, answer.json()["reason"]) == (413, "IMAGE_TOO_LARGE")


def test_a_caller_that_leaves_in_the_middle_of_a_body_is_no_defect(client: httpx.Client) -> None:
    head = "POST /v1/decode HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 50\r\n\r\n"
    with socket.create_connection((client.base_url.host, client.base_url.port)) as caller:
        caller.sendall(head.encode() + b"{")
    counted = 'semface_http_requests_total{method="POST",route="/v1/decode",status="499"}'
    until = time.monotonic() + 5
    while counted not in client.get("/metrics").text:
        assert time.monotonic() < until
        time.sleep(0.05)
    assert 'status="500"' not in client.get("/metrics").text
