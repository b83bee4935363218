"""A second set of deployments beside those that serve: the same but for image or networks, on a track of its own."""

import copy
import hashlib
import json
from dataclasses import dataclass
from typing import Any, Final

from semface.operations.cluster import Object
from semface.operations.status import COMPONENT, TRACK

CANDIDATE: Final = "candidate"
SUFFIX: Final = "-candidate"


@dataclass(frozen=True, slots=True)
class Change:
    """What is new: images, or the folder of the networks in their claim. What is None stays."""

    image: str | None = None
    triton_image: str | None = None
    models_folder: str | None = None

    @property
    def revision(self) -> str:
        """Return what names folders and Jobs of this change."""
        told = json.dumps([self.image, self.triton_image, self.models_folder])
        return hashlib.sha256(told.encode()).hexdigest()[:10]

    def apply(self, pod: Object) -> None:
        """Change the pod of a Deployment or Job in place."""
        for container in [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]:
            of_triton = container["name"] in ("triton", "prepare", "build")
            image = self.triton_image if of_triton else self.image
            if image is not None:
                container["image"] = image
            if self.models_folder is not None:
                for mount in container.get("volumeMounts", ()):
                    if mount["name"] == "models" and "subPath" in mount:
                        mount["subPath"] = f"{self.models_folder}/{mount['subPath'].rsplit('/', 1)[-1]}"
            container["args"] = [self._engine_path(one) for one in container.get("args", ())]

    def _engine_path(self, argument: str) -> str:
        """Return ``argument`` with the revision of this change, where it names a repository of engines."""
        head, found, path = argument.partition("/engines/")
        parts = path.split("/")
        if not found or len(parts) != 2:
            return argument
        built = ".built" if parts[1].endswith(".built") else ""
        return f"{head}{found}{parts[0]}/{self.revision}{built}"


def candidate_deployment(stable: Object, change: Change, services: set[str]) -> Object:
    """Return the candidate of a Deployment: one replica, on the track of candidates, asking other candidates.

    ``services`` are the names of the Services that have a candidate of their own.
    """
    document = _bare(stable)
    spec = document["spec"]
    spec["replicas"] = 1
    _move(document["metadata"]["labels"], spec["selector"]["matchLabels"], spec["template"]["metadata"]["labels"])
    for constraint in spec["template"]["spec"].get("topologySpreadConstraints", ()):
        _move(constraint["labelSelector"]["matchLabels"])
    change.apply(spec["template"])
    for container in spec["template"]["spec"]["containers"]:
        for entry in container.get("env", ()):
            for service in services:
                if f"{service}:" in entry.get("value", ""):
                    entry["value"] = entry["value"].replace(f"{service}:", f"{service}{SUFFIX}:")
    return document


def candidate_service(stable: Object) -> Object:
    """Return the Service of candidates beside a Service."""
    document = _bare(stable)
    spec = document["spec"]
    for assigned in ("clusterIPs", "ipFamilies", "ipFamilyPolicy", "internalTrafficPolicy"):
        spec.pop(assigned, None)
    if spec.get("clusterIP") != "None":
        spec.pop("clusterIP", None)
    _move(document["metadata"]["labels"], spec["selector"])
    return document


def candidate_job(stable: Object, change: Change) -> Object:
    """Return the engine Job of the change: as that of what serves, for the candidate's Triton."""
    document = _bare(stable)
    document["metadata"]["name"] = f"{stable['metadata']['name'].rsplit('-', 1)[0]}-{change.revision}"
    document["metadata"]["labels"]["semface.dev/revision"] = change.revision
    for assigned in ("selector", "manualSelector"):
        document["spec"].pop(assigned, None)
    document["spec"]["template"]["metadata"]["labels"] = {
        key: value
        for key, value in document["spec"]["template"]["metadata"]["labels"].items()
        if "controller-uid" not in key and "job-name" not in key
    }
    change.apply(document["spec"]["template"])
    for container in document["spec"]["template"]["spec"]["containers"]:
        container["args"] = [
            one.replace(":8001", f"{SUFFIX}:8001") if one.startswith("--server=") else one
            for one in container.get("args", ())
        ]
    return document


def promoted(stable: Object, change: Change | None) -> Object:
    """Return the patch that brings ``change`` to what serves; None brings back what ``stable`` says."""
    template = copy.deepcopy(stable["spec"]["template"])
    if change is not None:
        change.apply(template)
    pod = {key: template["spec"][key] for key in ("initContainers", "containers") if key in template["spec"]}
    return {"spec": {"template": {"spec": pod}}}


def weighted(route: Object, services: set[str], share: int) -> dict[str, Any]:
    """Return the patch that sends ``share`` percent of a route to the candidates of ``services``; 0 takes them out."""
    rules = copy.deepcopy(route["spec"]["rules"])
    for rule in rules:
        stable = [one for one in rule.get("backendRefs", ()) if not one["name"].endswith(SUFFIX)]
        backends = []
        for one in stable:
            backends.append(one | {"weight": 100 - share if one["name"] in services else one.get("weight", 1)})
            if share and one["name"] in services:
                backends.append(one | {"name": f"{one['name']}{SUFFIX}", "weight": share})
        rule["backendRefs"] = [one | ({"weight": 100} if not share else {}) for one in backends]
    return {"spec": {"rules": rules}}


def component(document: Object) -> str:
    """Return which part of the system an object is of."""
    return str(document["metadata"]["labels"].get(COMPONENT, ""))


def _bare(stable: Object) -> Object:
    """Return a copy of ``stable`` under the candidate's name, without what the API server gave it."""
    document = copy.deepcopy(stable)
    document.pop("status", None)
    kept = {
        key: value for key, value in document["metadata"]["labels"].items() if key != "app.kubernetes.io/managed-by"
    }
    document["metadata"] = {"name": f"{stable['metadata']['name']}{SUFFIX}", "labels": kept}
    return document


def _move(*labels: dict[str, str]) -> None:
    for one in labels:
        one[TRACK] = CANDIDATE
