"""A cluster as far as Helm 3 asks one to print notes: its version, and which kinds it knows."""

import json
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

VERSION = {"major": "1", "minor": "31", "gitVersion": "v1.31.0"}


def discovered(documents: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Return the answers, by path, of a cluster that knows the kinds of ``documents``."""
    kinds: dict[str, set[str]] = {"v1": set()}
    for document in documents:
        kinds.setdefault(document["apiVersion"], set()).add(document["kind"])
    groups: dict[str, list[dict[str, str]]] = {}
    for version in kinds.keys() - {"v1"}:
        name, _, number = version.partition("/")
        groups.setdefault(name, []).append({"groupVersion": version, "version": number})
    answers: dict[str, Any] = {
        "/version": VERSION,
        "/api": {"kind": "APIVersions", "versions": ["v1"]},
        "/apis": {
            "kind": "APIGroupList",
            "groups": [
                {"name": name, "versions": versions, "preferredVersion": versions[0]}
                for name, versions in groups.items()
            ],
        },
    }
    for version, known in kinds.items():
        resources = [{"name": f"{kind.lower()}s", "kind": kind, "namespaced": True, "verbs": ["get"]} for kind in known]
        path = "/api/v1" if version == "v1" else f"/apis/{version}"
        answers[path] = {"kind": "APIResourceList", "groupVersion": version, "resources": resources}
    return answers


@contextmanager
def known_kinds(documents: Iterable[dict[str, Any]]) -> Iterator[str]:
    """Answer on loopback while the block lasts; yields the address."""
    answers = discovered(documents)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer = answers.get(urlsplit(self.path).path)
            data = json.dumps(answer or {"kind": "Status", "status": "Failure", "code": 404}).encode()
            self.send_response(404 if answer is None else 200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
