import subprocess
import sys
from pathlib import Path

import pytest

from semface.cli.main import COMMANDS
from tests.cli.conftest import Done, Run


def fails_in_one_line(done: Done) -> str:
    """Return the one line that tells the failure."""
    assert done.returncode != 0
    assert done.stderr.startswith("semface: ")
    assert done.stderr.count("\n") == 1
    assert "Traceback" not in done.stderr
    return done.stderr


def test_help_lists_every_command_and_loads_no_network_runtime() -> None:
    script = (
        "import sys; sys.argv = ['semface', '--help']\n"
        "from semface.cli.main import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print(sorted({'onnxruntime', 'grpc', 'fastapi', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("\n[]\n")
    assert all(f"  {name} " in done.stdout for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_that_is_listed_is_there(run: Run, name: str) -> None:
    done = run(name, "--help")
    assert done.returncode == 0, done.stderr
    assert "Usage: semface" in done.stdout


def test_the_version_is_told(run: Run) -> None:
    assert run("--version").stdout == "semface 0.1.0\n"


def test_an_unknown_command_is_one_line(run: Run) -> None:
    assert "No such command 'fly'" in fails_in_one_line(run("fly"))


def test_a_missing_file_is_one_line(run: Run) -> None:
    assert "does not exist" in fails_in_one_line(run("analyze", "nowhere.jpg"))


def test_a_missing_repository_is_one_line_with_what_to_do(run: Run, photo: Path, tmp_path: Path) -> None:
    told = fails_in_one_line(run("analyze", photo, SEMFACE_MODEL_REPOSITORY=str(tmp_path)))
    assert "MODEL_UNKNOWN" in told
    assert "semface models build" in told


def test_a_wrong_setting_is_one_line_that_names_it(run: Run) -> None:
    assert "SEMFACE_PORT" in fails_in_one_line(run("serve", "codec", SEMFACE_PORT="many"))


def test_a_photograph_without_a_face_is_one_line(run: Run, tmp_path: Path) -> None:
    from tests.running import jpeg, noise

    path = tmp_path / "noise.jpg"
    path.write_bytes(jpeg(noise()))
    assert "NO_FACE" in fails_in_one_line(run("encode", path))
