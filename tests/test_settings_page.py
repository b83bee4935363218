"""The page of settings holds every setting, and a page that is not current is noticed."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from semface.cli.stack import StackSettings
from semface.codec.settings import CodecSettings
from semface.extraction.settings import ExtractionSettings
from semface.gateway.settings import GatewaySettings
from semface.understanding.settings import UnderstandingSettings

DOCS = Path(__file__).parents[1] / "docs"


def document(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run the script as if it lay in ``folder``."""
    script = shutil.copy(DOCS / "document_settings.py", folder)
    return subprocess.run([sys.executable, script, *options], capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize(
    "settings", [ExtractionSettings, CodecSettings, UnderstandingSettings, GatewaySettings, StackSettings]
)
def test_every_setting_is_on_the_page(settings: type[StackSettings]) -> None:
    page = (DOCS / "settings.md").read_text(encoding="utf-8")
    for name, field in settings.model_fields.items():
        assert any(
            line.startswith(f"| `SEMFACE_{name.upper()}` |") and str(field.description) in line
            for line in page.splitlines()
        ), name


def test_a_page_that_is_not_current_is_noticed_until_it_is_made_anew(tmp_path: Path) -> None:
    (tmp_path / "settings.md").write_text("# Settings\n")
    stale = document(tmp_path, "--check")
    assert stale.returncode == 1
    assert "make docs" in stale.stderr
    assert document(tmp_path).returncode == 0
    assert document(tmp_path, "--check").returncode == 0
