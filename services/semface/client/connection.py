"""A channel with its stubs: plain or with certificates, which are read again when they change."""

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any, Final, Protocol

import grpc
import grpc.aio

from semface.access.certificates import TlsFiles
from semface.v1 import codec_pb2, extraction_pb2, understanding_pb2

LOOK_SECONDS: Final = 1.0
"""How often the files of the certificates are looked at, or a name that does not resolve is asked for."""
CLOSE_SECONDS: Final = 60.0
"""How long calls may go on over a channel that was replaced."""

RETRIES: Final = {
    "maxAttempts": 4,
    "initialBackoff": "0.05s",
    "maxBackoff": "0.5s",
    "backoffMultiplier": 2,
    # A server that stops answers CANCELLED to calls that it had not yet taken.
    "retryableStatusCodes": ["UNAVAILABLE", "CANCELLED"],
}
"""A call changes nothing at its server, so one that broke off is made again, of several servers at another one. What a
server itself answers is not asked again: it says so (``semface.rpc.interceptor``)."""

RETRY_BUFFER_BYTES: Final = 16 << 20
"""Most of a request that is kept to be sent again: more than a photograph may have."""


def _service_config() -> str:
    """Return grpc's configuration of retries, for every method that is no stream."""
    names = [
        {"service": service.full_name, "method": method.name}
        for module in (codec_pb2, extraction_pb2, understanding_pb2)
        for service in module.DESCRIPTOR.services_by_name.values()
        for method in service.methods
        if not (method.client_streaming or method.server_streaming)
    ]
    # Where most calls fail, retries would only add to the load.
    throttling = {"maxTokens": 100, "tokenRatio": 0.5}
    return json.dumps({"methodConfig": [{"name": names, "retryPolicy": RETRIES}], "retryThrottling": throttling})


OPTIONS: Final = (
    ("grpc.service_config", _service_config()),
    ("grpc.per_rpc_retry_buffer_size", RETRY_BUFFER_BYTES),
    # grpc's own back-off grows to 120 s, long after the server is back.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1_000),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    # A name of several addresses, as a headless service has, gets its calls by turns; one address sees no difference.
    ("grpc.lb_policy_name", "round_robin"),
    # By itself grpc asks again for a name's addresses after thirty seconds; pods that were replaced have others.
    ("grpc.dns_min_time_between_resolutions_ms", 1_000),
    # A link that has fallen silent is given up within five seconds; servers allow it.
    ("grpc.keepalive_time_ms", 2_000),
    ("grpc.keepalive_timeout_ms", 3_000),
    # Of other pings too: while one of them is not answered, those of keepalive are not sent.
    ("grpc.http2.ping_timeout_ms", 3_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.max_receive_message_length", 64 << 20),
    ("grpc.max_send_message_length", 64 << 20),
)


class ChannelMaker(Protocol):
    """``grpc`` or ``grpc.aio``."""

    insecure_channel: Any
    secure_channel: Any


class Connection:
    """One address; its channel is made anew when the certificates have changed."""

    def __init__(self, maker: Any, address: str, tls: TlsFiles | None, name: str | None = None) -> None:
        """Connect at the first call; the certificate has to be for ``name``, where None for the address's.

        Raises FIELD_INVALID for certificates that cannot be read.
        """
        self._options = OPTIONS if name is None else (*OPTIONS, ("grpc.ssl_target_name_override", name))
        self._maker: ChannelMaker = maker
        self._address = address
        self._tls = tls
        self._stamp = tls.stamp() if tls else None
        self._looked_at = time.monotonic()
        self._opened_at = time.monotonic()
        self._stubs: dict[Callable[..., Any], Any] = {}
        self._replaced: list[Any] = []
        self._channel = self._open()

    def stub(self, make: Callable[..., Any]) -> Any:
        """Return the stub that ``make`` makes."""
        if self._tls is not None and time.monotonic() - self._looked_at >= LOOK_SECONDS:
            self._look(self._tls)
        if make not in self._stubs:
            self._stubs[make] = make(self._channel)
        return self._stubs[make]

    def failed(self, error: grpc.RpcError) -> None:
        """Open the channel anew where a call failed since the name could not be resolved.

        By itself grpc asks for a name again after up to two minutes, however its back-off is set.
        """
        unresolved = error.code() is grpc.StatusCode.UNAVAILABLE and "resol" in (error.details() or "")
        if unresolved and time.monotonic() - self._opened_at >= LOOK_SECONDS:
            self._replace()

    def channels(self) -> list[Any]:
        """Return every channel that is open, to be closed."""
        return [*self._replaced, self._channel]

    def _open(self) -> Any:
        if self._tls is None:
            return self._maker.insecure_channel(self._address, options=self._options)
        found = self._tls.read()
        credentials = grpc.ssl_channel_credentials(found.trusted, found.key, found.chain)
        return self._maker.secure_channel(self._address, credentials, options=self._options)

    def _look(self, tls: TlsFiles) -> None:
        self._looked_at = time.monotonic()
        stamp = tls.stamp()
        if stamp is None or stamp == self._stamp:
            return
        self._stamp = stamp
        self._replace()

    def _replace(self) -> None:
        old, self._channel = self._channel, self._open()
        self._opened_at, self._stubs = time.monotonic(), {}
        if self._maker is grpc.aio:
            closing = asyncio.ensure_future(old.close(CLOSE_SECONDS))
            self._replaced = [old]
            closing.add_done_callback(lambda _: self._replaced.clear())
        else:
            # Closing cancels the calls of other threads; the few that are left close with the client.
            self._replaced.append(old)
