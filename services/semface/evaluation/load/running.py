"""`semface up` in a process and on cores of its own: where it is, how soon it was ready, what memory it takes."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from semface.errors import Reason, SemfaceError

STOP_SECONDS = 20
MEBIBYTE = 1 << 20


@dataclass(frozen=True, slots=True)
class RunningSystem:
    """A system that is up."""

    grpc: str
    gateway: str
    start_seconds: float
    process: int

    def resident_megabytes(self) -> float:
        """Return the resident memory of the process and its children (the embedded Valkey), in MiB.

        Pages that two of them share are counted in full for each.
        """
        return sum(map(_resident, [self.process, *_children(self.process)])) / MEBIBYTE

    def processor_seconds(self) -> float:
        """Return the processor time that the process has taken so far."""
        return _processor(self.process)

    def store_processor_seconds(self) -> float:
        """Return the processor time that its embedded Valkey has taken so far."""
        return sum(map(_processor, _children(self.process)))


@contextmanager
def running_system(cores: Sequence[int], changes: Mapping[str, str] | None = None) -> Iterator[RunningSystem]:
    """Run `semface up` on ``cores`` while the block lasts, with ``changes`` to the environment's settings.

    Raises BACKEND_AWAY where it does not come up.
    """
    settings = {"SEMFACE_PORT": "0", "SEMFACE_HTTP_PORT": "0", "SEMFACE_LOG_LEVEL": "warning", "OMP_NUM_THREADS": "1"}
    settings["SEMFACE_VERIFY_PER_MINUTE"] = "1000000"
    environment = os.environ | settings | dict(changes or {})
    started = time.perf_counter()
    command = pinned([sys.executable, "-m", "semface.cli", "up", "--json"], cores)
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            if not line:
                raise SemfaceError(Reason.BACKEND_AWAY, "`semface up` did not come up; what it said stands above")
            places = json.loads(line)
            yield RunningSystem(places["grpc"], places["gateway"], time.perf_counter() - started, process.pid)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(STOP_SECONDS)


def pinned(command: Sequence[str], cores: Sequence[int]) -> list[str]:
    """Return ``command`` as one that runs on ``cores`` only; without any, wherever it likes."""
    return ["taskset", "-c", ",".join(map(str, cores)), *command] if cores else list(command)


@contextmanager
def staying_on(cores: Sequence[int]) -> Iterator[None]:
    """Keep this process, and what it starts, on ``cores`` while the block lasts, where there are any."""
    before = os.sched_getaffinity(0)
    if cores:
        os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


_USABLE = sorted(os.sched_getaffinity(0))


def split_cores() -> tuple[list[int], list[int]]:
    """Return one core for the system and one for the generator; both empty where this process had only one."""
    usable = _USABLE
    return (usable[:1], usable[1:2]) if len(usable) > 1 else ([], [])


def _processor(process: int) -> float:
    text = Path(f"/proc/{process}/stat").read_text(encoding="utf-8")
    numbers = text[text.rindex(")") + 2 :].split()
    return (int(numbers[11]) + int(numbers[12])) / os.sysconf("SC_CLK_TCK")


def _resident(process: int) -> int:
    try:
        return int(Path(f"/proc/{process}/statm").read_text(encoding="utf-8").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except FileNotFoundError:
        return 0


def _children(process: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{process}/task").iterdir():
        found += [int(child) for child in (task / "children").read_text(encoding="utf-8").split()]
    return found
