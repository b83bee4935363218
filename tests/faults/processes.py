"""Deployables as processes of their own, to be stopped, killed and started again on the same port."""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import grpc
import httpx
from grpc_health.v1 import health_pb2, health_pb2_grpc

from semface.gateway.enrolled.key_ring import new_master_key
from tests.faults.proxy import LOOPBACK, free_port

START_SECONDS = 240.0
STOP_SECONDS = 40.0
LIMITS = {"files": resource.RLIMIT_NOFILE, "file_bytes": resource.RLIMIT_FSIZE}


class Deployable:
    """`semface serve NAME` on a port of its own that stays the same over restarts; its log is a file.

    ``limits`` bound what the process may have: ``files`` open, ``file_bytes`` of a file.
    """

    def __init__(
        self, name: str, folder: Path, settings: Mapping[str, object], limits: Mapping[str, int] | None = None
    ) -> None:
        self.name = name
        self.port = free_port()
        self.log = folder / f"{name}-{self.port}.log"
        self._limits = dict(limits or {})
        where = {"SEMFACE_HTTP_PORT" if name == "gateway" else "SEMFACE_PORT": str(self.port)}
        self.settings = {"OMP_NUM_THREADS": "1", **{key: str(value) for key, value in settings.items()}, **where}
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """``host:port``."""
        return f"{LOOPBACK}:{self.port}"

    @property
    def url(self) -> str:
        """Where a gateway is."""
        return f"http://{self.address}"

    def start(self, *, serving: bool = True) -> Self:
        """Start the process and return once it serves, or at once."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "semface.cli", "serve", self.name],
                env=os.environ | self.settings,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
                preexec_fn=self._limit if self._limits else None,
            )
        if serving:
            until(self.serves, START_SECONDS, lambda: f"{self.name} does not serve:\n{self.log_tail()}")
        return self

    def serves(self) -> bool:
        """Return whether its health says that it serves."""
        assert self.process is not None
        assert self.process.poll() is None, f"{self.name} ended:\n{self.log_tail()}"
        if self.name == "gateway":
            try:
                return httpx.get(f"{self.url}/readyz", timeout=5).status_code == 200
            except httpx.HTTPError:
                return False
        return health(self.address) == health_pb2.HealthCheckResponse.SERVING

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        assert self.process is not None
        self.process.send_signal(number)

    def stop(self) -> int:
        """Ask the process to end, wait for it and return its exit code."""
        self.signal(signal.SIGTERM)
        return self.wait()

    def wait(self) -> int:
        """Wait for the process to end and return its exit code."""
        assert self.process is not None
        return self.process.wait(STOP_SECONDS)

    def kill(self) -> None:
        """End the process at once, as a crash would."""
        self.signal(signal.SIGKILL)
        self.wait()

    def log_tail(self) -> str:
        """Return the end of what it logged."""
        return self.log.read_text(errors="replace")[-3000:] if self.log.exists() else ""

    def events(self) -> list[dict[str, Any]]:
        """Return what it logged."""
        lines = self.log.read_text(errors="replace").splitlines()
        return [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]

    def _limit(self) -> None:
        for name, most in self._limits.items():
            resource.setrlimit(LIMITS[name], (most, most))

    def __enter__(self) -> Self:
        """Start."""
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Kill what still runs."""
        if self.process is not None and self.process.poll() is None:
            self.kill()


def health(address: str, service: str = "", seconds: float = 2.0) -> int | None:
    """Return the health that the server at ``address`` tells, None where it tells nothing."""
    options = [("grpc.use_local_subchannel_pool", 1)]
    with grpc.insecure_channel(address, options=options) as channel:
        try:
            check = health_pb2_grpc.HealthStub(channel).Check
            return check(health_pb2.HealthCheckRequest(service=service), timeout=seconds).status
        except grpc.RpcError:
            return None


def gateway_settings(services: Mapping[str, str] | str, redis_url: str, folder: Path) -> dict[str, object]:
    """Return the settings of a gateway before ``services`` (address, or one by name), its keys in ``folder``."""
    names = ("extraction", "codec", "understanding")
    places = dict.fromkeys(names, services) if isinstance(services, str) else services
    master_key = folder / "master.key"
    if not master_key.exists():
        master_key.write_text(new_master_key())
    addresses = {f"SEMFACE_{name.upper()}_ADDRESS": places[name] for name in names}
    return addresses | {
        "SEMFACE_REDIS_URL": redis_url,
        "SEMFACE_KEY_RING": folder / "ring.json",
        "SEMFACE_MASTER_KEY_FILE": master_key,
        "SEMFACE_VERIFY_PER_MINUTE": 100_000,
    }


def until(
    condition: Callable[[], bool], seconds: float, said: Callable[[], str] = lambda: "it never came about"
) -> float:
    """Return how long it took until ``condition`` held; fail with what is ``said`` after ``seconds``."""
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < seconds, said()
        time.sleep(0.02)
    return time.monotonic() - started


@contextmanager
def all_of(*deployables: Deployable) -> Iterator[None]:
    """Run ``deployables`` side by side while the block lasts; entered once all serve."""
    try:
        for deployable in deployables:
            deployable.start(serving=False)
        for deployable in deployables:
            until(deployable.serves, START_SECONDS, deployable.log_tail)
        yield
    finally:
        for deployable in deployables:
            if deployable.process is not None and deployable.process.poll() is None:
                deployable.signal(signal.SIGKILL)
                deployable.wait()
