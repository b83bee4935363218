"""Dockerfile and shell scripts by the linters of their kind."""

import re
import subprocess

import pytest

from tests.helm.chart import CHART, ROOT, TOOLS

pytestmark = pytest.mark.helm


def run(tool: str, *arguments: str) -> None:
    command = [str(TOOLS / "venv" / "bin" / tool), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_hadolint_has_nothing_to_say_of_the_dockerfile() -> None:
    run("hadolint", "Dockerfile")


def test_shellcheck_has_nothing_to_say_of_any_script() -> None:
    scripts = sorted(map(str, CHART.glob("files/*.sh")))
    assert scripts
    run("shellcheck", ".ci/run", *scripts)


def test_bases_are_named_by_exact_version_and_no_digest_is_made_up() -> None:
    text = (ROOT / "Dockerfile").read_text()
    tags = re.findall(r"^ARG \w+_TAG=(.+)$", text, re.MULTILINE)
    assert len(tags) == 2
    assert all(re.match(r"\d+\.\d+", tag) for tag in tags)
    assert re.findall(r"^ARG \w+_DIGEST=(.*)$", text, re.MULTILINE) == ["", ""]


def test_both_images_run_without_root() -> None:
    text = (ROOT / "Dockerfile").read_text()
    for name in ("semface", "semface-triton"):
        stage = re.split(r"^FROM ", text.split(f" AS {name}\n")[1], flags=re.MULTILINE)[0]
        assert re.findall(r"^USER (.+)$", stage, re.MULTILINE) == ["65532:65532"]
        assert "ENTRYPOINT" in stage
