"""How a stream of ``grpc.aio`` ended, by the server's own word.

Where a server ends a stream while messages are still being written, a write fails, and grpc.aio puts INTERNAL over the
status that the server has sent, or before it (https://github.com/grpc/grpc/issues/36066). Both are seen here.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

import grpc
import grpc.aio

FAILED_WRITE: Final = "Internal error from Core"
"""What grpc.aio says of a write that failed; a server's INTERNAL says something else."""

STATUS_SECONDS: Final = 10.0
"""How long the server's status is waited for after a write has failed; where none comes, the connection has broken.

It comes in milliseconds; a machine out of breath may take seconds.
"""

Value = TypeVar("Value")


class StreamEnd:
    """Keeps the status that the server ends one call with."""

    def __init__(self, call: Any) -> None:
        """Watch ``call``, which has just been made on the running event loop."""
        self._told: asyncio.Future[grpc.aio.AioRpcError] = asyncio.get_running_loop().create_future()
        call.add_done_callback(self._keep)

    async def error(self, seen: grpc.RpcError) -> grpc.RpcError | None:
        """Return what the server ended the call with where ``seen`` is what the call raised; None for OK.

        Where a write failed and the server says nothing of it, that is UNAVAILABLE.
        """
        if not isinstance(seen, grpc.aio.AioRpcError) or not _is_failed_write(seen):
            return seen
        try:
            told = await asyncio.wait_for(asyncio.shield(self._told), STATUS_SECONDS)
        except TimeoutError:
            return _error(grpc.StatusCode.UNAVAILABLE, "the stream broke")
        return None if told.code() is grpc.StatusCode.OK else told

    def _keep(self, call: Any) -> None:
        """Take the call's status, which may be another in a moment."""
        error = _error(_at_once(call.code()), _at_once(call.details()), _at_once(call.trailing_metadata()))
        if not self._told.done() and not _is_failed_write(error):
            self._told.set_result(error)


def _error(code: grpc.StatusCode, details: str, trailers: Any = None) -> grpc.aio.AioRpcError:
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), trailers or grpc.aio.Metadata(), details, None)


def _is_failed_write(error: grpc.aio.AioRpcError) -> bool:
    return error.code() is grpc.StatusCode.INTERNAL and error.details() == FAILED_WRITE


def _at_once(coroutine: Coroutine[Any, Any, Value]) -> Value:
    """Return what ``coroutine`` comes to; it has nothing to wait for, as the call is over."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        value: Value = end.value
        return value
    raise RuntimeError("the call is not over")
