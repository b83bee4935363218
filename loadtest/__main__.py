"""`python -m loadtest`: a bounded mix against a local stack that is started and stopped here; writes an HTML report.

Options that are not known here go to locust.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
STOP_SECONDS = 20


@contextmanager
def local_stack() -> Iterator[dict[str, str]]:
    """Run `semface up` on free ports while the block lasts; gives the addresses of its gateway and of gRPC."""
    settings = {"SEMFACE_PORT": "0", "SEMFACE_HTTP_PORT": "0", "SEMFACE_LOG_LEVEL": "warning"}
    # Its one photograph is verified again and again; the limit for one subject is not what is tested.
    limits = {"SEMFACE_VERIFY_PER_MINUTE": "1000000"}
    command = [sys.executable, "-m", "semface.cli", "up", "--json"]
    with subprocess.Popen(command, env=os.environ | settings | limits, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield json.loads(process.stdout.readline())
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(STOP_SECONDS)


def main() -> int:
    """Run locust against a local stack and return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m loadtest", description=__doc__)
    parser.add_argument("--users", type=int, default=8, help="Users at once.")
    parser.add_argument("--run-time", default="60s", help="Length of the run, such as 90s or 10m.")
    parser.add_argument("--processes", type=int, default=2, help="Processes that make load.")
    parser.add_argument("--html", type=Path, default=Path("build/load.html"), help="Where the report goes.")
    known, others = parser.parse_known_args()
    known.html.parent.mkdir(parents=True, exist_ok=True)
    with local_stack() as places:
        command = [sys.executable, "-m", "locust", "-f", str(ROOT / "loadtest" / "locustfile.py"), "--headless"]
        command += ["--host", places["gateway"], "--grpc", places["grpc"], "--only-summary"]
        command += ["--users", str(known.users), "--spawn-rate", str(known.users)]
        command += ["--run-time", known.run_time, "--html", str(known.html)]
        # With one process none is forked, and no port of a master is opened.
        command += ["--processes", str(known.processes), "--master-bind-host", "127.0.0.1"] * (known.processes > 1)
        code = subprocess.run([*command, *others], check=False, cwd=ROOT).returncode
    print(f"report: {known.html}")
    return code


if __name__ == "__main__":
    sys.exit(main())
