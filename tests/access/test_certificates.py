"""The files that prove one side of a connection to the other."""

from pathlib import Path

import pytest

from semface.access.certificates import TlsFiles, configured_tls
from semface.access.settings import AccessSettings
from semface.errors import Reason, SemfaceError


@pytest.fixture
def files(tmp_path: Path) -> TlsFiles:
    """Three files that need not be certificates to be read."""
    written = TlsFiles(tmp_path / "key.pem", tmp_path / "chain.pem", tmp_path / "ca.pem")
    for path, text in ((written.key, b"key"), (written.chain, b"chain"), (written.trusted, b"trusted")):
        path.write_bytes(text)
    return written


def test_each_file_is_read_as_what_it_is(files: TlsFiles) -> None:
    held = files.read()
    assert (held.key, held.chain, held.trusted) == (b"key", b"chain", b"trusted")


@pytest.mark.parametrize("name", ["key", "chain", "trusted"])
def test_a_changed_file_changes_the_stamp_and_an_unchanged_one_does_not(files: TlsFiles, name: str) -> None:
    before = files.stamp()
    assert before is not None
    assert files.stamp() == before
    path = getattr(files, name)
    fresh = path.with_name("fresh")
    fresh.write_bytes(b"renewed")
    fresh.replace(path)
    assert files.stamp() not in (None, before)


@pytest.mark.parametrize("name", ["key", "chain", "trusted"])
def test_a_file_that_is_away_is_named_and_has_no_stamp(files: TlsFiles, name: str) -> None:
    path = getattr(files, name)
    path.unlink()
    assert files.stamp() is None
    with pytest.raises(SemfaceError) as refused:
        files.read()
    assert (refused.value.reason, refused.value.field) == (Reason.FIELD_INVALID, "tls_certificate")
    assert str(path) in refused.value.message


def test_the_settings_name_all_files_or_none(files: TlsFiles) -> None:
    assert configured_tls(AccessSettings()) is None
    whole = {"tls_key": files.key, "tls_certificate": files.chain, "tls_ca": files.trusted}
    assert configured_tls(AccessSettings(**whole)) == files
    for name in whole:
        for told in ({name: whole[name]}, {other: path for other, path in whole.items() if other != name}):
            with pytest.raises(SemfaceError) as refused:
                configured_tls(AccessSettings(**told))
            assert (refused.value.reason, refused.value.field) == (Reason.FIELD_INVALID, "tls_certificate")
