"""A tenant that floods the gateway is refused, and the others do not notice."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from websockets.asyncio.client import connect

from semface.access.callers import Scope
from semface.access.keys import KeyFile
from tests.gateway.gateways import gateway
from tests.running import System

PLACES, WAITING = 2, 4
FLOOD, CALLS = 24, 6


@pytest.fixture
def bodies(portrait: bytes, frame: bytes) -> dict[str, tuple[str, bytes, dict[str, str]]]:
    """Return a slow call and a quick one: route, body and headers."""
    return {
        "slow": ("/v1/analyze", portrait, {"Content-Type": "image/jpeg"}),
        "quick": ("/v1/expression", frame, {"Content-Type": "application/vnd.semface.bitstream"}),
    }


Post = tuple[str, bytes, dict[str, str]]


async def ask(client: httpx.AsyncClient, post: Post, key: str) -> httpx.Response:
    path, body, headers = post
    return await client.post(path, content=body, headers=headers | {"Authorization": f"Bearer {key}"})


class Flood:
    """Many requests of one tenant at any time, without a pause; what is answered is counted by status."""

    def __init__(self, client: httpx.AsyncClient, post: Post, key: str) -> None:
        self._client, self._post, self._key = client, post, key
        self.statuses: Counter[int] = Counter()
        self.refused: list[httpx.Response] = []

    async def caller(self) -> None:
        """Ask again and again."""
        while True:
            answer = await ask(self._client, self._post, self._key)
            self.statuses[answer.status_code] += 1
            if answer.status_code != 200:
                self.refused.append(answer)
                await asyncio.sleep(0.05)


@asynccontextmanager
async def flooded(client: httpx.AsyncClient, post: Post, key: str, callers: int = FLOOD) -> AsyncIterator[Flood]:
    """Let ``key`` flood the gateway while the block lasts, which begins once it has been refused."""
    flood = Flood(client, post, key)
    asking = [asyncio.create_task(flood.caller()) for _ in range(callers)]
    try:
        async with asyncio.timeout(60):
            while not flood.refused or not flood.statuses[200]:  # noqa: ASYNC110 - answers have no event
                await asyncio.sleep(0.01)
        yield flood
    finally:
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)


@pytest.mark.parametrize("quiet", ["slow", "quick"])
async def test_who_floods_is_told_when_to_come_again_and_others_are_answered_in_their_turn(
    system: System, tmp_path: Path, bodies: dict[str, Post], quiet: str
) -> None:
    file = KeyFile(tmp_path / "keys.json")
    greedy, modest = (file.create(tenant, [Scope.FACES])[1] for tenant in ("greedy", "modest"))
    bounds = {"http_max_in_flight": PLACES, "http_max_waiting": WAITING, "call_timeout_seconds": 60.0}
    async with (
        gateway(system, keys_file=file.path, **bounds) as client,
        flooded(client, bodies["slow"], greedy) as flood,
    ):
        passed = []
        for _ in range(CALLS):
            before = flood.statuses[200]
            answer = await ask(client, bodies[quiet], modest)
            assert answer.status_code == 200, answer.text
            passed.append(flood.statuses[200] - before)
        # Those who had a place already end before, and while the call is answered the other places go on.
        assert sum(passed) / CALLS <= 3 * PLACES, passed
        refused = flood.refused[-1]
    assert set(flood.statuses) == {200, 429}
    assert refused.json()["reason"] == "OVERLOADED"
    assert int(refused.headers["Retry-After"]) >= 1


async def send_without_pause(url: str, key: str, photograph: bytes, answered: Counter[str]) -> None:
    """Send photographs through a stream, three ahead of the answers."""
    headers = {"Authorization": f"Bearer {key}"}
    async with connect(f"{url.replace('http', 'ws')}/v1/stream/send", additional_headers=headers) as socket:
        for _ in range(3):
            await socket.send(photograph)
        async for message in socket:
            if isinstance(message, str):
                assert json.loads(message)["faces"] == 1
                answered[key] += 1
                await socket.send(photograph)


async def test_streams_without_a_pause_take_their_turns_and_none_is_ended(
    system: System, tmp_path: Path, portrait: bytes, bodies: dict[str, Post]
) -> None:
    file = KeyFile(tmp_path / "keys.json")
    greedy, modest = (file.create(tenant, [Scope.FACES])[1] for tenant in ("greedy", "modest"))
    bounds = {"http_max_in_flight": 1, "http_max_waiting": 4, "call_timeout_seconds": 60.0}
    answered: Counter[str] = Counter()
    async with gateway(system, keys_file=file.path, **bounds) as client:
        url = str(client.base_url).rstrip("/")
        keys = [greedy] * 4 + [modest]
        streams = [asyncio.create_task(send_without_pause(url, key, portrait, answered)) for key in keys]
        async with asyncio.timeout(300):
            while answered[modest] < 3:  # noqa: ASYNC110 - answers have no event
                await asyncio.sleep(0.01)
        assert not any(stream.done() for stream in streams)
        # Between two turns of the one stream each other tenant has one, not each other stream.
        assert answered[greedy] <= 3 * answered[modest], answered
        passed = (await ask(client, bodies["quick"], modest)).status_code
        for stream in streams:
            stream.cancel()
        await asyncio.gather(*streams, return_exceptions=True)
        # Who has left holds no place, once that has been noticed.
        async with asyncio.timeout(300):
            while (await ask(client, bodies["quick"], greedy)).status_code != 200:  # noqa: ASYNC110 - nor has this
                await asyncio.sleep(0.05)
    assert passed == 200


async def test_alone_a_tenant_has_all_there_is(system: System, tmp_path: Path, bodies: dict[str, Post]) -> None:
    file = KeyFile(tmp_path / "keys.json")
    key = file.create("acme", [Scope.FACES])[1]
    async with gateway(system, keys_file=file.path, http_max_in_flight=PLACES, http_max_wait_seconds=60) as client:
        answers = await asyncio.gather(*(ask(client, bodies["quick"], key) for _ in range(FLOOD)))
    assert {answer.status_code for answer in answers} == {200}


async def test_a_caller_who_may_not_enter_takes_no_place(system: System, tmp_path: Path) -> None:
    file = KeyFile(tmp_path / "keys.json")
    file.create("acme", [Scope.FACES])
    async with gateway(system, keys_file=file.path, http_max_in_flight=1, http_max_waiting=0) as client:
        refused = await asyncio.gather(*(client.get("/v1/models", headers={"Authorization": "no"}) for _ in range(9)))
    assert {answer.status_code for answer in refused} == {401}
