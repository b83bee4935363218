"""A call that broke off is made again, whichever way the server let go of it; what it answered is not."""

import grpc
import grpc.aio
import pytest

from semface.client import AsyncClient
from semface.errors import SemfaceError
from semface.v1 import codec_pb2

PUSHBACK = ("grpc-retry-pushback-ms", "-1")
"""The mark of what a service itself answered."""


async def asked(*first: tuple[str, str], code: grpc.StatusCode) -> int:
    """Return how often a server is asked that ends the first call with ``code`` and ``first`` as trailers."""
    count = 0

    async def decode(request: bytes, context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
        nonlocal count
        count += 1
        if count == 1:
            await context.abort(code, "", first)
        return codec_pb2.DecodeResponse().SerializeToString()

    server = grpc.aio.server()
    handlers = {"Decode": grpc.unary_unary_rpc_method_handler(decode)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("semface.v1.CodecService", handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with AsyncClient(f"127.0.0.1:{port}") as client:
            await client.decode([b""])
    finally:
        await server.stop(None)
    return count


@pytest.mark.parametrize("code", [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED])
async def test_a_call_that_a_stopping_server_let_go_is_made_again(code: grpc.StatusCode) -> None:
    assert await asked(code=code) == 2


@pytest.mark.parametrize("code", [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED])
async def test_what_a_service_answered_is_not_asked_again(code: grpc.StatusCode) -> None:
    with pytest.raises(SemfaceError):
        await asked(PUSHBACK, code=code)
