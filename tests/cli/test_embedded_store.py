"""Promises of the embedded Valkey."""

import stat
from pathlib import Path

from redis import Redis

from semface.cli.embedded_store import embedded_store


def test_what_is_kept_outlives_the_server_and_only_its_user_can_read_it(tmp_path: Path) -> None:
    with embedded_store(tmp_path / "kept") as url:
        Redis.from_url(url).set("subject", "template")
        assert stat.S_IMODE(Path(url.removeprefix("unix://")).parent.stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "kept" / "valkey").stat().st_mode) == 0o700
    with embedded_store(tmp_path / "kept") as url:
        assert Redis.from_url(url).get("subject") == b"template"


def test_without_a_folder_nothing_is_kept() -> None:
    with embedded_store(None) as url:
        Redis.from_url(url).set("subject", "template")
    with embedded_store(None) as url:
        assert Redis.from_url(url).get("subject") is None
