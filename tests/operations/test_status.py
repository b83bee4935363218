"""Status shows pods, versions, networks, engines and queue times, read through the API server."""

import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from semface.cli.ops import app
from semface.errors import Reason, SemfaceError
from semface.operations.exposition import samples
from tests.operations.api_server import ApiServer, running_api_server

METRICS = b"""# HELP nv_inference_request_success x
nv_inference_request_success{model="codec_analysis",version="1"} 40
nv_inference_request_success{model="codec_analysis",version="2"} 10
nv_inference_queue_duration_us{model="codec_analysis",version="1"} 100000
semface_grpc_in_flight{method="/semface.v1.CodecService/Encode"} 3.0
"""


class Exporter(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(METRICS)))
        self.end_headers()
        self.wfile.write(METRICS)

    def log_message(self, *arguments: Any) -> None:
        return


@pytest.fixture
def metrics_port() -> Iterator[int]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Exporter) as exporter:
        thread = threading.Thread(target=exporter.serve_forever)
        thread.start()
        yield exporter.server_address[1]
        exporter.shutdown()
        thread.join()


def pod(component: str, port: int, phase: str = "Running") -> dict[str, Any]:
    labels = {"app.kubernetes.io/instance": "semface", "app.kubernetes.io/component": component}
    statuses = [{"ready": True, "restartCount": 2}]
    return {
        "metadata": {"name": f"{component}-0", "labels": labels},
        "spec": {"containers": [{"name": component, "ports": [{"name": "metrics", "containerPort": port}]}]},
        "status": {"phase": phase, "containerStatuses": statuses},
    }


@pytest.fixture
def server(metrics_port: int) -> ApiServer:
    server = ApiServer()
    server.kinds = {"v1": [("Pod", "pods")], "apps/v1": [("Deployment", "deployments")], "batch/v1": [("Job", "jobs")]}
    labels = {"app.kubernetes.io/instance": "semface"}
    template = {
        "metadata": {"labels": {"semface.dev/track": "stable"}},
        "spec": {"containers": [{"image": "semface:1"}]},
    }
    deployment = {
        "metadata": {"name": "semface-codec", "labels": labels},
        "spec": {"replicas": 2, "template": template},
        "status": {"readyReplicas": 1},
    }
    server.add("/apis/apps/v1/namespaces/faces/deployments", deployment)
    pods = [pod("codec", metrics_port), pod("triton", metrics_port), pod("extraction", metrics_port, "Pending")]
    server.add("/api/v1/namespaces/faces/pods", *pods)
    engine_labels = labels | {"app.kubernetes.io/component": "engines", "semface.dev/pool": "l4"}
    job = {"metadata": {"name": "engines-l4", "labels": engine_labels}, "status": {"active": 1}}
    server.add("/apis/batch/v1/namespaces/faces/jobs", job)
    return server


def status(kubeconfig: Path, *options: str) -> Any:
    command = ["status", "--namespace", "faces", *options]
    return CliRunner(env={"KUBECONFIG": str(kubeconfig)}).invoke(app, command)


def test_all_is_on_one_screen(server: ApiServer, tmp_path: Path) -> None:
    with running_api_server(server, tmp_path) as kubeconfig:
        told = json.loads(status(kubeconfig, "--json").output)
        screen = status(kubeconfig).output
    assert told["deployments"] == [{"name": "semface-codec", "track": "stable", "ready": "1/2", "image": "semface:1"}]
    pods = {one["name"]: one for one in told["pods"]}
    assert pods["codec-0"]["in_flight"] == 3
    assert pods["triton-0"]["queue_ms"] == 2.0
    assert pods["triton-0"]["restarts"] == 2
    assert pods["extraction-0"]["in_flight"] is None
    assert told["models"] == [
        {"name": "codec_analysis", "version": "1", "requests": 40},
        {"name": "codec_analysis", "version": "2", "requests": 10},
    ]
    assert told["engines"] == [{"job": "engines-l4", "pool": "l4", "state": "building"}]
    assert all(word in screen for word in ("semface-codec", "triton-0", "codec_analysis", "building"))


def test_a_pod_whose_metrics_fail_is_shown_without_them(server: ApiServer, tmp_path: Path) -> None:
    for document in server.objects.values():
        if document["metadata"]["name"] == "codec-0":
            document["spec"]["containers"][0]["ports"][0]["containerPort"] = 9
    with running_api_server(server, tmp_path) as kubeconfig:
        pods = {one["name"]: one for one in json.loads(status(kubeconfig, "--json").output)["pods"]}
    assert pods["codec-0"]["ready"] is True
    assert pods["codec-0"]["in_flight"] is None


def test_a_release_that_is_not_there_is_told(tmp_path: Path) -> None:
    server = ApiServer()
    server.kinds = {"v1": [("Pod", "pods")], "apps/v1": [("Deployment", "deployments")]}
    with running_api_server(server, tmp_path) as kubeconfig:
        refused = status(kubeconfig).exception
    assert isinstance(refused, SemfaceError)
    assert refused.reason is Reason.FIELD_INVALID


def test_labels_may_hold_anything() -> None:
    text = 'calls{path="a,b=\\"c\\" d",code="OK"} 2\ncalls 1\n'
    assert list(samples(text, "calls")) == [({"path": 'a,b=\\"c\\" d', "code": "OK"}, 2.0), ({}, 1.0)]
