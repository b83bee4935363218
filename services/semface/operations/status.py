"""One screen of an installation: pods, versions, models, engines, queue times."""

from collections.abc import Mapping
from typing import Any, Final

from semface.errors import SemfaceError
from semface.operations.cluster import Namespace, Object
from semface.operations.exposition import samples, total

COMPONENT: Final = "app.kubernetes.io/component"
INSTANCE: Final = "app.kubernetes.io/instance"
TRACK: Final = "semface.dev/track"
METRICS_PORTS: Final[Mapping[str, str]] = {
    "extraction": "metrics",
    "codec": "metrics",
    "understanding": "metrics",
    "gateway": "http",
    "triton": "metrics",
}
"""Each component that serves to the name of the port where its metrics are."""


def status(namespace: Namespace, release: str) -> dict[str, Any]:
    """Return what there is of ``release``: deployments, pods, models, engines.

    What a pod does not tell is None: one that starts has no metrics yet. Raises what the cluster's API raises.
    """
    labels = {INSTANCE: release}
    deployments = namespace.list("deployments", **labels)
    pods = [_pod(namespace, pod) for pod in namespace.list("pods", **labels)]
    return {
        "release": release,
        "deployments": [_deployment(one) for one in deployments],
        "pods": [pod for pod in pods if pod is not None],
        "models": _models(namespace, release),
        "engines": [_engine(job) for job in namespace.list("jobs", **labels, **{COMPONENT: "engines"})],
    }


def _deployment(document: Object) -> dict[str, Any]:
    told = document.get("status", {})
    containers = document["spec"]["template"]["spec"]["containers"]
    return {
        "name": document["metadata"]["name"],
        "track": document["spec"]["template"]["metadata"]["labels"].get(TRACK, ""),
        "ready": f"{told.get('readyReplicas', 0)}/{document['spec'].get('replicas', 1)}",
        "image": containers[0]["image"],
    }


def _pod(namespace: Namespace, document: Object) -> dict[str, Any] | None:
    component = document["metadata"]["labels"].get(COMPONENT, "")
    if component not in METRICS_PORTS:
        return None
    told = document.get("status", {})
    containers = told.get("containerStatuses", [])
    text = _metrics(namespace, document)
    return {
        "name": document["metadata"]["name"],
        "phase": told.get("phase", "Unknown"),
        "ready": bool(containers) and all(one["ready"] for one in containers),
        "restarts": sum(one["restartCount"] for one in containers),
        "in_flight": None if text is None else in_flight(component, text),
        "queue_ms": None if text is None or component != "triton" else queue_milliseconds(text),
    }


def in_flight(component: str, text: str) -> int | None:
    """Return the calls that a pod answers right now, from its metrics; None of Triton, which does not tell."""
    if component == "triton":
        return None
    return round(total(text, "semface_http_in_flight" if component == "gateway" else "semface_grpc_in_flight"))


def queue_milliseconds(text: str) -> float | None:
    """Return the mean time of requests in a queue since Triton's start, None before the first."""
    requests = total(text, "nv_inference_request_success")
    return None if not requests else round(total(text, "nv_inference_queue_duration_us") / requests / 1000, 3)


def metrics_port(pod: Object) -> int | None:
    """Return the port of a pod's metrics, None where it has none."""
    name = METRICS_PORTS.get(pod["metadata"]["labels"].get(COMPONENT, ""))
    ports = [port for one in pod["spec"]["containers"] for port in one.get("ports", ())]
    return next((int(port["containerPort"]) for port in ports if port.get("name") == name), None)


def _metrics(namespace: Namespace, pod: Object) -> str | None:
    port = metrics_port(pod)
    if port is None or pod.get("status", {}).get("phase") != "Running":
        return None
    try:
        return namespace.metrics(pod["metadata"]["name"], port)
    except (SemfaceError, LookupError):
        return None


def _models(namespace: Namespace, release: str) -> list[dict[str, Any]]:
    """Return name, version and requests of each network, over all Triton pods."""
    found: dict[tuple[str, str], float] = {}
    for pod in namespace.list("pods", **{INSTANCE: release, COMPONENT: "triton"}):
        text = _metrics(namespace, pod) or ""
        for labels, value in samples(text, "nv_inference_request_success"):
            key = (labels["model"], labels["version"])
            found[key] = found.get(key, 0) + value
    return [{"name": name, "version": version, "requests": round(n)} for (name, version), n in sorted(found.items())]


def _engine(job: Object) -> dict[str, Any]:
    told = job.get("status", {})
    state = "built" if told.get("succeeded") else "building" if told.get("active") else "failed"
    return {"job": job["metadata"]["name"], "pool": job["metadata"]["labels"].get("semface.dev/pool"), "state": state}
