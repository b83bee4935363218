"""What Helm renders is what Kubernetes and its extensions take."""

import json
import subprocess
from typing import Any

import pytest

from tests.helm.chart import (
    CHART,
    HELMS,
    TOGGLES,
    TOOLS,
    VALUES_FILES,
    Document,
    helm,
    rendered,
    unique_documents,
)

pytestmark = pytest.mark.helm
KUBERNETES = ("1.31", "1.37")
CORE_GROUPS = {"v1", "apps/v1", "batch/v1", "policy/v1", "autoscaling/v2"}


def is_core(document: Document) -> bool:
    return document["apiVersion"] in CORE_GROUPS or (
        document["apiVersion"].split("/")[0].endswith(".k8s.io") and (not document["apiVersion"].startswith("gateway."))
    )


def check_core(documents: list[Document]) -> dict[str, Any]:
    script = str(CHART.parents[1] / "tests" / "helm" / "core_kinds.py")
    command = [str(TOOLS / "venv" / "bin" / "python"), script, *KUBERNETES]
    done = subprocess.run(command, input=json.dumps(documents), capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def check_custom(documents: list[Document]) -> dict[str, Any]:
    script = str(CHART.parents[1] / "tests" / "helm" / "custom_kinds.mjs")
    command = ["node", script, str(TOOLS / "node_modules")]
    done = subprocess.run(command, input=json.dumps(documents), capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told


@pytest.mark.parametrize("which", HELMS)
@pytest.mark.parametrize("values", VALUES_FILES)
def test_helm_lint_has_nothing_to_say(which: str, values: str) -> None:
    done = helm(which, "lint", "--strict", str(CHART), "--values", str(CHART / values))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("values", VALUES_FILES)
def test_both_versions_of_helm_render_the_same(values: str) -> None:
    assert rendered(values, which="helm3") == rendered(values, which="helm4")


@pytest.mark.parametrize("name", TOGGLES)
def test_every_toggle_renders_in_both_versions_of_helm(name: str) -> None:
    assert rendered(sets=TOGGLES[name], which="helm3") == rendered(sets=TOGGLES[name])


def test_kubernetes_takes_every_object() -> None:
    documents = [document for document in unique_documents() if is_core(document)]
    told = check_core(documents)
    assert told["problems"] == []
    assert told["checked"] == len(documents) * len(KUBERNETES) > 100


def test_a_field_that_kubernetes_does_not_know_is_found() -> None:
    wrong = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "wrong"}, "dta": {}}
    assert len(check_core([wrong])["problems"]) == len(KUBERNETES)


def test_custom_resources_hold_to_their_schemas() -> None:
    documents = [document for document in unique_documents() if not is_core(document)]
    kinds = {document["kind"] for document in documents}
    assert kinds == {
        "BackendTLSPolicy",
        "Certificate",
        "GRPCRoute",
        "HTTPRoute",
        "Issuer",
        "PrometheusRule",
        "ScaledObject",
        "ServiceMonitor",
    }
    assert check_custom(documents) == {"checked": len(documents), "problems": []}


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({"apiVersion": "example.com/v1", "kind": "Surprise", "spec": {}}, "has no schema"),
        ({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "spec": {"hostnames": 3}}, "hostnames"),
        (
            {"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "spec": {"hostname": ["a.example"]}},
            "spec.hostname is no field",
        ),
    ],
)
def test_a_custom_resource_at_fault_is_found(document: Document, said: str) -> None:
    problems = check_custom([document | {"metadata": {"name": "wrong"}}])["problems"]
    assert len(problems) == 1
    assert said in problems[0]
