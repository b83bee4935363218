"""The chart rendered by real Helm, and what tests ask of its documents."""

import json
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "helm" / "semface"
TOOLS = ROOT / "build" / "helm"
HELMS = ("helm3", "helm4")
VALUES_FILES = ("values.yaml", "values-dev.yaml", "values-gpu.yaml", "values-ha.yaml")
RELEASE, NAMESPACE = "semface", "faces"

GATEWAY_API = (
    "entrances.http.enabled=true",
    "entrances.http.hostnames={faces.example.com}",
    "entrances.http.parentRefs[0].name=public",
    "entrances.grpc.enabled=true",
    "entrances.grpc.hostnames.codec=codec.example.com",
    "entrances.grpc.parentRefs[0].name=public",
    "entrances.grpc.caConfigMap=ca",
)
ENGINES = (
    "triton.engines.enabled=true",
    "triton.engines.claim=engines",
    "triton.engines.pictures.claim=pictures",
)
TOGGLES: Mapping[str, tuple[str, ...]] = {
    "embedded": ("inference.mode=embedded",),
    "plain": ("tls.enabled=false",),
    "entrances": GATEWAY_API,
    "plain entrances": (*GATEWAY_API, "tls.enabled=false"),
    "issuer": ("tls.issuer.name=corporate", "tls.issuer.kind=ClusterIssuer"),
    "hpa": ("autoscaling.hpa.enabled=true",),
    "keda": ("autoscaling.keda.enabled=true", "autoscaling.keda.prometheus=http://prometheus:9090"),
    "monitoring": ("monitoring.enabled=true", "monitoring.dashboard.enabled=true", "monitoring.labels.release=prom"),
    "engines": ENGINES,
    "models from a claim": (*ENGINES, "models.source=claim", "models.claim=models", "models.folder=2026-12"),
    "rollout": ("rollout.enabled=true",),
    "external redis": ("redis.mode=external", "secrets.redisUrl=url", "redis.external.cidrs={10.0.0.0/8}"),
    "backup": ("redis.backup.enabled=true", "redis.backup.claim=backup"),
    "open": ("networkPolicies.enabled=false",),
    "a processor's pool": ("triton.pools[0].gpus=0",),
    "pull secrets": ("imagePullSecrets={registry}", "image.registry=registry.example", "image.tag=1.2.3"),
    "tracing": ("tracing.enabled=true", "tracing.ratio=1"),
    "issuer of tokens": ("networkPolicies.issuerCidrs={192.0.2.0/24}",),
}
"""Sets of values, each beside the defaults."""

Document = dict[str, Any]


def helm(which: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run ``helm3`` or ``helm4``."""
    return subprocess.run([str(TOOLS / which), *arguments], capture_output=True, text=True, timeout=60)


def template(which: str, values: str, sets: Sequence[str] = ()) -> "subprocess.CompletedProcess[str]":
    """Render the chart with a values file and ``--set``."""
    options = [option for one in sets for option in ("--set", one)]
    file = str(CHART / values)
    return helm(which, "template", RELEASE, str(CHART), "--namespace", NAMESPACE, "--values", file, *options)


@cache
def rendered(values: str = "values.yaml", sets: tuple[str, ...] = (), which: str = "helm4") -> list[Document]:
    """Return the documents; a chart that does not render fails the test with Helm's words."""
    done = template(which, values, sets)
    assert done.returncode == 0, done.stderr
    return [document for document in yaml.safe_load_all(done.stdout) if document]


def all_renderings() -> dict[str, list[Document]]:
    """Return every values file and every set of toggles, rendered."""
    told = {values: rendered(values) for values in VALUES_FILES}
    return told | {name: rendered(sets=sets) for name, sets in TOGGLES.items()}


def of_kind(documents: Iterable[Document], *kinds: str) -> list[Document]:
    """Return the documents of ``kinds``."""
    return [document for document in documents if document["kind"] in kinds]


def pod_templates(documents: Iterable[Document]) -> Iterator[tuple[str, Document, Document]]:
    """Yield name, document and pod (metadata and spec) of everything that makes pods."""
    for document in documents:
        spec = document.get("spec", {})
        name = f"{document['kind']}/{document['metadata']['name']}"
        if document["kind"] == "Pod":
            yield name, document, {"metadata": document["metadata"], "spec": spec}
        elif document["kind"] == "CronJob":
            yield name, document, spec["jobTemplate"]["spec"]["template"]
        elif "template" in spec and "spec" in spec["template"]:
            yield name, document, spec["template"]


def containers(pod: Document) -> list[Document]:
    """Return every container of a pod, those that run first among them."""
    return [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]


def unique_documents() -> list[Document]:
    """Return each different document of all renderings once."""
    found = {json.dumps(item, sort_keys=True): item for items in all_renderings().values() for item in items}
    return list(found.values())
