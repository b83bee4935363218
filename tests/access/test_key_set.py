"""The provider's key set over real HTTPS: kept, renewed, bounded."""

import asyncio
import json
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from semface.access import tokens
from semface.access.authentication import Authenticator
from semface.access.settings import AccessSettings
from semface.errors import Reason, SemfaceError
from tests.access.test_tokens import ISSUER, PRIVATE, token
from tests.certificates import Authority

OTHER = ec.generate_private_key(ec.SECP256R1())


def key_set(**keys: ec.EllipticCurvePrivateKey) -> bytes:
    """Return the key set of ``keys`` by id."""
    told = [
        {**json.loads(jwt.algorithms.ECAlgorithm.to_jwk(key.public_key())), "kid": name, "alg": "ES256", "use": "sig"}
        for name, key in keys.items()
    ]
    return json.dumps({"keys": told}).encode()


class Provider:
    """Tells ``body`` with ``status`` to whoever asks, and counts."""

    def __init__(self, authority: Authority) -> None:
        self.body, self.status, self.asked, self.headers = key_set(one=PRIVATE), 200, 0, dict[str, str]()
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                provider.asked += 1
                self.send_response(provider.status)
                for name, value in provider.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(provider.body)

            def log_message(self, *_: object) -> None:
                pass

        files = authority.issue("provider")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(files.chain, files.key)
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.url = f"https://127.0.0.1:{self.server.server_address[1]}/keys"


@pytest.fixture
def provider(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Provider]:
    authority = Authority(tmp_path / "authority")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority" / "ca.pem"))
    running = Provider(authority)
    thread = threading.Thread(target=running.server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield running
    running.server.shutdown()
    running.server.server_close()
    thread.join()


def authenticator(provider: Provider) -> Authenticator:
    return Authenticator(AccessSettings(oidc_issuer=ISSUER, oidc_keys=provider.url))


async def refusal(asked: Authenticator, **told: Any) -> Reason | None:
    """Return why a token is refused, None where it is taken."""
    try:
        await asked.caller(f"Bearer {token(**told)}")
    except SemfaceError as refused:
        return refused.reason
    return None


async def test_the_key_set_is_fetched_once_for_many_tokens(provider: Provider) -> None:
    asked = authenticator(provider)
    assert await asyncio.gather(*(refusal(asked) for _ in range(20))) == [None] * 20
    assert await refusal(asked) is None
    assert provider.asked == 1


async def test_an_unknown_key_is_looked_for_again_but_not_all_the_time(
    provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = authenticator(provider)
    assert await refusal(asked) is None
    provider.body = key_set(one=PRIVATE, two=OTHER)
    for _ in range(5):
        assert await refusal(asked, private=OTHER, key_id="two") is Reason.KEY_INVALID
    assert provider.asked == 1
    monkeypatch.setattr(tokens, "LOOK_AGAIN_SECONDS", 0.0)
    assert await refusal(asked, private=OTHER, key_id="two") is None
    assert provider.asked == 2


async def test_a_key_that_the_provider_withdrew_opens_no_more(
    provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = authenticator(provider)
    assert await refusal(asked) is None
    provider.body = key_set(two=OTHER)
    monkeypatch.setattr(tokens, "KEYS_SECONDS", 0.0)
    monkeypatch.setattr(tokens, "LOOK_AGAIN_SECONDS", 0.0)
    assert await refusal(asked) is Reason.KEY_INVALID


@pytest.mark.parametrize(
    ("status", "headers", "body"),
    [
        (500, {}, b"{}"),
        (302, {"Location": "https://127.0.0.1:1/elsewhere"}, b""),
        (200, {}, b" " * (tokens.MOST_BYTES + 1) + key_set(one=PRIVATE)),
        (200, {}, b"<html>"),
        (200, {}, b"[]"),
        (200, {}, b'{"keys": 7}'),
        (200, {}, b'{"keys": [7]}'),
    ],
)
async def test_a_provider_that_tells_no_key_set_is_away_and_not_asked_all_the_time(
    provider: Provider, status: int, headers: dict[str, str], body: bytes
) -> None:
    provider.status, provider.headers, provider.body = status, headers, body
    asked = authenticator(provider)
    assert {await refusal(asked) for _ in range(5)} == {Reason.BACKEND_AWAY}
    assert provider.asked == 1


async def test_while_the_provider_is_away_its_keys_are_trusted_for_a_while(
    provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = authenticator(provider)
    assert await refusal(asked) is None
    provider.status = 503
    monkeypatch.setattr(tokens, "KEYS_SECONDS", 0.0)
    monkeypatch.setattr(tokens, "LOOK_AGAIN_SECONDS", 0.0)
    assert await refusal(asked) is None
    assert provider.asked == 2
    monkeypatch.setattr(tokens, "AWAY_SECONDS", 0.0)
    assert await refusal(asked) is Reason.BACKEND_AWAY


async def test_a_certificate_of_somebody_else_is_not_believed(
    provider: Provider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Authority(tmp_path / "stranger")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "stranger" / "ca.pem"))
    assert await refusal(authenticator(provider)) is Reason.BACKEND_AWAY
    assert provider.asked == 0


def test_keys_are_not_fetched_without_tls() -> None:
    with pytest.raises(SemfaceError) as refused:
        Authenticator(AccessSettings(oidc_issuer=ISSUER, oidc_keys="http://identity.example/keys"))
    assert refused.value.reason is Reason.FIELD_INVALID


class Clock:
    """A clock that stands still until it is moved, by seconds since the test began."""

    now = 0.0

    def monotonic(self) -> float:
        return 1000.0 + self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    standing = Clock()
    monkeypatch.setattr(tokens, "time", standing)
    return standing


async def test_a_key_set_is_current_for_five_minutes(provider: Provider, clock: Clock) -> None:
    asked = authenticator(provider)
    assert await refusal(asked) is None
    provider.body = key_set(two=OTHER)
    for now, told in ((299.9, None), (300.0, Reason.KEY_INVALID)):
        clock.now = now
        assert await refusal(asked) is told
    assert provider.asked == 2


async def test_a_new_key_is_looked_for_ten_seconds_after_the_last_look(provider: Provider, clock: Clock) -> None:
    asked = authenticator(provider)
    assert await refusal(asked) is None
    provider.body = key_set(one=PRIVATE, two=OTHER)
    for now, told in ((9.9, Reason.KEY_INVALID), (10.0, None)):
        clock.now = now
        assert await refusal(asked, private=OTHER, key_id="two") is told
    assert await refusal(asked) is None
    assert provider.asked == 2


async def test_the_keys_of_a_provider_that_is_away_are_trusted_for_an_hour(provider: Provider, clock: Clock) -> None:
    asked = authenticator(provider)
    assert await refusal(asked) is None
    provider.status = 503
    for now, told in ((3599.9, None), (3600.0, Reason.BACKEND_AWAY)):
        clock.now = now
        assert await refusal(asked) is told
    provider.status = 200
    clock.now = 3610.0
    assert await refusal(asked) is None


async def test_a_key_set_of_a_mebibyte_is_read_and_a_byte_more_is_not(provider: Provider) -> None:
    padding = (1 << 20) - len(provider.body)
    provider.body += b" " * padding
    assert await refusal(authenticator(provider)) is None
    provider.body += b" "
    assert await refusal(authenticator(provider)) is Reason.BACKEND_AWAY


async def test_a_key_without_an_id_opens_nothing_and_harms_no_other(provider: Provider) -> None:
    told = json.loads(key_set(one=PRIVATE, two=OTHER))
    del told["keys"][1]["kid"]
    provider.body = json.dumps(told).encode()
    asked = authenticator(provider)
    assert await refusal(asked) is None
    for key_id in ("two", None):
        assert await refusal(asked, private=OTHER, key_id=key_id) is Reason.KEY_INVALID
