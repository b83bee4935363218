"""The examples of the README run as they stand."""

import subprocess
import sys
from pathlib import Path

from tests.running import System

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def run(name: str, *arguments: str) -> str:
    command = [sys.executable, str(EXAMPLES / name), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout


def test_a_face_is_sent_over_grpc(system: System, portrait: bytes, tmp_path: Path) -> None:
    photograph = tmp_path / "portrait.jpg"
    photograph.write_bytes(portrait)
    printed = run("send_a_face.py", str(photograph), system.grpc)
    assert f"bits instead of {8 * len(portrait)}" in printed
    assert "expression: " in printed


def test_a_person_is_enrolled_verified_and_erased_over_http(system: System, portrait: bytes, tmp_path: Path) -> None:
    photograph = tmp_path / "portrait.jpg"
    photograph.write_bytes(portrait)
    printed = run("enroll_and_verify.py", str(photograph), str(photograph), system.gateway)
    assert "matched: True (score 1.000" in printed
