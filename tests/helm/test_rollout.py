"""A rollout between two versions: real Tritons and services, the chart's own objects in a stub of the API server."""

import contextlib
import copy
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from semface.inference.cpu_server import CpuServer
from tests.gateway.enrolled.servers import free_port
from tests.helm.chart import NAMESPACE, RELEASE, of_kind, rendered
from tests.operations.api_server import ApiServer, Object, running_api_server
from tests.services.stack import running_stack
from tests.triton_server import running_triton

pytestmark = pytest.mark.helm

DEPLOYMENTS = f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments"
SERVICES = f"/api/v1/namespaces/{NAMESPACE}/services"
PODS = f"/api/v1/namespaces/{NAMESPACE}/pods"
JOBS = f"/apis/batch/v1/namespaces/{NAMESPACE}/jobs"
HTTP_ROUTES = f"/apis/gateway.networking.k8s.io/v1/namespaces/{NAMESPACE}/httproutes"
GRPC_ROUTES = f"/apis/gateway.networking.k8s.io/v1/namespaces/{NAMESPACE}/grpcroutes"
COMPONENT, TRACK = "app.kubernetes.io/component", "semface.dev/track"
NETWORK = "expression_recognition"


def second_version(first: Path, path: Path, factor: float) -> Path:
    """Copy a repository and put a version 2 of one network into it, with every weight times ``factor``."""
    shutil.copytree(first, path)
    network = onnx.load(path / NETWORK / "1" / "model.onnx")
    for tensor in network.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if np.issubdtype(values.dtype, np.floating):
            tensor.CopyFrom(numpy_helper.from_array((values * factor).astype(values.dtype), tensor.name))
    (path / NETWORK / "2").mkdir()
    onnx.save(network, path / NETWORK / "2" / "model.onnx")
    return path


@contextlib.contextmanager
def installation(repository: Path, folder: Path) -> Iterator[tuple[CpuServer, int, int]]:
    """Serve ``repository`` on a Triton and the three services before it; yields it, their port and their metrics'."""
    folder.mkdir()
    metrics = free_port()
    with (
        running_triton(repository, folder, metrics_port=0) as triton,
        running_stack(repository, inference=triton.url, metrics_port=metrics) as address,
    ):
        yield triton, int(address.rpartition(":")[2]), metrics


class PlayedCluster(ApiServer):
    """Does what controllers do: deployments get pods, jobs come to an end."""

    def __init__(self, places: dict[str, tuple[CpuServer, int, int]]) -> None:
        super().__init__()
        self.places = places
        self.weights: list[int] = []
        self.changed = self._control
        self.kinds = {"v1": [("Service", "services"), ("Pod", "pods")], "batch/v1": [("Job", "jobs")]}
        self.kinds |= {"apps/v1": [("Deployment", "deployments")]}
        self.kinds |= {"gateway.networking.k8s.io/v1": [("HTTPRoute", "httproutes"), ("GRPCRoute", "grpcroutes")]}
        documents = copy.deepcopy(rendered("values-gpu.yaml"))
        places_of = {"Service": SERVICES, "Job": JOBS, "HTTPRoute": HTTP_ROUTES, "GRPCRoute": GRPC_ROUTES}
        for document in of_kind(documents, *places_of):
            self.add(places_of[document["kind"]], document)
        for deployment in of_kind(documents, "Deployment"):
            self.add(DEPLOYMENTS, deployment)
            self._control(f"{DEPLOYMENTS}/{deployment['metadata']['name']}", deployment)

    def _control(self, path: str, document: Object) -> None:
        if path.startswith(DEPLOYMENTS):
            replicas = document["spec"].get("replicas", 1)
            document["status"] = {
                "observedGeneration": document["metadata"]["generation"],
                "updatedReplicas": replicas,
                "readyReplicas": replicas,
            }
            self._start_pod(document)
        elif path.startswith(JOBS):
            document["status"] = {"succeeded": 1}
        elif path.startswith(HTTP_ROUTES):
            backends = document["spec"]["rules"][0]["backendRefs"]
            self.weights.append(sum(one["weight"] for one in backends if one["name"].endswith("-candidate")))

    def _start_pod(self, deployment: Object) -> None:
        pod = copy.deepcopy(deployment["spec"]["template"])
        labels = pod["metadata"]["labels"]
        triton, grpc, metrics = self.places[labels[TRACK]]
        ports = {"grpc": triton.port, "metrics": triton.metrics_port} if labels[COMPONENT] == "triton" else {}
        ports = ports or {"grpc": grpc, "metrics": metrics}
        for container in pod["spec"]["containers"]:
            for port in container["ports"]:
                port["containerPort"] = ports.get(port["name"], port["containerPort"])
        name = f"{deployment['metadata']['name']}-0"
        pod["metadata"] |= {"name": name}
        pod["status"] = {"phase": "Running", "podIP": "127.0.0.1"}
        pod["status"]["containerStatuses"] = [{"ready": True, "restartCount": 0} for _ in pod["spec"]["containers"]]
        self.add(PODS, pod)

    def _delete(self, path: str, query: dict[str, list[str]], body: Object | None) -> tuple[int, Any]:
        if path.startswith(DEPLOYMENTS):
            self.objects.pop(f"{PODS}/{path.rpartition('/')[2]}-0", None)
        return super()._delete(path, query, body)

    def names(self, collection: str) -> set[str]:
        return {path.rpartition("/")[2] for path in self.objects if path.rpartition("/")[0] == collection}


Place = tuple[CpuServer, int, int]


@pytest.fixture(scope="module")
def stable(tiny_repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with installation(tiny_repository, tmp_path_factory.mktemp("stable") / "1") as place:
        yield place


@pytest.fixture(scope="module")
def agreeing(tiny_repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A version whose weights differ by a ten-thousandth."""
    folder = tmp_path_factory.mktemp("agreeing")
    with installation(second_version(tiny_repository, folder / "second", 1.0001), folder / "2") as place:
        yield place


@pytest.fixture(scope="module")
def disagreeing(tiny_repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A version that takes every expression for the one that is least likely."""
    folder = tmp_path_factory.mktemp("disagreeing")
    with installation(second_version(tiny_repository, folder / "second", -1.0), folder / "2") as place:
        yield place


@contextlib.contextmanager
def cluster(stable: Place, candidate: Place, folder: Path) -> Iterator[tuple[PlayedCluster, Path]]:
    played = PlayedCluster({"stable": stable, "candidate": candidate})
    with running_api_server(played, folder) as kubeconfig:
        yield played, kubeconfig


def roll_out(kubeconfig: Path, *options: str) -> "subprocess.Popen[str]":
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SEMFACE_")}
    environment |= {"KUBECONFIG": str(kubeconfig), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "semface.cli", "ops", "rollout", "--namespace", NAMESPACE, "--release", RELEASE]
    command += ["--image", "semface:0.2.0", "--triton-image", "semface-triton:0.2.0", "--json", *options]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, env=environment, text=True, **pipes)  # type: ignore[call-overload,no-any-return]


def finished(process: "subprocess.Popen[str]") -> tuple[int, dict[str, Any], str]:
    out, said = process.communicate(timeout=240)
    return process.returncode, json.loads(out) if out.startswith("{") else {}, said


def test_a_version_that_agrees_is_promoted_step_by_step(stable: Place, agreeing: Place, tmp_path: Path) -> None:
    with cluster(stable, agreeing, tmp_path) as (played, kubeconfig):
        code, report, said = finished(roll_out(kubeconfig, "--shares", "10,50", "--watch-seconds", "0"))
    assert code == 0, said
    assert report["outcome"] == "promoted"
    assert [step["share"] for step in report["steps"]] == [0, 10, 50]
    assert all(step["agreement"] == 1.0 for step in report["steps"])
    assert report["steps"][1]["candidate"]["calls"] > 0
    assert report["steps"][1]["candidate"]["errors"] == 0
    assert played.weights == [10, 50, 0, 0]
    assert not any(name.endswith("-candidate") for name in played.names(DEPLOYMENTS) | played.names(SERVICES))
    images = {
        container["image"]
        for path, document in played.objects.items()
        if path.startswith(DEPLOYMENTS)
        for container in document["spec"]["template"]["spec"]["containers"]
    }
    assert images == {"semface:0.2.0", "semface-triton:0.2.0"}

    assert_serves_the_engines_that_were_built(played)


def assert_serves_the_engines_that_were_built(played: PlayedCluster) -> None:
    triton = played.objects[f"{DEPLOYMENTS}/semface-triton-l4"]["spec"]["template"]["spec"]["containers"][0]
    served = next(one for one in triton["args"] if one.startswith("--model-repository"))
    built = [document for path, document in played.objects.items() if path.startswith(JOBS)]
    newest = next(one for one in built if "semface:0.2.0" in one["spec"]["template"]["spec"]["containers"][0]["image"])
    installed = newest["spec"]["template"]["spec"]["containers"][0]["args"]
    folder = served.removeprefix("--model-repository=")
    assert re.fullmatch(r"/engines/l4/[0-9a-f]{10}", folder)
    assert f"--serving={folder}" in installed
    assert f"--built={folder}.built" in installed
    assert "--server=semface-triton-l4-candidate:8001" in installed


def test_a_version_that_disagrees_goes_back_before_it_gets_a_call(
    stable: Place, disagreeing: Place, tmp_path: Path
) -> None:
    with cluster(stable, disagreeing, tmp_path) as (played, kubeconfig):
        code, report, said = finished(roll_out(kubeconfig, "--shares", "10", "--watch-seconds", "0"))
    assert code == 1, said
    assert report["outcome"] == "went back"
    assert "made-up faces" in report["reason"]
    assert set(played.weights) == {0}
    assert_nothing_changed(played)


def test_a_version_whose_triton_dies_goes_back(stable: Place, disagreeing: Place, tmp_path: Path) -> None:
    with cluster(stable, disagreeing, tmp_path) as (played, kubeconfig):
        first_share = played.changed

        def dies_under_calls(path: str, document: Object) -> None:
            first_share(path, document)
            if played.weights and played.weights[-1] == 10:
                played.places["candidate"][0].stop()

        played.changed = dies_under_calls
        options = ("--shares", "10", "--watch-seconds", "0", "--agreement", "0")
        try:
            code, report, said = finished(roll_out(kubeconfig, *options))
        finally:
            disagreeing[0].start()
    assert code == 1, said
    assert "candidate" in report["reason"]
    assert played.weights[0] == 10
    assert played.weights[-1] == 0
    assert_nothing_changed(played)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_rollout_leaves_no_candidate(
    stable: Place, agreeing: Place, tmp_path: Path, number: signal.Signals
) -> None:
    with cluster(stable, agreeing, tmp_path) as (played, kubeconfig):
        process = roll_out(kubeconfig, "--shares", "10", "--watch-seconds", "200")
        assert process.stderr is not None
        while not process.stderr.readline().startswith("the candidate is ready"):
            assert process.poll() is None
        process.send_signal(number)
        code, _, said = finished(process)
    assert code == 130, said
    assert_nothing_changed(played)


def assert_nothing_changed(played: PlayedCluster) -> None:
    fresh = PlayedCluster(played.places)
    assert played.names(DEPLOYMENTS) == fresh.names(DEPLOYMENTS)
    assert played.names(SERVICES) == fresh.names(SERVICES)
    assert played.names(JOBS) == fresh.names(JOBS)
    for path, document in fresh.objects.items():
        assert played.objects[path]["spec"] == document["spec"], path
