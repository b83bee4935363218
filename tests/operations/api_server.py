"""A stub of Kubernetes' API server: objects in memory, paths, selectors, patches and failures as the real one's."""

import json
import re
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

Object = dict[str, Any]
PROXY = re.compile(r"^/api/v1/namespaces/([^/]+)/pods/([^/:]+):(\d+)/proxy(/.*)$")


class ApiServer:
    """What the cluster holds, by path; ``changed`` hears of each object that is created or patched."""

    def __init__(self) -> None:
        self.objects: dict[str, Object] = {}
        self.kinds: dict[str, list[tuple[str, str]]] = {}
        self.version = {"major": "1", "minor": "31+"}
        self.forbidden: set[tuple[str, str]] = set()
        self.changed: Callable[[str, Object], None] = lambda path, document: None
        self.requests: list[tuple[str, str]] = []
        self.lock = threading.RLock()
        self.url = ""

    def add(self, collection: str, *documents: Object) -> None:
        """Put objects under a collection's path, such as ``/api/v1/namespaces/faces/pods``."""
        for document in documents:
            document["metadata"].setdefault("generation", 1)
            self.objects[f"{collection}/{document['metadata']['name']}"] = document

    def answer(self, method: str, path: str, query: dict[str, list[str]], body: Object | None) -> tuple[int, Any]:
        with self.lock:
            self.requests.append((method, path))
            if path == "/version":
                return 200, self.version
            if path.endswith("/selfsubjectaccessreviews"):
                assert body is not None
                asked = body["spec"]["resourceAttributes"]
                allowed = (asked["verb"], asked["resource"]) not in self.forbidden
                return 201, body | {"status": {"allowed": allowed}}
            group = path.removeprefix("/apis/").removeprefix("/api/")
            if group in self.kinds:
                listed = [{"kind": kind, "name": name} for kind, name in self.kinds[group]]
                return 200, {"kind": "APIResourceList", "groupVersion": group, "resources": listed}
            proxied = PROXY.match(path)
            if proxied:
                return self._proxy(*proxied.groups())
            return getattr(self, f"_{method.lower()}")(path, query, body)

    def _get(self, path: str, query: dict[str, list[str]], body: Object | None) -> tuple[int, Any]:
        if path in self.objects:
            return 200, self.objects[path]
        children = [one for key, one in self.objects.items() if key.rpartition("/")[0] == path]
        resource = path.rpartition("/")[2]
        known = any(resource == name for kinds in self.kinds.values() for _, name in kinds)
        if not children and not known:
            return self._status(404, "NotFound", f'"{path}" not found')
        wanted = dict(part.split("=") for part in query.get("labelSelector", [""])[0].split(",") if part)
        items = [one for one in children if wanted.items() <= one["metadata"].get("labels", {}).items()]
        return 200, {"kind": "List", "items": items}

    def _post(self, path: str, query: dict[str, list[str]], body: Object | None) -> tuple[int, Any]:
        assert body is not None
        key = f"{path}/{body['metadata']['name']}"
        if key in self.objects:
            return self._status(409, "AlreadyExists", f'"{body["metadata"]["name"]}" already exists')
        if "status" in body or "uid" in body["metadata"]:
            return self._status(422, "Invalid", "status and uid are the server's to set")
        self.add(path, body)
        self.changed(key, body)
        return 201, body

    def _patch(self, path: str, query: dict[str, list[str]], body: Object | None) -> tuple[int, Any]:
        if path not in self.objects:
            return self._status(404, "NotFound", f'"{path}" not found')
        assert body is not None
        self.objects[path] = merged(self.objects[path], body)
        self.objects[path]["metadata"]["generation"] += 1
        self.changed(path, self.objects[path])
        return 200, self.objects[path]

    def _delete(self, path: str, query: dict[str, list[str]], body: Object | None) -> tuple[int, Any]:
        if self.objects.pop(path, None) is None:
            return self._status(404, "NotFound", f'"{path}" not found')
        return 200, {"kind": "Status", "status": "Success"}

    def _proxy(self, namespace: str, pod: str, port: str, path: str) -> tuple[int, Any]:
        if f"/api/v1/namespaces/{namespace}/pods/{pod}" not in self.objects:
            return self._status(404, "NotFound", f'pods "{pod}" not found')
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
                return 200, answer.read()
        except (urllib.error.URLError, OSError):
            return self._status(503, "ServiceUnavailable", "error trying to reach service")

    @staticmethod
    def _status(code: int, reason: str, message: str) -> tuple[int, Any]:
        return code, {"kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": message}


def merged(target: Any, change: Any) -> Any:
    """Return RFC 7396's merge of ``change`` into ``target``."""
    if not isinstance(change, dict):
        return change
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in change.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value)
    return result


def _handler(server: ApiServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _serve(self) -> None:
            parts = urlsplit(self.path)
            length = int(self.headers.get("Content-Length", 0))
            body = json.loads(self.rfile.read(length)) if length else None
            code, answer = server.answer(self.command, parts.path, parse_qs(parts.query), body)
            data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
            self.send_response(code)
            self.send_header("Content-Type", "text/plain" if isinstance(answer, bytes) else "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_PATCH = do_DELETE = _serve

        def log_message(self, *arguments: Any) -> None:
            return

    return Handler


@contextmanager
def running_api_server(server: ApiServer, folder: Path) -> Iterator[Path]:
    """Serve on loopback while the block lasts; yields a kubeconfig for it."""
    listener = ThreadingHTTPServer(("127.0.0.1", 0), _handler(server))
    thread = threading.Thread(target=listener.serve_forever)
    thread.start()
    server.url = f"http://127.0.0.1:{listener.server_address[1]}"
    kubeconfig = folder / "kubeconfig"
    entries = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "stub",
        "clusters": [{"name": "stub", "cluster": {"server": server.url}}],
        "users": [{"name": "stub", "user": {"token": "stub"}}],
        "contexts": [{"name": "stub", "context": {"cluster": "stub", "user": "stub"}}],
    }
    kubeconfig.write_text(json.dumps(entries))
    try:
        yield kubeconfig
    finally:
        listener.shutdown()
        listener.server_close()
        thread.join()
