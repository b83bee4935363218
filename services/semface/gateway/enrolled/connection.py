"""A connection to Redis from one URL: a single server, one found through Sentinel, or a cluster; TLS by the scheme.

``redis://``, ``rediss://`` (TLS) and ``unix://`` name one server;
``redis+sentinel://user:password@a:26379,b:26379/service/0`` asks the sentinels for the master;
``redis+cluster://a:6379,b:6379`` is a cluster; ``rediss+sentinel`` and ``rediss+cluster`` are the same with TLS.
Of the query, ``ssl_ca_certs``, ``ssl_certfile``, ``ssl_keyfile``, ``sentinel_username`` and ``sentinel_password`` are
read.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final
from urllib.parse import parse_qs, unquote, urlsplit

from redis.asyncio import BlockingConnectionPool, Connection, Redis, SSLConnection, UnixDomainSocketConnection
from redis.asyncio.cluster import ClusterNode, RedisCluster
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel, SentinelManagedConnection, SentinelManagedSSLConnection
from redis.backoff import ConstantBackoff, NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import OutOfMemoryError, RedisError

from semface.errors import Reason, SemfaceError
from semface.tracing.spans import Kind, span

MAX_CONNECTIONS: Final = 32
SENTINEL_PORT: Final = 26379
REDIS_PORT: Final = 6379
RETRIES: Final = 1
FAILOVER_RETRIES: Final = 3
FAILOVER_PAUSE_SECONDS: Final = 0.1

_TLS_OPTIONS: Final = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")


class _Reconnecting:
    """Made anew where the server closed it: uvloop tells so by an error that redis-py does not know."""

    async def send_packed_command(self, *args: Any, **kwargs: Any) -> None:
        try:
            await super().send_packed_command(*args, **kwargs)  # type: ignore[misc]
        except RuntimeError as error:
            raise RedisConnectionError("the connection is closed") from error


class _Plain(_Reconnecting, Connection): ...


class _Tls(_Reconnecting, SSLConnection): ...


class _Unix(_Reconnecting, UnixDomainSocketConnection): ...


class _Managed(_Reconnecting, SentinelManagedConnection): ...


class _ManagedTls(_Reconnecting, SentinelManagedSSLConnection): ...


_BY_SCHEME: Final = {"redis": _Plain, "rediss": _Tls, "unix": _Unix}

Connected = Any
"""A ``Redis`` or a ``RedisCluster``: the commands that we use are the same."""


def connect(url: str, timeout_seconds: float) -> Connected:
    """Return a client for ``url``, which connects at its first command. Raises FIELD_INVALID for a URL of no form."""
    scheme = url.partition("://")[0].lower()
    try:
        if scheme in ("redis+sentinel", "rediss+sentinel"):
            return _through_sentinel(url, timeout_seconds)
        if scheme in ("redis+cluster", "rediss+cluster"):
            return _cluster(url, timeout_seconds)
        # A burst waits for a connection, where the plain pool would refuse it. One retry without waiting heals a
        # connection that the server closed while idle.
        pool = BlockingConnectionPool.from_url(
            url, max_connections=MAX_CONNECTIONS, timeout=timeout_seconds, **_patience(timeout_seconds)
        )
        # A URL that names TLS or a socket has the last word on the class of connections.
        pool.connection_class = _BY_SCHEME[scheme]
    except ValueError as error:
        message = "use redis://, rediss://, unix://, redis+sentinel://hosts/service or redis+cluster://hosts"
        raise SemfaceError(Reason.FIELD_INVALID, message, field="redis_url") from error
    return Redis.from_pool(pool)


@contextmanager
def as_store_errors() -> Iterator[None]:
    """Raise what Redis raises in the block as STORE_FULL or BACKEND_AWAY; the block is one span."""
    with span("redis", Kind.CLIENT):
        try:
            yield
        except (TimeoutError, RedisError, OSError) as error:
            if isinstance(error, OutOfMemoryError) or "OOM command" in str(error):
                raise SemfaceError(Reason.STORE_FULL, "the template store is full") from error
            raise SemfaceError(Reason.BACKEND_AWAY, "the template store cannot be reached; try again") from error


def _patience(seconds: float) -> dict[str, Any]:
    # A command over a connection that is dead, and two tries to connect: together no longer than the setting says.
    each = seconds / (2 + RETRIES)
    return {"socket_timeout": each, "socket_connect_timeout": each, "retry": Retry(NoBackoff(), RETRIES)}


def _through_sentinel(url: str, seconds: float) -> Connected:
    parts, hosts, options = _parts(url, SENTINEL_PORT)
    service, _, database = parts.path.strip("/").partition("/")
    if not service:
        raise ValueError("no service")
    guarded = {name: options[f"sentinel_{name}"] for name in ("username", "password") if f"sentinel_{name}" in options}
    times = {"socket_timeout": seconds, "socket_connect_timeout": seconds}
    sentinel = Sentinel(hosts, sentinel_kwargs=times | guarded, **times, **_login(parts), **_tls(parts, options))
    # A connection that broke is made anew to the master of now, which a failover may have changed.
    retry = Retry(ConstantBackoff(FAILOVER_PAUSE_SECONDS), FAILOVER_RETRIES)
    return sentinel.master_for(
        service,
        db=int(database or 0),
        retry=retry,
        max_connections=MAX_CONNECTIONS,
        connection_class=_ManagedTls if parts.scheme.startswith("rediss") else _Managed,
    )


def _cluster(url: str, seconds: float) -> Connected:
    parts, hosts, options = _parts(url, REDIS_PORT)
    nodes = [ClusterNode(host, port) for host, port in hosts]
    cluster = RedisCluster(
        startup_nodes=nodes,
        socket_timeout=seconds,
        socket_connect_timeout=seconds,
        max_connections=MAX_CONNECTIONS,
        **_login(parts),
        **_tls(parts, options),
    )
    # What it says of nodes that it finds later holds for those that it starts from.
    kind = _Tls if parts.scheme.startswith("rediss") else _Plain
    cluster.connection_kwargs["connection_class"] = kind
    for node in cluster.nodes_manager.startup_nodes.values():
        node.connection_class = kind
    return cluster


def _parts(url: str, port: int) -> tuple[Any, list[tuple[str, int]], dict[str, str]]:
    parts = urlsplit(url)
    hosts = []
    for place in parts.netloc.rpartition("@")[2].split(","):
        host, _, number = place.rpartition(":") if ":" in place else (place, "", "")
        hosts.append((host.strip("[]"), int(number or port)))
    if not all(host for host, _ in hosts):
        raise ValueError("no host")
    return parts, hosts, {name: values[-1] for name, values in parse_qs(parts.query).items()}


def _login(parts: Any) -> dict[str, Any]:
    user, _, password = parts.netloc.rpartition("@")[0].partition(":")
    return {name: unquote(value) for name, value in (("username", user), ("password", password)) if value}


def _tls(parts: Any, options: dict[str, str]) -> dict[str, Any]:
    if not parts.scheme.startswith("rediss"):
        return {}
    return {"ssl": True, **{name: options[name] for name in _TLS_OPTIONS if name in options}}
