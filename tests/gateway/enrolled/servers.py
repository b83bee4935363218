"""Debian's Redis and Sentinel on free loopback ports, stopped with the block."""

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis

from semface.access.certificates import TlsFiles

REDIS = shutil.which("redis-server")
REDIS_8 = next((Path(__file__).resolve().parents[3] / "build" / "redis8-venv").glob("**/bin/redis-server"), None)
SENTINEL = shutil.which("redis-sentinel")
START_SECONDS = 20.0

needs_redis = pytest.mark.skipif(REDIS is None, reason="redis-server is not installed")
needs_redis_8 = pytest.mark.skipif(REDIS_8 is None, reason="Redis 8 is not there; `make redis8` installs one")
needs_sentinel = pytest.mark.skipif(
    REDIS is None or SENTINEL is None, reason="redis-server and redis-sentinel are not installed"
)


def free_port() -> int:
    """Return a port that is free now, with a free one 10,000 above for a cluster's bus."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
    return port if port < 55_000 else port - 20_000


@contextmanager
def running(program: str, arguments: list[str], port: int, **login: Any) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a server until the block ends; entered once it answers whoever shows ``login``."""
    with subprocess.Popen([program, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            until(lambda: bool(redis.Redis("127.0.0.1", port, socket_timeout=2, **login).ping()))
            yield process
        finally:
            process.kill()


@contextmanager
def redis_server(
    folder: Path, *options: str, port: int | None = None, program: str | Path | None = REDIS
) -> Iterator[int]:
    """Run a Redis with its data in ``folder`` and yield its port."""
    assert program is not None
    place = port or free_port()
    folder.mkdir(exist_ok=True)
    arguments = ["--port", str(place), "--bind", "127.0.0.1", "--dir", str(folder), "--save", "", *options]
    with running(str(program), arguments, place):
        yield place


@contextmanager
def tls_redis_server(folder: Path, tls: TlsFiles, client: TlsFiles) -> Iterator[int]:
    """Run a Redis that speaks TLS only and asks every caller for a certificate; ``client`` is one. Yield its port."""
    assert REDIS is not None
    place = free_port()
    folder.mkdir(exist_ok=True)
    arguments = ["--port", "0", "--tls-port", str(place), "--bind", "127.0.0.1", "--dir", str(folder), "--save", ""]
    arguments += ["--tls-cert-file", str(tls.chain), "--tls-key-file", str(tls.key)]
    arguments += ["--tls-ca-cert-file", str(tls.trusted)]
    shown = {"ssl_ca_certs": client.trusted, "ssl_certfile": client.chain, "ssl_keyfile": client.key}
    with running(REDIS, arguments, place, ssl=True, **{name: str(path) for name, path in shown.items()}):
        yield place


@contextmanager
def sentinel(folder: Path, master: int) -> Iterator[int]:
    """Run a Sentinel that watches the Redis at ``master`` as ``mymaster`` and yield its port."""
    assert SENTINEL is not None
    port, settings = free_port(), folder / "sentinel.conf"
    settings.write_text(
        f"port {port}\nbind 127.0.0.1\ndir {folder}\nsentinel monitor mymaster 127.0.0.1 {master} 1\n"
        "sentinel down-after-milliseconds mymaster 500\nsentinel failover-timeout mymaster 2000\n"
    )
    with running(SENTINEL, [str(settings)], port):
        yield port


def until(condition: object, seconds: float = START_SECONDS) -> None:
    """Return once ``condition`` is true and raises nothing of Redis; fail after ``seconds``."""
    assert callable(condition)
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if condition():
                return
        except (redis.RedisError, OSError):
            pass
        time.sleep(0.05)
    pytest.fail("it never came about")
