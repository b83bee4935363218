import hashlib

import pytest
from pydantic import SecretStr, ValidationError

from semface.extraction.settings import ExtractionSettings
from semface.gateway.settings import GatewaySettings
from tests.gateway.gateways import gateway
from tests.running import System

JPEG = {"Content-Type": "image/jpeg"}


async def test_with_keys_only_a_key_opens(system: System, portrait: bytes) -> None:
    digests = tuple(SecretStr(hashlib.sha256(key).hexdigest()) for key in (b"first", b"second"))
    async with gateway(system, api_keys=digests) as client:
        for key in (None, "Bearer wrong", "Basic first", "Bearer", f"Bearer {digests[0].get_secret_value()}"):
            headers = JPEG | ({"Authorization": key} if key else {})
            refused = await client.post("/v1/encode", content=portrait, headers=headers)
            assert (refused.status_code, refused.json()["reason"]) == (401, "KEY_INVALID")
            assert refused.headers["www-authenticate"] == "Bearer"
        for key in ("first", "second"):
            headers = JPEG | {"Authorization": f"Bearer {key}"}
            assert (await client.post("/v1/encode", content=portrait, headers=headers)).status_code == 200
        assert (await client.get("/livez")).status_code == 200


def test_without_keys_only_loopback_listens() -> None:
    assert GatewaySettings(http_host="0.0.0.0").listen_host == "127.0.0.1"
    assert GatewaySettings(http_host="::1").listen_host == "::1"
    key = SecretStr(hashlib.sha256(b"key").hexdigest())
    assert GatewaySettings(http_host="0.0.0.0", api_keys=(key,)).listen_host == "0.0.0.0"


def test_keys_are_set_as_digests(monkeypatch: pytest.MonkeyPatch) -> None:
    digest = hashlib.sha256(b"key").hexdigest()
    monkeypatch.setenv("SEMFACE_API_KEYS", f"{digest}, {digest}")
    assert len(GatewaySettings().api_keys) == 2
    monkeypatch.setenv("SEMFACE_API_KEYS", "a plain key")
    with pytest.raises(ValidationError, match="SHA-256"):
        GatewaySettings()


async def test_while_the_store_is_away_stateless_routes_go_on(system: System, portrait: bytes) -> None:
    async with gateway(system, redis_url=SecretStr("unix:///nowhere/valkey.sock")) as client:
        for method, path in (
            ("PUT", "/v1/subjects/a"),
            ("GET", "/v1/subjects/a"),
            ("DELETE", "/v1/subjects/a"),
            ("POST", "/v1/subjects/a/verify"),
            ("POST", "/v1/identify"),
        ):
            away = await client.request(method, path, content=portrait, headers=JPEG)
            assert (away.status_code, away.json()["reason"]) == (503, "BACKEND_AWAY")
            assert away.headers["retry-after"]
        assert (await client.post("/v1/analyze", content=portrait, headers=JPEG)).status_code == 200
        ready = await client.get("/readyz")
        assert (ready.status_code, ready.json()["store"]) == (200, False)


async def test_while_a_service_is_away_it_is_said_so(system: System, portrait: bytes) -> None:
    async with gateway(system, codec_address="127.0.0.1:1") as client:
        away = await client.post("/v1/encode", content=portrait, headers=JPEG)
        assert (away.status_code, away.json()["reason"]) == (503, "BACKEND_AWAY")
        assert "127.0.0.1" not in away.json()["detail"]
        ready = await client.get("/readyz")
        assert ready.status_code == 503
        assert ready.json()["services"] == {"extraction": True, "codec": False, "understanding": True}


async def test_a_passed_deadline_is_told(system: System, portrait: bytes) -> None:
    async with gateway(system, call_timeout_seconds=0.003) as client:
        late = await client.post("/v1/analyze", content=portrait, headers=JPEG)
        assert (late.status_code, late.json()["reason"]) == (504, "DEADLINE_EXCEEDED")
        assert (await client.get("/livez")).status_code == 200


async def test_the_limit_of_a_body_is_a_setting(system: System, portrait: bytes) -> None:
    async with gateway(system, http_max_image_bytes=len(portrait) - 1) as client:
        refused = await client.post("/v1/encode", content=portrait, headers=JPEG)
        assert (refused.status_code, refused.json()["reason"]) == (413, "IMAGE_TOO_LARGE")


def test_the_limit_of_a_body_is_not_that_of_extraction(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEMFACE_MAX_IMAGE_BYTES", "1000")
    monkeypatch.setenv("SEMFACE_HTTP_MAX_IMAGE_BYTES", "2000")
    assert GatewaySettings().http_max_image_bytes == 2000
    assert ExtractionSettings().max_image_bytes == 1000


def test_a_setting_of_the_gateway_and_of_extraction_has_one_default() -> None:
    ours, theirs = GatewaySettings.model_fields, ExtractionSettings.model_fields
    for name in ours.keys() & theirs.keys():
        assert ours[name].default == theirs[name].default, name


async def test_a_key_is_asked_for_in_the_documentation_where_keys_are_set(system: System) -> None:
    key = SecretStr(hashlib.sha256(b"key").hexdigest())
    async with gateway(system, api_keys=(key,)) as client:
        schema = (await client.get("/openapi.json")).json()
        assert schema["components"]["securitySchemes"]["HTTPBearer"]["scheme"] == "bearer"
        assert schema["paths"]["/v1/analyze"]["post"]["security"]
        assert "security" not in schema["paths"]["/livez"]["get"]
