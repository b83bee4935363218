"""The page of promises names every scenario here, and nothing that is not there."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "reliability.md"
TEST = re.compile(r"`(test_\w+)`")
DEFINED = re.compile(r"^(?:async )?def (test_\w+)", re.MULTILINE)


def defined(folder: Path) -> set[str]:
    """Return the names of the tests under ``folder``."""
    return {name for path in folder.rglob("test_*.py") for name in DEFINED.findall(path.read_text(encoding="utf-8"))}


def test_each_test_that_the_page_names_exists() -> None:
    named = set(TEST.findall(PAGE.read_text(encoding="utf-8")))
    assert named
    assert named <= defined(ROOT / "tests")


def test_each_scenario_is_on_the_page() -> None:
    here = defined(Path(__file__).parent) - DEFINED_HERE
    assert here <= set(TEST.findall(PAGE.read_text(encoding="utf-8")))


DEFINED_HERE = set(DEFINED.findall(Path(__file__).read_text(encoding="utf-8")))
