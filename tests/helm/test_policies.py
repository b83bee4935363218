"""Network policies let through the arrows of the architecture and the entrances, and nothing else."""

import pytest

from tests.helm.chart import Document, all_renderings, of_kind, pod_templates, rendered

pytestmark = pytest.mark.helm
COMPONENT = "app.kubernetes.io/component"
SERVICES = ("extraction", "codec", "understanding")

Arrow = tuple[str, str, int]

INSIDE: set[Arrow] = {
    *(("gateway", service, 8100) for service in SERVICES),
    *((service, "triton", 8001) for service in SERVICES),
    ("gateway", "redis", 6379),
    *(("test", service, 8100) for service in SERVICES),
    ("test", "gateway", 8080),
    ("test", "triton", 8001),
}
"""The arrows of docs/architecture.md, and those of `helm test`."""
MONITORED: set[Arrow] = {
    *(("monitoring", service, 9100) for service in SERVICES),
    ("monitoring", "gateway", 8080),
    ("monitoring", "triton", 8002),
}
ROLLOUT: set[Arrow] = {
    *(("rollout", service, port) for service in SERVICES for port in (8100, 9100)),
    ("rollout", "triton", 8001),
    ("rollout", "0.0.0.0/0", 443),
    ("rollout", "0.0.0.0/0", 6443),
}
EXPECTED: dict[str, set[Arrow]] = {
    "values.yaml": INSIDE,
    "values-dev.yaml": {arrow for arrow in INSIDE if "triton" not in arrow},
    "values-gpu.yaml": {
        *INSIDE,
        *MONITORED,
        *ROLLOUT,
        ("gateway-system", "gateway", 8080),
        *(("gateway-system", service, 8100) for service in SERVICES),
        ("engines", "triton", 8001),
        ("backup", "redis", 6379),
    },
    "values-ha.yaml": {
        *(arrow for arrow in INSIDE if "redis" not in arrow),
        *MONITORED,
        *ROLLOUT,
        ("gateway-system", "gateway", 8080),
        ("engines", "triton", 8001),
        ("gateway", "10.20.0.0/16", 6379),
    },
}


def peer(told: Document) -> str:
    if "podSelector" in told and "namespaceSelector" not in told:
        return str(told["podSelector"]["matchLabels"][COMPONENT])
    if "ipBlock" in told:
        return str(told["ipBlock"]["cidr"])
    return str(told["namespaceSelector"].get("matchLabels", {}).get("kubernetes.io/metadata.name", "dns"))


def ends(documents: list[Document], side: str) -> set[Arrow]:
    """Return the arrows that one side of the policies lets through, names looked up left out."""
    found = set()
    for policy in of_kind(documents, "NetworkPolicy"):
        own = policy["spec"]["podSelector"]["matchLabels"].get(COMPONENT)
        for rule in policy["spec"].get(side) or []:
            for other in map(peer, rule["from" if side == "ingress" else "to"]):
                if other != "dns":
                    for port in rule["ports"]:
                        pair = (other, own) if side == "ingress" else (own, other)
                        found.add((*pair, port["port"]))
    return found


@pytest.mark.parametrize("values", EXPECTED)
def test_every_arrow_has_a_policy_at_both_ends_and_no_other_has(values: str) -> None:
    documents = rendered(values)
    inward, outward = ends(documents, "ingress"), ends(documents, "egress")
    components = {pod["metadata"]["labels"][COMPONENT] for _, _, pod in pod_templates(documents)}
    assert {arrow for arrow in inward if arrow[0] in components} == {
        arrow for arrow in outward if arrow[1] in components
    }
    assert inward | outward == EXPECTED[values]


def test_spans_reach_the_collector_and_nothing_else_there() -> None:
    told = "tracing.namespaceLabels.kubernetes\\.io/metadata\\.name=telemetry"
    documents = rendered(sets=("tracing.enabled=true", "tracing.endpoint=http://collector.telemetry:14317", told))
    assert {arrow for arrow in ends(documents, "egress") if arrow[1] == "telemetry"} == {
        *((component, "telemetry", 14317) for component in (*SERVICES, "gateway")),
        ("triton", "telemetry", 4318),
    }
    assert ends(documents, "ingress") == ends(rendered(), "ingress")


def test_without_a_policy_of_its_own_a_pod_reaches_nothing() -> None:
    for rendering, documents in all_renderings().items():
        policies = of_kind(documents, "NetworkPolicy")
        if rendering == "open":
            assert policies == []
            continue
        deny = policies[0]["spec"]
        assert deny["policyTypes"] == ["Ingress", "Egress"]
        assert "ingress" not in deny
        assert "egress" not in deny
        for name, _, pod in pod_templates(documents):
            assert deny["podSelector"]["matchLabels"].items() <= pod["metadata"]["labels"].items(), name


def test_names_are_looked_up_at_the_dns_alone() -> None:
    for policy in of_kind(rendered(), "NetworkPolicy")[1:]:
        lookup = policy["spec"]["egress"][0]
        assert {port["port"] for port in lookup["ports"]} == {53}
        assert lookup["to"][0]["podSelector"] == {"matchLabels": {"k8s-app": "kube-dns"}}
