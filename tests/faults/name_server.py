"""A name server of the tests' own: one address, several, or none for every name, changed at any time."""

import socket
import struct
import threading
from types import TracebackType
from typing import Self

NO_ERROR, SERVER_FAILURE = 0, 2
TYPE_A, CLASS_IN = 1, 1
HEADER = struct.Struct(">HHHHHH")


class NameServer:
    """Answers queries over UDP on a loopback port with ``addresses`` (IPv4), without any with a failure."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = addresses
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve, name="name-server", daemon=True)

    def target(self, port: int) -> str:
        """Return the target of gRPC that asks here for its addresses."""
        return f"dns://127.0.0.1:{self._socket.getsockname()[1]}/service.test:{port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()
        self._thread.join(0.1)

    def _serve(self) -> None:
        while True:
            try:
                query, caller = self._socket.recvfrom(512)
                self._socket.sendto(self._answer(query), caller)
            except OSError:
                return

    def _answer(self, query: bytes) -> bytes:
        number = HEADER.unpack_from(query)[0]
        end = query.index(0, HEADER.size) + 5
        question, (kind,) = query[HEADER.size : end], struct.unpack(">H", query[end - 4 : end - 2])
        addresses = self.addresses if kind == TYPE_A else ()
        code = NO_ERROR if self.addresses else SERVER_FAILURE
        header = HEADER.pack(number, 0x8180 | code, 1, len(addresses), 0, 0)
        # Each answer points to the name of the question; nothing may be kept.
        fixed = struct.pack(">HHHIH", 0xC000 | HEADER.size, TYPE_A, CLASS_IN, 0, 4)
        return header + question + b"".join(fixed + socket.inet_aton(address) for address in addresses)
