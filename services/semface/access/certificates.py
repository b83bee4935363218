"""Certificates between the gateway and the services: each side shows one and asks for one; read again when changed."""

from dataclasses import dataclass
from pathlib import Path

from semface.access.settings import AccessSettings
from semface.errors import Reason, SemfaceError


@dataclass(frozen=True, slots=True)
class Certificates:
    """What the files held: key, chain and the certificates to trust, in PEM."""

    key: bytes
    chain: bytes
    trusted: bytes


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """The files of one side."""

    key: Path
    chain: Path
    trusted: Path

    def stamp(self) -> object:
        """Return what changes when a file does, or None where one cannot be seen."""
        try:
            return tuple((found.st_mtime_ns, found.st_ino) for found in map(Path.stat, self._paths()))
        except OSError:
            return None

    def read(self) -> Certificates:
        """Return what the files hold. Raises FIELD_INVALID where one cannot be read."""
        try:
            return Certificates(*(path.read_bytes() for path in self._paths()))
        except OSError as error:
            raise SemfaceError(
                Reason.FIELD_INVALID, f"{error.filename} cannot be read", field="tls_certificate"
            ) from error

    def _paths(self) -> tuple[Path, Path, Path]:
        return self.key, self.chain, self.trusted


def configured_tls(settings: AccessSettings) -> TlsFiles | None:
    """Return the files of ``settings``, None where none is set. Raises FIELD_INVALID where only some are."""
    paths = (settings.tls_key, settings.tls_certificate, settings.tls_ca)
    given = [path for path in paths if path is not None]
    if not given:
        return None
    if len(given) < len(paths):
        message = "set SEMFACE_TLS_CERTIFICATE, SEMFACE_TLS_KEY and SEMFACE_TLS_CA, or none of them"
        raise SemfaceError(Reason.FIELD_INVALID, message, field="tls_certificate")
    return TlsFiles(*given)
