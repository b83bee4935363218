from pathlib import Path

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from semface.access.callers import Scope
from semface.access.certificates import TlsFiles
from semface.access.keys import KeyFile
from semface.client import AsyncClient, CallError, connection
from semface.errors import Reason
from semface.rpc import access
from tests.certificates import Authority
from tests.rpc.conftest import running

FACE = b"any bytes"


async def reason(client: AsyncClient) -> Reason | None:
    """Return why the service refuses ``client``, None where it does not."""
    try:
        await client.recognize(FACE)
    except CallError as refused:
        return refused.reason
    return None


async def test_a_service_asks_for_a_key_with_the_scope_faces_but_health_does_not(tmp_path: Path) -> None:
    file = KeyFile(tmp_path / "keys.json")
    (_, key), (_, other), (_, rare) = (
        file.create("acme", [Scope.FACES]),
        file.create("acme", [Scope.VERIFY]),
        file.create("acme", [Scope.FACES], calls_per_minute=1),
    )
    async with running(keys_file=file.path) as service:
        address = f"127.0.0.1:{service.server.port}"
        shown = {None: Reason.KEY_INVALID, "wrong": Reason.KEY_INVALID, other: Reason.SCOPE_MISSING}
        for presented, told in shown.items():
            async with AsyncClient(address, key=presented) as client:
                assert await reason(client) is told
                assert await client.serving("semface.v1.CodecService")
        assert service.obedient.entered == 0
        async with AsyncClient(address, key=key) as client:
            assert await reason(client) is None
        assert service.obedient.entered == 1
        async with AsyncClient(address, key=rare) as client:
            assert Reason.RATE_LIMITED in [await reason(client) for _ in range(3)]


async def test_a_stream_asks_for_a_key_too(tmp_path: Path) -> None:
    file = KeyFile(tmp_path / "keys.json")
    file.create("acme", [Scope.FACES])

    async def frames():  # type: ignore[no-untyped-def]
        yield b"frame"

    async with running(keys_file=file.path) as service, AsyncClient(f"127.0.0.1:{service.server.port}") as client:
        with pytest.raises(CallError) as refused:
            _ = [shown async for shown in client.decode_stream(frames())]
        assert refused.value.reason is Reason.KEY_INVALID


async def reaches(address: str, tls: TlsFiles | None) -> bool:
    """Return whether a new client with the certificates of ``tls`` reaches the server at ``address``."""
    async with AsyncClient(address, seconds=5.0, tls=tls) as client:
        try:
            return await client.serving("semface.v1.CodecService")
        except CallError as refused:
            return refused.reason is not Reason.BACKEND_AWAY


async def test_both_sides_show_certificates_that_are_read_again_and_health_is_plain(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(access, "LOOK_SECONDS", 0.0)
    monkeypatch.setattr(connection, "LOOK_SECONDS", 0.0)
    old, new = Authority(tmp_path / "old"), Authority(tmp_path / "new")
    server, client_files = old.issue("server"), old.issue("client")
    tls = {"tls_key": server.key, "tls_certificate": server.chain, "tls_ca": server.trusted}
    async with running(health_port=0, **tls) as service:
        address = f"127.0.0.1:{service.server.port}"
        assert await reaches(address, client_files)
        assert not await reaches(address, None)
        assert not await reaches(address, new.issue("client"))
        async with grpc.aio.insecure_channel(f"127.0.0.1:{service.server.health_port}") as plain:
            answer = await health_pb2_grpc.HealthStub(plain).Check(health_pb2.HealthCheckRequest(), timeout=5)
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await plain.unary_unary("/semface.v1.ExpressionService/Recognize")(b"", timeout=5)
            assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED
        async with AsyncClient(address, seconds=5.0, tls=client_files) as lasting:
            assert await lasting.serving("semface.v1.CodecService")
            # Both files of the server now come from another authority; the client follows.
            fresh_server, fresh_client = new.issue("server"), new.issue("client")
            for files, fresh in ((server, fresh_server), (client_files, fresh_client)):
                files.key.write_bytes(fresh.key.read_bytes())
                files.chain.write_bytes(fresh.chain.read_bytes())
            server.trusted.write_bytes(fresh_server.trusted.read_bytes())
            assert await lasting.serving("semface.v1.CodecService")
        assert await reaches(address, fresh_client)
        assert not await reaches(address, Authority(tmp_path / "third").issue("client"))
