"""Every pod is locked down, bounded, probed and stopped gently."""

from collections.abc import Iterator

import pytest

from tests.helm.chart import Document, all_renderings, containers, of_kind, pod_templates, rendered

pytestmark = pytest.mark.helm
LONG_LIVED = {"Deployment", "StatefulSet"}


def pods() -> Iterator[tuple[str, Document, Document]]:
    for rendering, documents in all_renderings().items():
        for name, document, pod in pod_templates(documents):
            yield f"{rendering}: {name}", document, pod


def every_container() -> Iterator[tuple[str, Document]]:
    for name, _, pod in pods():
        for container in containers(pod):
            yield f"{name}: {container['name']}", container


def test_pods_meet_the_restricted_standard() -> None:
    for name, _, pod in pods():
        security = pod["spec"]["securityContext"]
        assert security["runAsNonRoot"] is True, name
        assert security["runAsUser"] > 0, name
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert not {"hostNetwork", "hostPID", "hostIPC"} & pod["spec"].keys(), name
        kinds = {next(key for key in volume if key != "name") for volume in pod["spec"]["volumes"]}
        assert kinds <= {"configMap", "secret", "emptyDir", "persistentVolumeClaim"}, name


def test_containers_can_do_nothing_beyond_their_work() -> None:
    for name, container in every_container():
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }, name


def test_containers_ask_for_resources_and_have_limits() -> None:
    for name, container in every_container():
        resources = container["resources"]
        assert {"cpu", "memory"} <= resources["requests"].keys(), name
        assert {"cpu", "memory"} <= resources["limits"].keys(), name


def test_images_have_a_tag_or_a_digest_and_never_latest() -> None:
    for name, container in every_container():
        image = container["image"].rsplit("/", 1)[-1]
        assert ("@sha256:" in image) or (":" in image and not image.endswith(":latest")), name


def test_a_digest_takes_the_place_of_the_tag() -> None:
    digest = f"sha256:{'0' * 64}"
    codec = of_kind(rendered(sets=(f"image.digest={digest}",)), "Deployment")[0]
    assert codec["spec"]["template"]["spec"]["containers"][0]["image"] == f"semface@{digest}"


def test_long_lived_containers_have_all_three_probes() -> None:
    for name, document, pod in pods():
        if document["kind"] in LONG_LIVED:
            for container in pod["spec"]["containers"]:
                assert {"startupProbe", "readinessProbe", "livenessProbe"} <= container.keys(), name


def test_grpc_probes_ask_the_plaintext_health_port_and_liveness_no_canary() -> None:
    for _, document, pod in pods():
        if document["metadata"]["name"].removeprefix("semface-") in ("extraction", "codec", "understanding"):
            probes = pod["spec"]["containers"][0]
            assert probes["livenessProbe"]["grpc"] == {"port": 8101, "service": "live"}
            assert probes["startupProbe"]["grpc"] == {"port": 8101, "service": "live"}
            assert probes["readinessProbe"]["grpc"] == {"port": 8101}


def test_triton_lives_by_the_canary_beside_it() -> None:
    pod = next(pod for name, _, pod in pods() if name.startswith("values.yaml: Deployment/semface-triton"))
    triton, canary = pod["spec"]["containers"]
    assert triton["livenessProbe"]["grpc"]["port"] == canary["ports"][0]["containerPort"]
    assert canary["args"] == ["canary"]


def test_a_stop_leaves_time_for_the_calls_in_flight() -> None:
    for name, document, pod in pods():
        if document["kind"] in LONG_LIVED:
            for container in pod["spec"]["containers"]:
                before = container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
                environment = {entry["name"]: entry.get("value") for entry in container.get("env", [])}
                grace = int(environment.get("SEMFACE_GRACE_SECONDS", 0))
                assert before + grace < pod["spec"]["terminationGracePeriodSeconds"], name


def test_only_the_rollout_has_a_token() -> None:
    for name, _, pod in pods():
        assert pod["spec"]["automountServiceAccountToken"] is name.endswith("-rollout"), name


def test_secrets_come_by_reference_only() -> None:
    for rendering, documents in all_renderings().items():
        assert of_kind(documents, "Secret") == [], rendering


def test_tritons_key_is_held_by_triton_the_engine_job_and_the_rollout_alone() -> None:
    holders = set()
    for _, document, pod in pods():
        for container in containers(pod):
            if "semface-triton-admin" in str(container):
                holders.add((document["kind"], container["name"]))
    assert holders == {("Deployment", "triton"), ("Job", "install"), ("CronJob", "rollout")}


def test_triton_guards_its_repository_and_has_no_http() -> None:
    for name, document, pod in pods():
        if document["kind"] == "Deployment" and "triton" in name.rsplit(": ", 1)[1]:
            arguments = pod["spec"]["containers"][0]["args"]
            assert "--allow-http=false" in arguments
            guarded = next(one for one in arguments if one.startswith("--grpc-restricted-protocol"))
            assert {"model-repository", "shared-memory"} <= set(guarded.split("=")[1].split(":")[0].split(","))


def test_everything_that_serves_has_a_budget_and_is_spread() -> None:
    for values in ("values.yaml", "values-gpu.yaml", "values-ha.yaml"):
        documents = rendered(values)
        budgets = {document["metadata"]["name"] for document in of_kind(documents, "PodDisruptionBudget")}
        for deployment in of_kind(documents, "Deployment"):
            assert deployment["metadata"]["name"] in budgets
            spread = deployment["spec"]["template"]["spec"]["topologySpreadConstraints"]
            assert {one["topologyKey"] for one in spread} == {"topology.kubernetes.io/zone", "kubernetes.io/hostname"}


def test_what_scales_has_no_count_of_its_own_and_one_scaler() -> None:
    for values, kind in (("values-gpu.yaml", "ScaledObject"), ("values-ha.yaml", "HorizontalPodAutoscaler")):
        documents = rendered(values)
        scaled = [document["spec"]["scaleTargetRef"]["name"] for document in of_kind(documents, kind)]
        deployments = of_kind(documents, "Deployment")
        assert sorted(scaled) == sorted(document["metadata"]["name"] for document in deployments)
        assert not any("replicas" in document["spec"] for document in deployments)
    assert of_kind(rendered("values-gpu.yaml"), "HorizontalPodAutoscaler") == []
    assert of_kind(rendered("values-ha.yaml"), "ScaledObject") == []


def test_services_select_pods_that_are_there_by_ports_that_they_name() -> None:
    for rendering, documents in all_renderings().items():
        templates = [pod for _, _, pod in pod_templates(documents)]
        for service in of_kind(documents, "Service"):
            selector = service["spec"]["selector"].items()
            found = [pod for pod in templates if selector <= pod["metadata"].get("labels", {}).items()]
            assert found, f"{rendering}: {service['metadata']['name']}"
            for pod in found:
                ports = {port["name"] for one in pod["spec"]["containers"] for port in one.get("ports", [])}
                assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports


def test_a_service_among_services_is_headless() -> None:
    for service in of_kind(rendered("values-gpu.yaml"), "Service"):
        entrance = service["metadata"]["name"] == "semface-gateway"
        assert (service["spec"].get("clusterIP") == "None") is not entrance


def test_certificates_are_for_the_names_that_are_called() -> None:
    documents = rendered("values-gpu.yaml")
    names = {one["metadata"]["name"]: set(one["spec"].get("dnsNames", ())) for one in of_kind(documents, "Certificate")}
    gateway = next(one for one in of_kind(documents, "Deployment") if one["metadata"]["name"] == "semface-gateway")
    environment = {
        one["name"]: one.get("value", "") for one in gateway["spec"]["template"]["spec"]["containers"][0]["env"]
    }
    for service in ("extraction", "codec", "understanding"):
        host = environment[f"SEMFACE_{service.upper()}_ADDRESS"].split(":")[0]
        assert host in names[f"semface-{service}"]
        assert f"{service}.example.com" in names[f"semface-{service}"]
    assert "@semface-redis:6379" in environment["SEMFACE_REDIS_URL"]
    assert environment["SEMFACE_REDIS_URL"].startswith("rediss://")
    assert "semface-redis" in names["semface-redis"]


def test_everything_traces_or_nothing_does() -> None:
    def settings(sets: tuple[str, ...]) -> dict[str, dict[str, str]]:
        found = {}
        for deployment in of_kind(rendered(sets=sets), "Deployment"):
            container = deployment["spec"]["template"]["spec"]["containers"][0]
            words = [f"{one['name']}={one.get('value', '')}" for one in container["env"]] + container["args"]
            told = [word for word in words if word.startswith(("SEMFACE_TRACING", "--trace-config="))]
            pairs = [word.removeprefix("--trace-config=").partition("=") for word in told]
            found[container["name"]] = {name: value for name, _, value in pairs}
        return found

    assert not any(settings(()).values())
    traced = settings(
        ("tracing.enabled=true", "tracing.ratio=0.5", "tracing.tritonEndpoint=http://collector:4318/v1/traces")
    )
    for service in ("gateway", "extraction", "codec", "understanding"):
        assert traced[service]["SEMFACE_TRACING_ENDPOINT"] == "http://otel-collector.monitoring:4317"
        assert traced[service]["SEMFACE_TRACING_RATIO"] == "0.5"
    assert traced["triton"]["opentelemetry,url"] == "http://collector:4318/v1/traces"
    # Triton adds none to those that the services record.
    assert (traced["triton"]["mode"], traced["triton"]["rate"]) == ("opentelemetry", "0")


def test_a_rolling_update_waits_until_callers_have_found_the_new_pod() -> None:
    names = {f"semface-{name}" for name in ("gateway", "extraction", "codec", "understanding")}
    services = [one for one in of_kind(rendered(), "Deployment") if one["metadata"]["name"] in names]
    assert len(services) >= 4
    assert all(one["spec"]["minReadySeconds"] >= 2 for one in services)
