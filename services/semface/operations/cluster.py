"""A cluster's API server, by the `kubernetes` client: objects as the API tells them, failures as ours."""

import json
import os
from collections.abc import Mapping
from typing import Any, Final, Self

from semface.errors import Reason, SemfaceError

Object = dict[str, Any]
"""An object of the API as JSON."""

SECONDS: Final = 15.0
MERGE_PATCH: Final = "application/merge-patch+json"
NOT_FOUND: Final = 404

GROUPS: Final[Mapping[str, str]] = {
    "deployments": "apis/apps/v1",
    "services": "api/v1",
    "pods": "api/v1",
    "jobs": "apis/batch/v1",
    "httproutes": "apis/gateway.networking.k8s.io/v1",
    "grpcroutes": "apis/gateway.networking.k8s.io/v1",
}
"""Where the kinds that are changed lie in the API."""


class Cluster:
    """One API server."""

    def __init__(self, api: Any) -> None:
        """Speak through ``api``, an ``ApiClient`` of `kubernetes`."""
        self._api = api

    @classmethod
    def connect(cls, context: str | None = None) -> Self:
        """Return the cluster of the kubeconfig, or inside a pod the one it runs in.

        Raises FIELD_INVALID without the extra `ops` or where neither is to be found.
        """
        try:
            from kubernetes import client, config
        except ImportError as error:
            raise SemfaceError(Reason.FIELD_INVALID, "install the extra: pip install 'semface[ops]'") from error
        options = {"context": context, "config_file": os.environ.get("KUBECONFIG")}
        try:
            config.load_config(**{name: value for name, value in options.items() if value})
        except (config.ConfigException, TypeError) as error:
            message = "no cluster is set: point KUBECONFIG at a kubeconfig, or name one of its contexts"
            raise SemfaceError(Reason.FIELD_INVALID, message, field="context") from error
        return cls(client.ApiClient())

    def request(
        self, method: str, path: str, body: Object | None = None, content_type: str = "application/json", **query: str
    ) -> Any:
        """Return what the API answers to ``path``: an object, or text where it is not JSON.

        Raises BACKEND_AWAY where it is away or fails, SCOPE_MISSING where it forbids, and FIELD_INVALID for what it
        refuses; LookupError where there is nothing at ``path``.
        """
        from kubernetes.client.exceptions import ApiException
        from urllib3.exceptions import HTTPError

        headers = {"Accept": "application/json, text/plain, */*", "Content-Type": content_type}
        prepared = self._api.param_serialize(
            method,
            f"/{path}",
            query_params=list(query.items()),
            header_params=headers,
            body=body,
            auth_settings=["BearerToken"],
        )
        try:
            answer = self._api.call_api(*prepared, _request_timeout=SECONDS)
            data = answer.read()
        except (HTTPError, OSError) as error:
            raise SemfaceError(Reason.BACKEND_AWAY, "the API server of the cluster cannot be reached") from error
        except ApiException as error:
            raise _refused(error.status, error.body, path) from error
        if answer.status >= 300:
            raise _refused(answer.status, data, path)
        text = data.decode() if isinstance(data, bytes) else str(data)
        try:
            return json.loads(text)
        except ValueError:
            return text

    def find(self, path: str) -> Object | None:
        """Return the object at ``path``, None where there is none."""
        try:
            found: Object = self.request("GET", path)
        except LookupError:
            return None
        return found

    def may(self, verb: str, group: str, resource: str, namespace: str) -> bool:
        """Return whether whoever asks may do ``verb`` to ``resource`` in ``namespace``."""
        attributes = {"verb": verb, "group": group, "resource": resource, "namespace": namespace}
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": attributes},
        }
        path = "apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
        return bool(self.request("POST", path, review)["status"]["allowed"])


class Namespace:
    """The objects of one namespace."""

    def __init__(self, cluster: Cluster, name: str) -> None:
        """Look into the namespace ``name``."""
        self.cluster = cluster
        self.name = name

    def path(self, resource: str, name: str = "") -> str:
        """Return where ``resource``, or its object ``name``, lies in the API."""
        return f"{GROUPS[resource]}/namespaces/{self.name}/{resource}{'/' + name if name else ''}"

    def list(self, resource: str, **labels: str) -> list[Object]:
        """Return the objects of a kind with ``labels``, none where the kind is not installed."""
        selector = ",".join(f"{key}={value}" for key, value in labels.items())
        try:
            found = self.cluster.request("GET", self.path(resource), labelSelector=selector)
        except LookupError:
            return []
        items: list[Object] = found["items"]
        return sorted(items, key=lambda item: str(item["metadata"]["name"]))

    def create(self, resource: str, document: Object) -> None:
        """Create an object."""
        self.cluster.request("POST", self.path(resource), document)

    def patch(self, resource: str, name: str, change: Object) -> None:
        """Merge ``change`` into an object; lists are replaced."""
        self.cluster.request("PATCH", self.path(resource, name), change, MERGE_PATCH)

    def delete(self, resource: str, name: str) -> None:
        """Delete an object, with what it owns; one that is not there is no failure."""
        try:
            self.cluster.request("DELETE", self.path(resource, name), propagationPolicy="Background")
        except LookupError:
            return

    def metrics(self, pod: str, port: int) -> str:
        """Return the metrics of a pod through the API server, so from wherever that can be reached."""
        path = f"api/v1/namespaces/{self.name}/pods/{pod}:{port}/proxy/metrics"
        return str(self.cluster.request("GET", path))


def _refused(status: int, body: Any, path: str) -> Exception:
    text = body.decode(errors="replace") if isinstance(body, bytes) else str(body)
    try:
        said = str(json.loads(text)["message"])
    except (ValueError, KeyError, TypeError):
        said = f"HTTP {status}"
    if status == NOT_FOUND:
        return LookupError(path)
    if status in (401, 403):
        return SemfaceError(Reason.SCOPE_MISSING, f"the cluster does not allow it: {said}")
    if status in (400, 409, 422):
        return SemfaceError(Reason.FIELD_INVALID, f"the cluster refuses it: {said}")
    return SemfaceError(Reason.BACKEND_AWAY, f"the API server of the cluster fails: {said}")
