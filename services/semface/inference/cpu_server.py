"""The CPU test server: a real Triton with its Python backend, run as a process of ours on loopback.

The package ``nvidia-pytriton`` carries server and backend; ``make triton`` installs it into an environment of its own.
"""

import contextlib
import ctypes
import os
import secrets
import signal
import socket
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from tritonclient.grpc import InferenceServerClient, InferenceServerException  # type: ignore[import-untyped]

from semface.errors import Reason, SemfaceError

ENVIRONMENT: Final = Path(__file__).resolve().parents[3] / "build" / "triton-venv"
"""Where ``make triton`` installs the server: in the checkout."""

SHARED_MEMORY: Final = Path("/dev/shm")
LOOPBACK: Final = "127.0.0.1"
GUARDED_APIS: Final = "model-repository,shared-memory,trace,logging"
"""APIs that a caller needs the key for: who may load a model may run code in the server."""

KEY_HEADER: Final = "admin-key"
START_ATTEMPTS: Final = 2
LOADING_THREADS: Final = 1
START_SECONDS: Final = 240.0
STOP_SECONDS: Final = 10.0
_LOG_TAIL: Final = 2000
_PR_SET_PDEATHSIG: Final = 1


class CpuServer:
    """A Triton server process over one repository. Leaving its ``with`` block stops it."""

    def __init__(
        self,
        repository: Path,
        log: Path,
        environment: Path = ENVIRONMENT,
        *,
        models: Sequence[str] | None = None,
        port: int = 0,
        metrics_port: int | None = None,
        trace_config: Sequence[str] = (),
    ) -> None:
        """Prepare to serve ``models`` of ``repository`` (None: all), writing what the server says to ``log``.

        ``port`` 0 takes a free one; so does ``metrics_port``, where None serves no metrics. ``trace_config`` are values
        of the server's option of that name. Raises BACKEND_AWAY when ``environment`` does not hold the server.
        """
        self.repository = repository
        self.models = tuple(models if models is not None else _names(repository))
        self.port = port or _free_port()
        self.metrics_port = _free_port() if metrics_port == 0 else metrics_port
        self.key = secrets.token_urlsafe(16)
        """The key of the guarded APIs, new for each server."""
        self._trace_config = tuple(trace_config)
        self._log = log
        self._packages = _packages(environment)
        self._environment = environment.resolve()
        self._shared_memory = f"semface-{os.getpid()}-{self.port}-"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """``host:port`` of the gRPC server."""
        return f"{LOOPBACK}:{self.port}"

    @property
    def url(self) -> str:
        """What SEMFACE_INFERENCE is set to."""
        return f"grpc://{self.address}"

    @property
    def headers(self) -> dict[str, str]:
        """The header that opens the guarded APIs."""
        return {f"triton-grpc-protocol-{KEY_HEADER}": self.key}

    @property
    def pid(self) -> int:
        """The process's number. Raises RuntimeError before ``start``."""
        if self._process is None:
            raise RuntimeError("the server has not been started")
        return self._process.pid

    def start(self, *, ready: bool = True) -> Self:
        """Start the process and return once every model can be asked, or with ``ready`` off once the server lives.

        Raises BACKEND_AWAY with the end of the server's log when that does not come to pass.
        """
        for attempt in range(START_ATTEMPTS):
            self._launch()
            if self._comes_up(self._is_ready if ready else InferenceServerClient.is_server_live):
                return self
            # On a machine that is out of breath a process of the backend may die of its own impatience.
            died = self._process is not None and self._process.poll() is not None
            self.stop()
            if not died or attempt + 1 == START_ATTEMPTS:
                break
        said = self._log.read_text(errors="replace")[-_LOG_TAIL:]
        raise SemfaceError(Reason.BACKEND_AWAY, f"the Triton test server did not start; the end of its log:\n{said}")

    def _launch(self) -> None:
        backends = _lay_out_backend(self._environment, self._packages)
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command(backends),
                env=self._variables(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # A group of its own, so that what a crash leaves behind can be found.
                start_new_session=True,
                preexec_fn=_die_with_parent if sys.platform == "linux" else None,
            )

    def stop(self) -> None:
        """Ask the process to end, kill it where it does not, and wait for it."""
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
        self._clean_up()

    def kill(self) -> None:
        """End the process at once, as a crash would."""
        assert self._process is not None, "start first"
        self._process.kill()
        self._clean_up()

    def __enter__(self) -> Self:
        """Start."""
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop."""
        self.stop()

    def _command(self, backends: Path) -> list[str]:
        return [
            str(self._packages / "pytriton" / "tritonserver" / "bin" / "tritonserver"),
            f"--model-repository={self.repository.resolve()}",
            f"--backend-directory={backends}",
            # Servers beside one another must not share what they keep in shared memory.
            f"--backend-config=python,shm-region-prefix-name={self._shared_memory}",
            # A machine that is out of breath starts the processes of the backend slowly; side by side they may fail.
            f"--backend-config=python,stub-timeout-seconds={int(START_SECONDS)}",
            f"--model-load-thread-count={LOADING_THREADS}",
            "--model-control-mode=explicit",
            *(f"--load-model={name}" for name in self.models),
            "--exit-on-error=false",
            "--exit-timeout-secs=5",
            "--disable-auto-complete-config",
            f"--grpc-address={LOOPBACK}",
            f"--grpc-port={self.port}",
            f"--grpc-restricted-protocol={GUARDED_APIS}:{KEY_HEADER}={self.key}",
            "--allow-http=false",
            *self._metrics_options(),
            *(f"--trace-config={setting}" for setting in self._trace_config),
        ]

    def _metrics_options(self) -> list[str]:
        if self.metrics_port is None:
            return ["--allow-metrics=false"]
        return [f"--metrics-address={LOOPBACK}", f"--metrics-port={self.metrics_port}"]

    def _variables(self) -> dict[str, str]:
        # The backend's process embeds Python: it needs the library of the one that runs here.
        libraries = [str(self._packages / "nvidia_pytriton.libs"), str(sysconfig.get_config_var("LIBDIR") or "")]
        path = f"{self._environment / 'bin'}:{os.environ.get('PATH', '')}"
        return {
            **os.environ,
            "PATH": path,
            "LD_LIBRARY_PATH": ":".join(part for part in libraries if part),
            "VIRTUAL_ENV": str(self._environment),
            "OMP_NUM_THREADS": "1",
        }

    def _comes_up(self, condition: Callable[[Any], bool]) -> bool:
        """Return whether ``condition`` comes to hold; not where the process ends, a model fails or time runs out."""
        assert self._process is not None
        deadline = time.monotonic() + START_SECONDS
        client = InferenceServerClient(self.address)
        try:
            while time.monotonic() < deadline and self._process.poll() is None:
                try:
                    if condition(client):
                        return True
                    if self._has_failed(client):
                        break
                except InferenceServerException:
                    pass
                time.sleep(0.05)
        finally:
            client.close()
        return False

    def _is_ready(self, client: Any) -> bool:
        return bool(client.is_server_ready()) and all(client.is_model_ready(name) for name in self.models)

    def _clean_up(self) -> None:
        """Wait for the process, and remove what one that was killed leaves: processes of the backend, shared memory."""
        assert self._process is not None, "start first"
        self._process.wait()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        for region in SHARED_MEMORY.glob(f"{self._shared_memory}*"):
            region.unlink(missing_ok=True)

    def _has_failed(self, client: Any) -> bool:
        """Return whether a model could not be loaded, which in explicit mode leaves the whole server unready."""
        index = client.get_model_repository_index(headers=self.headers)
        return any(model.state == "UNAVAILABLE" and model.reason for model in index.models)


def _names(repository: Path) -> list[str]:
    return sorted(path.parent.name for path in repository.glob("*/config.pbtxt"))


def _packages(environment: Path) -> Path:
    """Return the site-packages of ``environment`` that holds the server."""
    found = sorted(environment.resolve().glob("lib/python3.*/site-packages/pytriton/tritonserver/bin/tritonserver"))
    if not found:
        message = f"there is no Triton test server in {environment}; `make triton` installs it"
        raise SemfaceError(Reason.BACKEND_AWAY, message)
    return found[-1].parents[3]


def _lay_out_backend(environment: Path, packages: Path) -> Path:
    """Put the Python backend together as the server looks for it, by links; return the folder of backends."""
    carried = packages / "pytriton" / "tritonserver"
    version = packages.parent.name.removeprefix("python")
    parts = {
        "libtriton_python.so": carried / "backends" / "python" / "libtriton_python.so",
        "triton_python_backend_utils.py": carried / "backends" / "python" / "triton_python_backend_utils.py",
        "triton_python_backend_stub": carried / "python_backend_stubs" / version / "triton_python_backend_stub",
    }
    folder = environment / "backends" / "python"
    folder.mkdir(parents=True, exist_ok=True)
    for name, target in parts.items():
        link = folder / name
        if not link.exists():
            link.unlink(missing_ok=True)
            link.symlink_to(target)
    return folder.parent


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def _die_with_parent() -> None:
    """Let the kernel end this process when the one that started it ends, however that comes about."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
