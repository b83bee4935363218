"""Mutation testing by cosmic-ray: every small change to a module has to fail its tests.

``python -m tests.mutation COSMIC_RAY [NAME …]``, with the folder of cosmic-ray's commands; ``make mutation`` does.
Works on a copy under ``build/mutation``. Goes on where it was stopped; a new run tries those again that survived, and
begins anew where a module has changed.
"""

import contextlib
import hashlib
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.mutation.server import PLACE

ROOT: Final = Path(__file__).resolve().parents[2]
CONFIGURATIONS: Final = Path(__file__).parent
LEAST_KILLED: Final = 0.85


def copy_tree(tree: Path) -> None:
    """Put a fresh copy of what the tests need at ``tree``."""
    shutil.rmtree(tree, ignore_errors=True)
    without = shutil.ignore_patterns("__pycache__", "static")
    for folder in ("services/semface", "tests"):
        shutil.copytree(ROOT / folder, tree / folder, ignore=without)
    shutil.copy2(ROOT / "pyproject.toml", tree)


@contextlib.contextmanager
def test_server(tree: Path) -> Iterator[None]:
    """Run the server of tests over ``tree`` while the block lasts."""
    environment = os.environ | {
        "PYTHONPATH": f"{tree / 'services'}:{tree}",
        "OMP_NUM_THREADS": "1",
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
    }
    command = [sys.executable, "-m", "tests.mutation.server"]
    with subprocess.Popen(command, cwd=tree, env=environment, start_new_session=True) as server:
        try:
            while not (tree / PLACE).exists():
                if server.poll() is not None:
                    sys.exit("the server of tests did not start")
                time.sleep(0.1)
            yield
        finally:
            os.killpg(server.pid, signal.SIGKILL)


def open_session(session: Path, configuration: Path, commands: Path, tree: Path) -> None:
    """Make the list of mutants, or open the one of before where no module has changed; survivors are tried again."""
    settings = tomllib.loads(configuration.read_text())["cosmic-ray"]
    modules = [tree / module for module in settings["module-path"]]
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in (configuration, *modules))).hexdigest()
    mark = session.with_suffix(".sha256")
    if not session.exists() or not mark.exists() or mark.read_text() != digest:
        subprocess.run([commands / "cosmic-ray", "init", "--force", configuration, session], cwd=tree, check=True)
        subprocess.run([commands / "cr-filter-operators", session, configuration], cwd=tree, check=True)
        mark.write_text(digest)
    with contextlib.closing(sqlite3.connect(session)) as database, database:
        database.execute("DELETE FROM work_results WHERE test_outcome = 'SURVIVED'")


def outcomes(session: Path) -> tuple[int, int]:
    """Return how many mutants were killed, and of how many that were tried."""
    with contextlib.closing(sqlite3.connect(session)) as database:
        counts = dict(
            database.execute(
                "SELECT test_outcome, COUNT(*) FROM work_results WHERE worker_outcome = 'NORMAL' GROUP BY test_outcome"
            )
        )
    return counts.get("KILLED", 0), sum(counts.values())


def mutate(name: str, commands: Path) -> bool:
    """Try every mutant of the configuration ``name``; print the score and return whether it is high enough."""
    started = time.monotonic()
    configuration = CONFIGURATIONS / f"{name}.toml"
    folder = ROOT / "build" / "mutation"
    tree, session = folder / name, folder / f"{name}.sqlite"
    folder.mkdir(parents=True, exist_ok=True)
    copy_tree(tree)
    os.environ["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    command = tomllib.loads(configuration.read_text())["cosmic-ray"]["test-command"]
    with test_server(tree):
        if subprocess.run(command.split(), cwd=tree).returncode:
            sys.exit(f"the tests of {name} fail without any mutant")
        open_session(session, configuration, commands, tree)
        subprocess.run([commands / "cosmic-ray", "exec", configuration, session], cwd=tree, check=True)
    report = session.with_suffix(".txt")
    with report.open("w") as file:
        subprocess.run(
            [commands / "cr-report", "--surviving-only", "--show-diff", session], stdout=file, cwd=tree, check=True
        )
    killed, tried = outcomes(session)
    print(f"{name}: {killed} of {tried} mutants killed, {killed / tried:.1%}, in {time.monotonic() - started:.0f} s")
    print(f"those that survived: {report.relative_to(ROOT)}")
    return killed >= LEAST_KILLED * tried


def main() -> None:
    """Mutate what the arguments name, all without."""
    commands = Path(sys.argv[1]).resolve()
    names = sys.argv[2:] or sorted(path.stem for path in CONFIGURATIONS.glob("*.toml"))
    enough = [mutate(name, commands) for name in names]
    if not all(enough):
        sys.exit(f"fewer than {LEAST_KILLED:.0%} killed")


if __name__ == "__main__":
    main()
