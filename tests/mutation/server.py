"""Runs tests in forks of one process that has imported what they need but nothing that is mutated.

So a mutant costs a fork and its tests, not a second of imports.
"""

import os
import resource
import signal
import socket
import sys
from pathlib import Path

import cryptography.x509  # noqa: F401 - imported once for all forks, as those below
import httpx  # noqa: F401
import hypothesis
import jwt  # noqa: F401
import numpy as np  # noqa: F401
import pydantic_settings  # noqa: F401
import pytest
import pytest_asyncio.plugin  # noqa: F401
import structlog  # noqa: F401

import semface
import semface.descriptors
import semface.errors

PLACE = Path("tests.socket")
CPU_SECONDS = 30
"""The tests take a few; a mutant that takes so many never ends."""
SECONDS = 600
"""The same for one that waits; generous, since on a busy machine what takes seconds may take minutes."""
MEMORY_BYTES = 8 << 30


def run(tests: list[str]) -> int:
    """Return how pytest ended, run over ``tests`` in a fork."""
    child = os.fork()
    if child:
        _, status = os.waitpid(child, 0)
        return os.waitstatus_to_exitcode(status)
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    signal.alarm(SECONDS)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)
    os._exit(pytest.main(["-x", "-q", "--noconftest", "-p", "no:cacheprovider", "-p", "pytest_asyncio.plugin", *tests]))


def main() -> None:
    """Answer each line of tests with how they ended, until killed."""
    if not Path(semface.__file__ or "").is_relative_to(Path.cwd()):
        sys.exit("semface is not imported from here")
    sys.dont_write_bytecode = True
    # The same examples for every mutant; the first failure is enough, and need not be made small.
    hypothesis.settings.register_profile(
        "mutation",
        phases=(hypothesis.Phase.explicit, hypothesis.Phase.generate),
        report_multiple_bugs=False,
        derandomize=True,
        database=None,
        deadline=None,
    )
    hypothesis.settings.load_profile("mutation")
    with socket.socket(socket.AF_UNIX) as listening:
        PLACE.unlink(missing_ok=True)
        listening.bind(str(PLACE))
        listening.listen()
        while True:
            caller, _ = listening.accept()
            with caller, caller.makefile("rw") as lines:
                lines.write(f"{run(lines.readline().split())}\n")


if __name__ == "__main__":
    main()
