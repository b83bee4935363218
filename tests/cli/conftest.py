"""The command as a shell calls it."""

import io
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import pytest

from semface.cli.main import main

SECONDS = 60


@dataclass(frozen=True, slots=True)
class Done:
    """What a command left behind."""

    returncode: int
    stdout: str
    stderr: str


Run = Callable[..., Done]


@pytest.fixture(scope="session")
def settings(tiny_repository: Path) -> dict[str, str]:
    """Return the environment in which the command runs on the tiny networks."""
    return {"SEMFACE_MODEL_REPOSITORY": str(tiny_repository), "OMP_NUM_THREADS": "1", "COLUMNS": "120"}


@pytest.fixture
def run(settings: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Return a function that runs `semface ARGUMENTS` in this process, which is faster than in one of its own."""

    def call(*arguments: object, **environment: str) -> Done:
        stdout, stderr = io.StringIO(), io.StringIO()
        with monkeypatch.context() as patch, redirect_stdout(stdout), redirect_stderr(stderr):
            patch.setattr(sys, "argv", ["semface", *map(str, arguments)])
            for name, value in (settings | environment).items():
                patch.setenv(name, value)
            with pytest.raises(SystemExit) as left:
                main()
        assert isinstance(left.value.code, int)
        return Done(left.value.code, stdout.getvalue(), stderr.getvalue())

    return call


@pytest.fixture
def shell(settings: dict[str, str]) -> Run:
    """Return a function that runs `semface ARGUMENTS` as a process of its own."""

    def call(*arguments: object, **environment: str) -> Done:
        command = [sys.executable, "-m", "semface.cli", *map(str, arguments)]
        variables = os.environ | settings | environment
        done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=SECONDS, check=False)
        return Done(done.returncode, done.stdout, done.stderr)

    return call


@pytest.fixture(scope="session")
def photo(portrait: bytes, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the file of the portrait."""
    path = tmp_path_factory.mktemp("photos") / "portrait.jpg"
    path.write_bytes(portrait)
    return path
