"""New networks step by step: a candidate beside what serves, a growing share of the calls, then all of them or none.

It runs where pods can be reached, so in a pod of the cluster. Whatever goes wrong, what served before serves on.
"""

import asyncio
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import httpx

from semface.access.certificates import TlsFiles
from semface.client import AsyncClient, CallError
from semface.errors import Reason, SemfaceError
from semface.operations.candidate import (
    CANDIDATE,
    SUFFIX,
    Change,
    candidate_deployment,
    candidate_job,
    candidate_service,
    component,
    promoted,
    weighted,
)
from semface.operations.cluster import Namespace, Object
from semface.operations.exposition import samples
from semface.operations.probe_faces import Answer, Chain, drawn_faces
from semface.operations.status import COMPONENT, INSTANCE, TRACK, metrics_port

SERVICES: Final = ("extraction", "codec", "understanding")
ROUTES: Final = ("httproutes", "grpcroutes")
FAULTS: Final = frozenset({"INTERNAL", "UNKNOWN", "UNAVAILABLE", "DEADLINE_EXCEEDED"})
GRPC_PORT: Final = "grpc"
CALL_SECONDS: Final = 30.0

Told = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Limits:
    """How a rollout goes, and what ends it."""

    shares: Sequence[int] = (5, 25, 50)
    """Percent of the calls that go to the candidate, in turn."""
    watch_seconds: float = 300.0
    """How long each share is watched."""
    interval_seconds: float = 15.0
    ready_seconds: float = 1800.0
    """How long the candidate, the engines and at last what serves may take to be ready."""
    errors: float = 0.01
    """Share of failed calls by which the candidate may be worse."""
    agreement: float = 0.95
    """Least share of made-up faces on which both say the same."""
    faces: int = 16


class WentWrong(Exception):
    """Ends a rollout that changes nothing; says why."""


@dataclass(slots=True)
class Report:
    """What was seen."""

    outcome: str = "went back"
    reason: str | None = None
    steps: list[dict[str, Any]] = field(default_factory=list)


class Rollout:
    """One change of one release."""

    def __init__(
        self,
        namespace: Namespace,
        release: str,
        change: Change,
        limits: Limits,
        *,
        key: str | None = None,
        tls: TlsFiles | None = None,
        told: Told = lambda line: None,
    ) -> None:
        """Prepare; nothing is changed before ``run``. ``key`` and ``tls`` are shown to the services."""
        self._namespace, self._release, self._change, self._limits = namespace, release, change, limits
        self._key, self._tls, self._told = key, tls, told
        self._deployments = [
            one
            for one in namespace.list("deployments", **{INSTANCE: release})
            if one["spec"]["template"]["metadata"]["labels"].get(TRACK) == "stable"
        ]
        self._services = [
            one
            for one in namespace.list("services", **{INSTANCE: release})
            if one["spec"].get("selector", {}).get(TRACK) == "stable" and component(one) != "redis"
        ]
        self._names = {str(one["metadata"]["name"]) for one in self._services}
        self._routes = {kind: namespace.list(kind, **{INSTANCE: release}) for kind in ROUTES}

    async def run(self) -> Report:
        """Carry the change out, or go back. Raises FIELD_INVALID where it cannot begin; else the report tells all."""
        self._check_start()
        report = Report()
        try:
            await self._bring_up(report)
            for share in self._limits.shares:
                await self._watch(share, report)
            await self._promote()
            report.outcome = "promoted"
        except (WentWrong, SemfaceError, LookupError) as error:
            report.reason = str(error) or type(error).__name__
            self._told(f"going back: {report.reason}")
        finally:
            # Also where the command is interrupted.
            self._take_down(keep_job=report.outcome == "promoted")
        return report

    def _check_start(self) -> None:
        if not self._deployments:
            message = f"the release {self._release} has no deployments in the namespace {self._namespace.name}"
            raise SemfaceError(Reason.FIELD_INVALID, message, field="release")
        if not any(self._routes.values()):
            message = "a share of the calls needs a route: enable entrances.http or entrances.grpc"
            raise SemfaceError(Reason.FIELD_INVALID, message, field="release")
        if any(one["metadata"]["name"].endswith(SUFFIX) for one in self._listed("deployments")):
            message = "there is a candidate already; if no rollout runs, `semface ops rollout --back` takes it away"
            raise SemfaceError(Reason.FIELD_INVALID, message, field="release")

    def _listed(self, resource: str) -> list[Object]:
        return self._namespace.list(resource, **{INSTANCE: self._release})

    async def _bring_up(self, report: Report) -> None:
        for service in self._services:
            self._namespace.create("services", candidate_service(service))
        for deployment in self._deployments:
            self._namespace.create("deployments", candidate_deployment(deployment, self._change, self._names))
        await self._until_ready([f"{one['metadata']['name']}{SUFFIX}" for one in self._deployments])
        self._told("the candidate is ready")
        jobs = self._namespace.list("jobs", **{INSTANCE: self._release, COMPONENT: "engines"})
        for job in {one["metadata"]["labels"].get("semface.dev/pool"): one for one in jobs}.values():
            document = candidate_job(job, self._change)
            self._namespace.create("jobs", document)
            await self._until_built(document["metadata"]["name"])
            self._told(f"{document['metadata']['name']} has built its engines")
        agreement = await self._agreement()
        report.steps.append({"share": 0, "agreement": agreement})
        self._require_agreement(agreement)

    async def _watch(self, share: int, report: Report) -> None:
        """Send ``share`` percent of the calls to the candidate and look at it until the time is over."""
        await self._scale(share)
        self._shift(share)
        before = {track: await self._calls(track) for track in ("stable", CANDIDATE)}
        clock = asyncio.get_running_loop().time
        end = clock() + self._limits.watch_seconds
        while True:
            await asyncio.sleep(min(self._limits.interval_seconds, max(0.0, end - clock())))
            agreement = await self._agreement()
            seen: dict[str, Any] = {"share": share, "agreement": agreement}
            for track, first in before.items():
                calls, faults = (now - then for now, then in zip(await self._calls(track), first, strict=True))
                seen[track] = {"calls": calls, "errors": round(max(0, faults) / calls, 4) if calls > 0 else 0.0}
            self._told(f"{share} %: {seen}")
            if seen[CANDIDATE]["errors"] > seen["stable"]["errors"] + self._limits.errors:
                report.steps.append(seen)
                raise WentWrong(f"the candidate fails {seen[CANDIDATE]['errors']:.1%} of its calls")
            if agreement < self._limits.agreement or clock() >= end:
                report.steps.append(seen)
                self._require_agreement(agreement)
                return

    def _require_agreement(self, agreement: float) -> None:
        if agreement < self._limits.agreement:
            raise WentWrong(f"both agree on {agreement:.0%} of the made-up faces, not on {self._limits.agreement:.0%}")

    async def _scale(self, share: int) -> None:
        """Let the candidate be as large as its share asks for."""
        names = []
        for deployment in self._named("deployments", [one["metadata"]["name"] for one in self._deployments]):
            replicas = max(1, math.ceil(deployment["spec"].get("replicas", 1) * share / max(1, 100 - share)))
            names.append(f"{deployment['metadata']['name']}{SUFFIX}")
            self._namespace.patch("deployments", names[-1], {"spec": {"replicas": replicas}})
        await self._until_ready(names)

    def _shift(self, share: int) -> None:
        for kind, routes in self._routes.items():
            for route in routes:
                self._namespace.patch(kind, route["metadata"]["name"], weighted(route, self._names, share))

    async def _promote(self) -> None:
        self._told("promoting")
        for deployment in self._deployments:
            name = deployment["metadata"]["name"]
            self._namespace.patch("deployments", name, promoted(deployment, self._change))
        try:
            await self._until_ready([one["metadata"]["name"] for one in self._deployments])
        except WentWrong:
            for deployment in self._deployments:
                self._namespace.patch("deployments", deployment["metadata"]["name"], promoted(deployment, None))
            raise

    def _take_down(self, *, keep_job: bool) -> None:
        self._shift(0)
        take_away_candidates(self._namespace, self._release)
        if not keep_job:
            for job in self._namespace.list("jobs", **{"semface.dev/revision": self._change.revision}):
                self._namespace.delete("jobs", job["metadata"]["name"])

    async def _until_ready(self, names: Sequence[str]) -> None:
        await self._until(lambda: all(_is_ready(one) for one in self._named("deployments", names)), "is not ready")

    async def _until_built(self, name: str) -> None:
        def is_built() -> bool:
            told = next(iter(self._named("jobs", [name])), {}).get("status", {})
            if any(one["type"] == "Failed" and one["status"] == "True" for one in told.get("conditions", ())):
                raise WentWrong(f"the Job {name} failed; its log tells why")
            return bool(told.get("succeeded"))

        await self._until(is_built, f"has not built its engines ({name})")

    def _named(self, resource: str, names: Sequence[str]) -> list[Object]:
        return [one for one in self._listed(resource) if one["metadata"]["name"] in names]

    async def _until(self, condition: Callable[[], bool], otherwise: str) -> None:
        clock = asyncio.get_running_loop().time
        end = clock() + self._limits.ready_seconds
        while not await asyncio.to_thread(condition):
            if clock() >= end:
                raise WentWrong(f"the candidate {otherwise} after {self._limits.ready_seconds:.0f} s")
            await asyncio.sleep(min(2.0, self._limits.interval_seconds))

    async def _calls(self, track: str) -> tuple[float, float]:
        """Return the calls that pods of ``track`` have answered, and how many of them failed."""
        calls = faults = 0.0
        async with httpx.AsyncClient(timeout=CALL_SECONDS) as http:
            for pod in self._pods(track):
                port = metrics_port(pod)
                if component(pod) not in SERVICES or port is None:
                    continue
                try:
                    answer = await http.get(f"http://{_host(pod)}:{port}/metrics")
                except httpx.HTTPError as error:
                    raise WentWrong(f"the pod {pod['metadata']['name']} does not tell its metrics") from error
                for labels, value in samples(answer.text, "semface_grpc_calls_total"):
                    calls += value
                    faults += value if labels["code"] in FAULTS else 0.0
        return calls, faults

    def _pods(self, track: str) -> list[Object]:
        found = self._namespace.list("pods", **{INSTANCE: self._release, TRACK: track})
        return [pod for pod in found if pod.get("status", {}).get("phase") == "Running"]

    async def _agreement(self) -> float:
        """Return on what share of made-up faces both tracks tell the same expression and the same decision."""
        pictures = await drawn_faces(self._limits.faces)
        stable, candidate = await self._said("stable", pictures), await self._said(CANDIDATE, pictures)
        return sum(one == other for one, other in zip(stable, candidate, strict=True)) / len(pictures)

    async def _said(self, track: str, pictures: list[bytes]) -> list[Answer]:
        pods = {component(pod): pod for pod in self._pods(track)}
        clients = []
        try:
            for name in SERVICES:
                if name not in pods:
                    raise WentWrong(f"no pod of {name} ({track}) runs")
                port = next(
                    port["containerPort"] for port in pods[name]["spec"]["containers"][0]["ports"]
                    if port["name"] == GRPC_PORT
                )  # fmt: skip
                address = f"{_host(pods[name])}:{port}"
                host = next(str(one["metadata"]["name"]) for one in self._services if component(one) == name)
                clients.append(AsyncClient(address, seconds=CALL_SECONDS, key=self._key, tls=self._tls, name=host))
            return await Chain(*clients).answers(pictures)
        except (CallError, ValueError) as error:
            raise WentWrong(f"a made-up face is not answered ({track}): {error}") from error
        finally:
            for client in clients:
                await client.close()


def take_away_candidates(namespace: Namespace, release: str) -> None:
    """Delete every candidate of ``release``, as a rollout that was killed has left them, and its share of the calls."""
    names = {str(one["metadata"]["name"]) for one in namespace.list("services", **{INSTANCE: release})}
    for kind in ROUTES:
        for route in namespace.list(kind, **{INSTANCE: release}):
            namespace.patch(kind, route["metadata"]["name"], weighted(route, names, 0))
    for resource in ("deployments", "services"):
        for one in namespace.list(resource, **{INSTANCE: release}):
            if one["metadata"]["name"].endswith(SUFFIX):
                namespace.delete(resource, one["metadata"]["name"])


def _is_ready(deployment: Object) -> bool:
    told = deployment.get("status", {})
    wanted = deployment["spec"].get("replicas", 1)
    seen = told.get("observedGeneration", 0) >= deployment["metadata"].get("generation", 0)
    return bool(seen and told.get("updatedReplicas", 0) >= wanted and told.get("readyReplicas", 0) >= wanted)


def _host(pod: Object) -> str:
    address = str(pod["status"]["podIP"])
    return f"[{address}]" if ":" in address else address
