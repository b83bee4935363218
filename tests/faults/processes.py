"""Deployables as processes of their own, to be stopped, killed and started again on the same port."""

import json
import multiprocessing
import os
import resource
import signal
import subprocess
import sys
import threading
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


_forks = multiprocessing.get_context("forkserver")
_forks.set_forkserver_preload(["tests.faults.preloaded"])


class Deployable:
    """`semface serve NAME` as a process on a port of its own that stays the same over restarts; its log is a file.

    ``limits`` bound what the process may have: ``files`` open, ``file_bytes`` of a file. It is forked from a process
    that has imported everything, or, with ``fresh``, started from nothing.
    """

    def __init__(
        self,
        name: str,
        folder: Path,
        settings: Mapping[str, object],
        limits: Mapping[str, int] | None = None,
        *,
        fresh: bool = False,
    ) -> None:
        self.name = name
        self.port = free_port()
        self.log = folder / f"{name}-{self.port}.log"
        self.limits = dict(limits or {})
        where = {"SEMFACE_HTTP_PORT" if name == "gateway" else "SEMFACE_PORT": str(self.port)}
        self.settings = {"OMP_NUM_THREADS": "1", **{key: str(value) for key, value in settings.items()}, **where}
        self._fresh = fresh
        self._process: _Forked | _Started | None = None

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
        self._process = (_Started if self._fresh else _Forked)(self)
        if serving:
            until(self.serves, START_SECONDS, lambda: f"{self.name} does not serve:\n{self.log_tail()}")
        return self

    @property
    def process(self) -> "_Forked | _Started":
        """The running process."""
        assert self._process is not None, "start first"
        return self._process

    @property
    def runs(self) -> bool:
        """Whether there is a process."""
        return self._process is not None and self._process.exit_code() is None

    def serves(self) -> bool:
        """Return whether its health says that it serves."""
        assert self.runs, f"{self.name} ended:\n{self.log_tail()}"
        if self.name == "gateway":
            try:
                return httpx.get(f"{self.url}/readyz", timeout=5).status_code == 200
            except httpx.HTTPError:
                return False
        return health(self.address) == health_pb2.HealthCheckResponse.SERVING

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        os.kill(self.process.pid, number)

    def stop(self) -> int:
        """Ask the process to end, wait for it and return its exit code."""
        self.signal(signal.SIGTERM)
        return self.wait()

    def wait(self) -> int:
        """Wait for the process to end and return its exit code."""
        return self.process.wait()

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

    def __enter__(self) -> Self:
        """Start."""
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Kill what still runs."""
        if self.runs:
            self.kill()


class _Forked:
    """A process forked from the one that has imported everything."""

    def __init__(self, deployable: Deployable) -> None:
        arguments = (deployable.name, deployable.settings, deployable.limits, str(deployable.log), os.getpid())
        self._process = _forks.Process(target=_serve, args=arguments)
        self._process.start()
        assert self._process.pid is not None
        self.pid = self._process.pid

    def exit_code(self) -> int | None:
        return self._process.exitcode

    def wait(self) -> int:
        self._process.join(STOP_SECONDS)
        assert self._process.exitcode is not None, "the process did not end"
        return self._process.exitcode


class _Started:
    """A process started from nothing, as an operator does."""

    def __init__(self, deployable: Deployable) -> None:
        with deployable.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "semface.cli", "serve", deployable.name],
                env=os.environ | deployable.settings,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
                start_new_session=True,
            )
        self.pid = self._process.pid

    def exit_code(self) -> int | None:
        return self._process.poll()

    def wait(self) -> int:
        return self._process.wait(STOP_SECONDS)


def _serve(name: str, settings: Mapping[str, str], limits: Mapping[str, int], log: str, tests: int) -> None:
    """Become the deployable ``name``, which ends with the process ``tests``, however that ends."""
    os.setsid()
    threading.Thread(target=_end_with, args=(tests,), daemon=True).start()
    os.environ.update(settings)
    for limited, most in limits.items():
        resource.setrlimit(LIMITS[limited], (most, most))
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), 2)
    sys.argv = ["semface", "serve", name]
    from semface.cli.main import main

    main()


def _end_with(process: int) -> None:
    while Path(f"/proc/{process}").exists():
        time.sleep(1)
    os._exit(1)


def health(address: str, service: str = "", seconds: float = 2.0) -> int | None:
    """Return the health that the server at ``address`` tells, None where it tells nothing."""
    options = [("grpc.use_local_subchannel_pool", 1)]
    with grpc.insecure_channel(address, options=options) as channel:
        try:
            check = health_pb2_grpc.HealthStub(channel).Check
            return check(health_pb2.HealthCheckRequest(service=service), timeout=seconds).status
        except grpc.RpcError:
            return None


def gateway_settings(
    services: "Mapping[str, str | Deployable] | str", redis_url: str, folder: Path
) -> dict[str, object]:
    """Return the settings of a gateway before ``services`` (one address, or one by name), its keys in ``folder``."""
    names = ("extraction", "codec", "understanding")
    found = dict.fromkeys(names, services) if isinstance(services, str) else services
    places = {name: place.address if isinstance(place, Deployable) else place for name, place in found.items()}
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
            if deployable.runs:
                deployable.kill()
