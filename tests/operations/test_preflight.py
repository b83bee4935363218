"""Preflight names what a cluster lacks, against a stub that answers as an API server does."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.operations.api_server import ApiServer, running_api_server

NAMESPACED = "/api/v1/namespaces/faces"
DOCUMENTS: list[dict[str, Any]] = [
    {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "semface-triton"},
        "spec": {
            "template": {
                "spec": {
                    "nodeSelector": {"gpu": "l4"},
                    "containers": [
                        {
                            "name": "triton",
                            "resources": {"limits": {"nvidia.com/gpu": 1}},
                            "env": [
                                {"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "semface-triton", "key": "key"}}}
                            ],
                        }
                    ],
                    "volumes": [
                        {"name": "engines", "persistentVolumeClaim": {"claimName": "engines"}},
                        {"name": "tls", "secret": {"secretName": "made-by-cert-manager"}},
                    ],
                }
            }
        },
    },
    {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "ring"}, "spec": {}},
    {
        "apiVersion": "cert-manager.io/v1",
        "kind": "Certificate",
        "metadata": {"name": "tls"},
        "spec": {"secretName": "made-by-cert-manager"},
    },
    {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": "route"},
        "spec": {"parentRefs": [{"name": "public", "namespace": "edge"}]},
    },
]


def whole_cluster() -> ApiServer:
    """Return a cluster that lacks nothing."""
    server = ApiServer()
    server.kinds = {
        "v1": [("PersistentVolumeClaim", "persistentvolumeclaims"), ("Node", "nodes")],
        "apps/v1": [("Deployment", "deployments")],
        "cert-manager.io/v1": [("Certificate", "certificates")],
        "gateway.networking.k8s.io/v1": [("HTTPRoute", "httproutes")],
        "storage.k8s.io/v1": [("StorageClass", "storageclasses")],
    }
    server.add("/api/v1/namespaces", {"metadata": {"name": "faces"}})
    server.add(f"{NAMESPACED}/secrets", {"metadata": {"name": "semface-triton"}, "data": {"key": "a2V5"}})
    server.add(f"{NAMESPACED}/persistentvolumeclaims", {"metadata": {"name": "engines"}})
    server.add("/apis/gateway.networking.k8s.io/v1/namespaces/edge/gateways", {"metadata": {"name": "public"}})
    default = {"storageclass.kubernetes.io/is-default-class": "true"}
    server.add("/apis/storage.k8s.io/v1/storageclasses", {"metadata": {"name": "fast", "annotations": default}})
    allocatable = {"allocatable": {"nvidia.com/gpu": "1"}}
    server.add("/api/v1/nodes", {"metadata": {"name": "node", "labels": {"gpu": "l4"}}, "status": allocatable})
    return server


@pytest.fixture
def server() -> ApiServer:
    return whole_cluster()


@pytest.fixture
def kubeconfig(server: ApiServer, tmp_path: Path) -> Iterator[Path]:
    with running_api_server(server, tmp_path) as path:
        yield path


def preflight(kubeconfig: Path, text: str | None = None) -> tuple[int, str, str]:
    manifest = yaml.safe_dump_all(DOCUMENTS) if text is None else text
    done = subprocess.run(
        [sys.executable, "-m", "semface.cli", "ops", "preflight", "-", "--namespace", "faces", "--json"],
        input=manifest,
        env=os.environ | {"KUBECONFIG": str(kubeconfig)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.returncode, done.stdout, done.stderr


def missing(answer: str) -> dict[str, str]:
    return {one["what"]: one["missing"] for one in json.loads(answer)["findings"] if one["missing"]}


def test_a_cluster_that_has_all_passes(kubeconfig: Path) -> None:
    code, out, said = preflight(kubeconfig)
    assert (code, said) == (0, "")
    assert missing(out) == {}
    assert len(json.loads(out)["findings"]) == 11


def test_everything_that_lacks_is_named_at_once(server: ApiServer, kubeconfig: Path) -> None:
    server.version = {"major": "1", "minor": "28"}
    server.objects.clear()
    del server.kinds["cert-manager.io/v1"]
    code, out, _ = preflight(kubeconfig)
    assert code == 1
    told = missing(out)
    assert "1.30" in told["Kubernetes 1.28"]
    assert "create namespace faces" in told["namespace faces"]
    assert "cert-manager" in told["Certificate (cert-manager.io/v1)"]
    assert "semface ops secrets" in told["Secret semface-triton"]
    assert {"PersistentVolumeClaim engines", "Gateway edge/public", "a default StorageClass"} <= told.keys()
    assert "gpu=l4" in told["nodes for semface-triton: 0"]
    # cert-manager makes it.
    assert "Secret made-by-cert-manager" not in told


def test_a_secret_without_the_key_is_told(server: ApiServer, kubeconfig: Path) -> None:
    server.objects[f"{NAMESPACED}/secrets/semface-triton"]["data"] = {}
    assert missing(preflight(kubeconfig)[1]) == {"Secret semface-triton": "has no key key"}


def test_what_one_may_not_create_is_told(server: ApiServer, kubeconfig: Path) -> None:
    server.forbidden.add(("create", "deployments"))
    told = missing(preflight(kubeconfig)[1])
    assert list(told) == ["Deployment (apps/v1)"]
    assert "may not" in told["Deployment (apps/v1)"]


@pytest.mark.parametrize(("text", "said"), [("{", "no YAML"), ("", "helm template"), ("- a\n", "helm template")])
def test_what_is_no_manifest_is_refused_in_one_line(kubeconfig: Path, text: str, said: str) -> None:
    code, out, error = preflight(kubeconfig, text)
    assert code == 1
    assert out == ""
    assert error.count("\n") == 1
    assert said in error


def test_a_cluster_that_is_away_is_one_line(tmp_path: Path) -> None:
    with running_api_server(ApiServer(), tmp_path) as kubeconfig:
        pass
    code, _, said = preflight(kubeconfig)
    assert code == 1
    assert "cannot be reached" in said
    assert said.count("\n") == 1


def test_without_a_kubeconfig_it_says_what_to_set(tmp_path: Path) -> None:
    code, _, said = preflight(tmp_path / "none")
    assert code == 1
    assert "KUBECONFIG" in said
