"""What a cluster lacks for the objects of a rendered chart, told before anything is installed."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from semface.operations.cluster import Cluster, Object

LEAST_MINOR: Final = 30
"""Kubernetes 1.30 has the sleep before a stop and gRPC probes by default."""

EXTENSIONS: Final = {
    "cert-manager.io": "cert-manager (or tls.enabled=false)",
    "gateway.networking.k8s.io": "the Gateway API, with the resources of its version 1.4",
    "keda.sh": "KEDA (or autoscaling.keda.enabled=false)",
    "monitoring.coreos.com": "the Prometheus operator (or monitoring.enabled=false)",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    what: str
    missing: str | None = None
    """What is missing and what to do, None where all is there."""


def preflight(cluster: Cluster, namespace: str, documents: Sequence[Object]) -> list[Finding]:
    """Return what was looked at in ``cluster`` for ``documents``, as `helm template` renders them."""
    wanted = [document for document in documents if document]
    return [
        _version(cluster),
        _namespace(cluster, namespace),
        *_kinds(cluster, namespace, wanted),
        *_references(cluster, namespace, wanted),
        *_gateways(cluster, namespace, wanted),
        *_storage(cluster, wanted),
        *_nodes(cluster, wanted),
    ]


def _version(cluster: Cluster) -> Finding:
    told = cluster.request("GET", "version")
    minor = int(re.sub(r"\D", "", str(told["minor"])) or 0)
    name = f"Kubernetes {told['major']}.{minor}"
    return Finding(name, None if minor >= LEAST_MINOR else f"1.{LEAST_MINOR} or newer is needed")


def _namespace(cluster: Cluster, name: str) -> Finding:
    found = cluster.find(f"api/v1/namespaces/{name}")
    missing = None if found else f"kubectl create namespace {name}, or helm install --create-namespace"
    return Finding(f"namespace {name}", missing)


def _kinds(cluster: Cluster, namespace: str, documents: Iterable[Object]) -> Iterator[Finding]:
    wanted = sorted({(str(document["apiVersion"]), str(document["kind"])) for document in documents})
    served: dict[str, dict[str, str]] = {}
    for version, kind in wanted:
        if version not in served:
            listing = cluster.find(f"{'apis' if '/' in version else 'api'}/{version}") or {"resources": []}
            served[version] = {str(one["kind"]): str(one["name"]) for one in reversed(listing["resources"])}
        group = version.rpartition("/")[0]
        if kind not in served[version]:
            yield Finding(f"{kind} ({version})", f"install {EXTENSIONS.get(group, f'what brings {version}')}")
        elif not cluster.may("create", group, served[version][kind], namespace):
            yield Finding(
                f"{kind} ({version})", "you may not create it in this namespace; ask who administers the cluster"
            )
        else:
            yield Finding(f"{kind} ({version})")


def _references(cluster: Cluster, namespace: str, documents: Sequence[Object]) -> Iterator[Finding]:
    """Secrets with their keys, claims and ConfigMaps that the documents use and do not bring themselves."""
    brought = {(document["kind"], document["metadata"]["name"]) for document in documents}
    brought |= {("Secret", one["spec"]["secretName"]) for one in documents if one["kind"] == "Certificate"}
    wanted: dict[tuple[str, str], set[str]] = {}
    for document in documents:
        for kind, name, key in _used(document):
            if (kind, name) not in brought:
                wanted.setdefault((kind, name), set()).update(key)
    resources = {"Secret": "secrets", "PersistentVolumeClaim": "persistentvolumeclaims", "ConfigMap": "configmaps"}
    for (kind, name), keys in sorted(wanted.items()):
        found = cluster.find(f"api/v1/namespaces/{namespace}/{resources[kind]}/{name}")
        if found is None:
            make = "`semface ops secrets` makes those of the chart" if kind == "Secret" else "make it beforehand"
            yield Finding(f"{kind} {name}", f"there is none; {make}")
            continue
        lacking = sorted(keys - (found.get("data") or {}).keys())
        yield Finding(f"{kind} {name}", f"has no key {', '.join(lacking)}" if lacking else None)


def _used(node: Any) -> Iterator[tuple[str, str, set[str]]]:
    if isinstance(node, dict):
        if "secretKeyRef" in node:
            yield "Secret", node["secretKeyRef"]["name"], {node["secretKeyRef"]["key"]}
        if isinstance(node.get("secret"), dict) and "secretName" in node["secret"]:
            yield "Secret", node["secret"]["secretName"], {one["key"] for one in node["secret"].get("items", [])}
        if isinstance(node.get("persistentVolumeClaim"), dict):
            yield "PersistentVolumeClaim", node["persistentVolumeClaim"]["claimName"], set()
        if isinstance(node.get("configMap"), dict) and "name" in node["configMap"]:
            yield "ConfigMap", node["configMap"]["name"], set()
        for one in node.get("caCertificateRefs", ()):
            yield one["kind"], one["name"], {"ca.crt"}
        for one in node.get("imagePullSecrets", ()):
            yield "Secret", one["name"], set()
    for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from _used(child)


def _gateways(cluster: Cluster, namespace: str, documents: Iterable[Object]) -> Iterator[Finding]:
    parents = {
        (parent.get("namespace", namespace), parent["name"])
        for document in documents
        if document["kind"] in ("HTTPRoute", "GRPCRoute")
        for parent in document["spec"]["parentRefs"]
    }
    for where, name in sorted(parents):
        found = cluster.find(f"apis/gateway.networking.k8s.io/v1/namespaces/{where}/gateways/{name}")
        yield Finding(
            f"Gateway {where}/{name}", None if found else "there is none; name yours in entrances.*.parentRefs"
        )


def _storage(cluster: Cluster, documents: Iterable[Object]) -> Iterator[Finding]:
    claims = [one["spec"] for one in documents if one["kind"] == "PersistentVolumeClaim"]
    claims += [
        claim["spec"] for one in documents for claim in one.get("spec", {}).get("volumeClaimTemplates", ()) if claim
    ]
    if not claims:
        return
    classes = cluster.request("GET", "apis/storage.k8s.io/v1/storageclasses")["items"]
    names = {one["metadata"]["name"] for one in classes}
    mark = "storageclass.kubernetes.io/is-default-class"
    default = any(one["metadata"].get("annotations", {}).get(mark) == "true" for one in classes)
    for wanted in sorted({str(claim.get("storageClassName", "")) for claim in claims}):
        if wanted:
            yield Finding(f"StorageClass {wanted}", None if wanted in names else "there is none")
        else:
            yield Finding("a default StorageClass", None if default else "there is none; name one in *.className")


def _nodes(cluster: Cluster, documents: Iterable[Object]) -> Iterator[Finding]:
    """Nodes with GPUs and the labels that are asked for."""
    wanted = []
    for document in documents:
        pod = document.get("spec", {}).get("template", {}).get("spec", {})
        count = sum(
            int(one["resources"]["limits"].get("nvidia.com/gpu", 0))
            for one in pod.get("containers", ())
            if "limits" in one.get("resources", {})
        )
        if count:
            wanted.append((pod.get("nodeSelector", {}), count, document["metadata"]["name"]))
    if not wanted:
        return
    nodes = cluster.request("GET", "api/v1/nodes")["items"]
    for selector, count, name in wanted:
        fitting = [
            node
            for node in nodes
            if selector.items() <= node["metadata"].get("labels", {}).items()
            and int(node["status"].get("allocatable", {}).get("nvidia.com/gpu", 0)) >= count
        ]
        labels = ", ".join(f"{key}={value}" for key, value in selector.items()) or "any label"
        missing = f"no node has {count} nvidia.com/gpu and {labels}; is NVIDIA's device plugin installed?"
        yield Finding(f"nodes for {name}: {len(fitting)}", None if fitting else missing)
