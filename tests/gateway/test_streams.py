import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from websockets.exceptions import ConnectionClosedError
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Origin, Subprotocol

from semface.access.callers import Scope
from semface.access.keys import KeyFile
from semface.descriptors import GROUP_SIZES
from tests.gateway.gateways import gateway
from tests.running import System, astronaut, jpeg, noise

SECONDS = 30


@contextmanager
def stream(gateway_url: str, path: str, **options: object) -> Iterator[ClientConnection]:
    with connect(f"{gateway_url.replace('http', 'ws')}/v1/stream/{path}", **options) as socket:  # type: ignore[arg-type]
        yield socket


def told(socket: ClientConnection) -> dict[str, object]:
    return json.loads(socket.recv(SECONDS))


def problem(socket: ClientConnection) -> tuple[object, int]:
    """Return the reason that the stream ends with, and its close code."""
    answer = told(socket)["problem"]
    assert isinstance(answer, dict)
    with pytest.raises(ConnectionClosedError) as closed:
        socket.recv(SECONDS)
    assert closed.value.rcvd is not None
    return answer["reason"], closed.value.rcvd.code


def frames_of(system: System, photographs: list[bytes]) -> list[bytes]:
    with stream(system.gateway, "send") as socket:
        found = []
        for photograph in photographs:
            socket.send(photograph)
            assert told(socket)["faces"]
            frame = socket.recv(SECONDS)
            assert isinstance(frame, bytes)
            found.append(frame)
        return found


def test_photographs_become_the_frames_of_one_session(system: System) -> None:
    with stream(system.gateway, "send") as socket:
        for number, turned in enumerate((0, 2, 4)):
            socket.send(jpeg(astronaut().rotate(turned)))
            answer = told(socket)
            frame = socket.recv(SECONDS)
            assert answer["number"] == number
            assert answer["key"] is (number == 0)
            assert answer["bits"]["total"] == 8 * len(frame)  # type: ignore[index]
            assert ("models" in answer) is (number == 0)
        socket.send('{"refresh": true}')
        socket.send(jpeg(astronaut()))
        answer = told(socket)
        assert answer["key"] is True
        assert answer["bits"]["identity"] > 0  # type: ignore[index]


def test_a_photograph_without_a_face_is_answered_and_the_stream_goes_on(system: System, portrait: bytes) -> None:
    with stream(system.gateway, "send") as socket:
        socket.send(jpeg(noise()))
        answer = told(socket)
        assert answer["faces"] == 0
        assert "box" not in answer
        socket.send(portrait)
        assert told(socket)["key"] is True


def test_a_receiver_is_told_the_face_and_its_expression_and_holds_the_last_one_over_a_loss(system: System) -> None:
    key, second, third = frames_of(system, [jpeg(astronaut().rotate(turned)) for turned in (0, 2, 4)])
    with stream(system.gateway, "receive?blendshapes=true") as socket:
        socket.send(second)
        assert told(socket)["state"] == "waiting"
        socket.send(key)
        answer = told(socket)
        assert answer["state"] == "decoded"
        assert answer["bits"] == 8 * len(key)
        numbers, weights, expression = (answer[name] for name in ("descriptors", "blendshapes", "expression"))
        assert {name: len(values) for name, values in numbers.items()} == dict(GROUP_SIZES)  # type: ignore[attr-defined]
        assert len(weights) == 52  # type: ignore[arg-type]
        assert sum(expression["confidences"].values()) == pytest.approx(1, abs=1e-3)  # type: ignore[index]
        socket.send(b"")
        answer = told(socket)
        assert answer["state"] == "concealed"
        assert "descriptors" not in answer
        socket.send(third)
        assert told(socket)["state"] == "concealed"
        socket.send(key)
        assert told(socket)["state"] == "decoded"


@pytest.mark.parametrize(
    ("path", "sent", "reason", "code"),
    [
        ("send", b"no picture", "IMAGE_UNDECODABLE", 4422),
        ("send", "hello", "MESSAGE_MALFORMED", 4400),
        ("send?quality=splendid", b"", "FIELD_INVALID", 4422),
        ("receive", "hello", "MESSAGE_MALFORMED", 4400),
        ("receive", b"\0" * 1025, "BITSTREAM_TOO_LARGE", 4413),
    ],
)
def test_what_cannot_be_used_ends_the_stream_with_its_problem(
    system: System, portrait: bytes, path: str, sent: bytes | str, reason: str, code: int
) -> None:
    with stream(system.gateway, path) as socket:
        socket.send(sent or portrait)
        assert problem(socket) == (reason, code)


def test_a_page_of_another_site_may_not_open_a_stream(system: System) -> None:
    with stream(system.gateway, "receive", origin=Origin("https://elsewhere.example")) as socket:
        assert problem(socket) == ("KEY_INVALID", 4401)
    with stream(system.gateway, "receive", origin=Origin(system.gateway)) as socket:
        socket.send(b"")
        assert told(socket)["state"] == "waiting"


async def test_a_stream_asks_for_a_key_in_the_header_or_as_a_subprotocol(system: System, tmp_path: Path) -> None:
    file = KeyFile(tmp_path / "keys.json")
    key = file.create("acme", [Scope.FACES])[1]
    other = file.create("acme", [Scope.READ])[1]
    async with gateway(system, keys_file=file.path) as client:

        def look() -> None:
            url = str(client.base_url).rstrip("/")
            with stream(url, "receive") as socket:
                assert problem(socket) == ("KEY_INVALID", 4401)
            with stream(url, "receive", additional_headers={"Authorization": f"Bearer {other}"}) as socket:
                assert problem(socket) == ("SCOPE_MISSING", 4403)
            for options in (
                {"additional_headers": {"Authorization": f"Bearer {key}"}},
                {"subprotocols": [Subprotocol("semface"), Subprotocol(f"bearer.{key}")]},
            ):
                with stream(url, "receive", **options) as socket:
                    socket.send(b"")
                    assert told(socket)["state"] == "waiting"
                    assert socket.subprotocol in (None, "semface")

        await asyncio.to_thread(look)


def test_streams_are_counted(system: System, client: httpx.Client, portrait: bytes) -> None:
    with stream(system.gateway, "send") as socket:
        socket.send(portrait)
        assert told(socket)["faces"]
        metrics = client.get("/metrics").text
        assert 'semface_http_streams{stream="send"} 1.0' in metrics
        assert 'semface_http_stream_answers_total{stream="send"}' in metrics
