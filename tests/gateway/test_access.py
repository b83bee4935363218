from pathlib import Path

import httpx
import numpy as np
import pytest
from pydantic import SecretStr

from semface.access.callers import Scope
from semface.access.keys import KeyFile, digest_of
from semface.client import CallError, Client
from semface.errors import Reason
from tests.gateway.gateways import gateway
from tests.running import System, running_system

JPEG = {"Content-Type": "image/jpeg"}

ROUTES = {
    ("POST", "/v1/analyze"): Scope.FACES,
    ("POST", "/v1/encode"): Scope.FACES,
    ("POST", "/v1/decode"): Scope.FACES,
    ("POST", "/v1/expression"): Scope.FACES,
    ("POST", "/v1/render"): Scope.FACES,
    ("GET", "/v1/models"): Scope.FACES,
    ("GET", "/v1/blendshapes"): Scope.FACES,
    ("POST", "/v1/compare"): Scope.FACES,
    ("PUT", "/v1/subjects/a"): Scope.ENROLL,
    ("PATCH", "/v1/subjects/a"): Scope.ENROLL,
    ("DELETE", "/v1/subjects/a"): Scope.ENROLL,
    ("POST", "/v1/import"): Scope.ENROLL,
    ("GET", "/v1/subjects"): Scope.READ,
    ("GET", "/v1/subjects/a"): Scope.READ,
    ("POST", "/v1/subjects/a/verify"): Scope.VERIFY,
    ("POST", "/v1/identify"): Scope.IDENTIFY,
    ("GET", "/v1/export"): Scope.EXPORT,
    ("GET", "/v1/audit"): Scope.EXPORT,
}


def bearer(key: str) -> dict[str, str]:
    return JPEG | {"Authorization": f"Bearer {key}"}


async def test_every_route_asks_for_a_key_with_its_scope(system: System, tmp_path: Path) -> None:
    file = KeyFile(tmp_path / "keys.json")
    lacking = {scope: file.create("acme", [other for other in Scope if other is not scope])[1] for scope in Scope}
    async with gateway(system, keys_file=file.path) as client:
        documented = (await client.get("/openapi.json")).json()["paths"]
        described = {
            (method.upper(), path.replace("{subject_id}", "a"))
            for path, operations in documented.items()
            if path.startswith("/v1/")
            for method in operations
        }
        assert described == set(ROUTES)
        for (method, path), scope in ROUTES.items():
            anonymous = await client.request(method, path, headers=JPEG)
            assert (anonymous.status_code, anonymous.json()["reason"]) == (401, "KEY_INVALID"), path
            body = b"{}" if method == "PATCH" else b""
            headers = bearer(lacking[scope]) | ({"Content-Type": "application/json"} if method == "PATCH" else {})
            refused = await client.request(method, path, headers=headers, content=body)
            assert (refused.status_code, refused.json()["reason"]) == (403, "SCOPE_MISSING"), path
        who = await client.post("/v1/analyze?who=true", headers=bearer(lacking[Scope.IDENTIFY]))
        assert who.json()["reason"] == "SCOPE_MISSING"


async def test_tenants_are_apart_and_keys_go_on_without_redis(
    system: System, tmp_path: Path, store_url: str, portrait: bytes
) -> None:
    file = KeyFile(tmp_path / "keys.json")
    ours, theirs = (file.create(tenant, list(Scope))[1] for tenant in ("acme", "other"))
    async with gateway(system, keys_file=file.path, redis_url=SecretStr(store_url)) as client:
        enrolled = await client.put("/v1/subjects/a", content=portrait, headers=bearer(ours))
        assert enrolled.status_code == 201
        for method, path in (
            ("GET", "/v1/subjects/a"),
            ("DELETE", "/v1/subjects/a"),
            ("POST", "/v1/subjects/a/verify"),
        ):
            answer = await client.request(method, path, content=portrait, headers=bearer(theirs))
            assert (answer.status_code, answer.json()["reason"]) == (404, "SUBJECT_UNKNOWN")
        found = await client.post("/v1/identify", content=portrait, headers=bearer(theirs))
        assert (found.json()["candidates"], found.json()["compared"]) == ([], 0)
        found = await client.post("/v1/identify", content=portrait, headers=bearer(ours))
        assert [one["subject"] for one in found.json()["candidates"]] == ["a"]
    limited = file.create("acme", [Scope.FACES], calls_per_minute=1)[1]
    async with gateway(system, keys_file=file.path) as client:
        codes = [
            (await client.post("/v1/encode", content=portrait, headers=bearer(limited))).status_code for _ in "123"
        ]
        # A minute may end between two of them.
        assert codes[0] == 200
        assert 429 in codes
        away = await client.get("/v1/subjects/a", headers=bearer(ours))
        assert (away.status_code, away.json()["reason"]) == (503, "BACKEND_AWAY")


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_a_file_of_keys_opens_the_gateway_to_others(tmp_path: Path, host: str) -> None:
    from semface.gateway.settings import GatewaySettings

    assert GatewaySettings(http_host=host).listen_host == "127.0.0.1"
    assert GatewaySettings(http_host=host, keys_file=tmp_path / "keys.json").listen_host == host


def test_up_with_keys_asks_at_both_edges_and_serves_itself(
    tiny_repository: Path, monkeypatch: pytest.MonkeyPatch, portrait: bytes
) -> None:
    monkeypatch.setenv("SEMFACE_API_KEYS", digest_of("a key").hex())
    with running_system(tiny_repository) as running:
        answer = httpx.post(f"{running.gateway}/v1/encode", content=portrait, headers=bearer("a key"), timeout=30)
        assert answer.status_code == 200
        assert httpx.post(f"{running.gateway}/v1/encode", content=portrait, headers=JPEG).status_code == 401
        with Client(running.grpc) as anonymous, Client(running.grpc, key="a key") as known:
            with pytest.raises(CallError) as refused:
                anonymous.recognize(np.zeros(257, np.float32))
            assert refused.value.reason is Reason.KEY_INVALID
            assert known.recognize(np.zeros(257, np.float32)).leading
