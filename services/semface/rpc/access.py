"""Who may call a service: the key or token in a call's metadata, and certificates on the wire."""

import time
from typing import Any, Final

import grpc

from semface.access.authentication import Authenticator, CallCounts
from semface.access.callers import Caller, Scope
from semface.access.certificates import Certificates, TlsFiles
from semface.errors import SemfaceError

AUTHORIZATION: Final = "authorization"
LOOK_SECONDS: Final = 1.0


class CallerCheck:
    """Lets calls in that show a key or token with the scope ``faces``, as often as it may."""

    def __init__(self, authenticator: Authenticator) -> None:
        """Ask ``authenticator``; calls are counted in this process."""
        self._authenticator = authenticator
        self._counts = CallCounts()
        self.asks = authenticator.asks
        """Whether callers are told apart."""

    async def check(self, metadata: Any) -> Caller:
        """Return the caller of ``metadata``; raises KEY_INVALID, SCOPE_MISSING or RATE_LIMITED unless it may call."""
        shown = next((value for name, value in metadata or () if name == AUTHORIZATION), "")
        caller = await self._authenticator.caller(shown if isinstance(shown, str) else "")
        caller.require(Scope.FACES)
        self._counts.count(caller)
        return caller


def server_credentials(files: TlsFiles) -> grpc.ServerCredentials:
    """Return credentials that ask every caller for a certificate, and read ``files`` again when they have changed.

    Raises FIELD_INVALID where they cannot be read now; what cannot be read later leaves those of before.
    """
    seen: dict[str, Any] = {"stamp": files.stamp(), "at": time.monotonic()}

    def configuration(found: Certificates) -> grpc.ServerCertificateConfiguration:
        return grpc.ssl_server_certificate_configuration([(found.key, found.chain)], found.trusted)

    def changed() -> grpc.ServerCertificateConfiguration | None:
        if time.monotonic() - seen["at"] < LOOK_SECONDS:
            return None
        seen["at"], stamp = time.monotonic(), files.stamp()
        if stamp is None or stamp == seen["stamp"]:
            return None
        try:
            fresh = configuration(files.read())
        except SemfaceError:
            return None
        seen["stamp"] = stamp
        return fresh

    fetch: Any = changed
    return grpc.dynamic_ssl_server_credentials(configuration(files.read()), fetch, require_client_authentication=True)
