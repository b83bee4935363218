"""Alert rules and dashboard ask for what is really exported, in words that Prometheus understands."""

import json
import re
import subprocess
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from semface.client import AsyncClient, CallError
from semface.codec import service as codec
from semface.codec.settings import CodecSettings
from semface.inference.embedded import EmbeddedEngine
from semface.inference.triton import TritonEngine
from semface.rpc.server import Server
from tests.gateway.gateways import gateway
from tests.helm.chart import NAMESPACE, ROOT, TOOLS, of_kind, rendered
from tests.running import System
from tests.triton_server import running_triton

pytestmark = pytest.mark.helm

SELECTOR = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)\{([^}]*)\}")
SAMPLE = re.compile(r"^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? ", re.MULTILINE)
GROUPING = re.compile(r"\b(?:by|without)\s*\(([^)]*)\)")
ADDED_BY_PROMETHEUS = {"namespace", "service", "pod", "job", "instance"}
EVERYWHERE = {"up"}
"""What Prometheus itself makes."""


def rules() -> dict[str, Any]:
    found: dict[str, Any] = of_kind(rendered("values-gpu.yaml"), "PrometheusRule")[0]["spec"]
    return found


def each_rule() -> Iterator[dict[str, Any]]:
    for group in rules()["groups"]:
        yield from group["rules"]


def panels() -> Iterator[tuple[str, str]]:
    board = of_kind(rendered("values-gpu.yaml"), "ConfigMap")
    text = next(one["data"]["semface.json"] for one in board if "semface.json" in one["data"])
    for panel in json.loads(text)["panels"]:
        for target in panel["targets"]:
            expression = target["expr"].replace("$namespace", NAMESPACE).replace("$__rate_interval", "1m")
            yield panel["title"], expression


def expressions() -> list[str]:
    return [rule["expr"] for rule in each_rule()] + [expression for _, expression in panels()]


def promtool(folder: Path, action: str, content: dict[str, Any]) -> None:
    file = folder / "rules.yaml"
    file.write_text(yaml.safe_dump(content))
    done = subprocess.run(
        [str(TOOLS / "promtool"), action, "rules", str(file)], capture_output=True, text=True, cwd=folder
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_promtool_takes_the_rules(tmp_path: Path) -> None:
    promtool(tmp_path, "check", rules())


def test_promtool_takes_every_query_of_the_dashboard(tmp_path: Path) -> None:
    recorded = [{"record": f"panel:{index}", "expr": expression} for index, (_, expression) in enumerate(panels())]
    assert len(recorded) > 10
    promtool(tmp_path, "check", {"groups": [{"name": "dashboard", "rules": recorded}]})


def test_the_rules_tell_each_failure_and_no_other(tmp_path: Path) -> None:
    (tmp_path / "alerts.yaml").write_text(yaml.safe_dump(rules()))
    labels = f'namespace="{NAMESPACE}"'
    codec_pod = f'{labels}, service="semface-codec", pod="codec-1"'
    triton_pod = f'{labels}, service="semface-triton", pod="triton-1"'
    route = f'{labels}, service="semface-gateway", route="/v1/identify"'
    healthy = {
        f'up{{{labels}, service="semface-gateway", pod="gateway-1"}}': "1x40",
        f"up{{{codec_pod}}}": "1x40",
        f'semface_grpc_calls_total{{{codec_pod}, code="OK"}}': "0+600x40",
        f'semface_grpc_call_seconds_bucket{{{codec_pod}, le="0.01"}}': "0+600x40",
        f'semface_grpc_call_seconds_bucket{{{codec_pod}, le="+Inf"}}': "0+600x40",
        f'semface_http_requests_total{{{route}, status="200"}}': "0+600x40",
        f'nv_inference_request_success{{{triton_pod}, model="codec_analysis"}}': "0+600x40",
        f'nv_inference_queue_duration_us{{{triton_pod}, model="codec_analysis"}}': "0+600000x40",
    }
    faults = {
        "SemfaceTargetDown": {f"up{{{codec_pod}}}": "0x40"},
        "SemfaceNoTargets": {f'up{{{labels}, service="semface-gateway", pod="gateway-1"}}': "0x40"},
        "SemfaceCallsFail": {f'semface_grpc_calls_total{{{codec_pod}, code="UNAVAILABLE"}}': "0+60x40"},
        "SemfaceCallsSlow": {f'semface_grpc_call_seconds_bucket{{{codec_pod}, le="0.01"}}': "0+1x40",
                             f'semface_grpc_call_seconds_bucket{{{codec_pod}, le="5"}}': "0+600x40"},
        "SemfaceOverloaded": {f'semface_grpc_calls_total{{{codec_pod}, code="RESOURCE_EXHAUSTED"}}': "0+60x40"},
        "SemfaceRequestsFail": {f'semface_http_requests_total{{{route}, status="500"}}': "0+60x40"},
        "SemfaceStoreAway": {f'semface_http_requests_total{{{route}, status="503"}}': "0+600x40"},
        "SemfaceTritonQueue": {
            f'nv_inference_queue_duration_us{{{triton_pod}, model="codec_analysis"}}': "0+60000000x40"
        },
        "SemfaceTritonFails": {f'nv_inference_request_failure{{{triton_pod}, model="codec_analysis"}}': "0+60x40"},
    }  # fmt: skip
    alerts = [rule["alert"] for rule in each_rule() if "alert" in rule]
    assert set(alerts) == set(faults)
    # Everything that comes with another: a gateway that is down is a target that is down.
    together = {("SemfaceNoTargets", "SemfaceTargetDown"), ("SemfaceStoreAway", "SemfaceRequestsFail")}
    tests = []
    for fault, series in {"nothing": {}, **faults}.items():
        expected = [
            {"expr": f'count(ALERTS{{alertname="{alert}", alertstate="firing"}})', "eval_time": "30m"}
            | {"exp_samples": [{"labels": "{}", "value": 1}] if alert == fault or (fault, alert) in together else []}
            for alert in alerts
        ]
        told = [{"series": name, "values": values} for name, values in (healthy | series).items()]
        tests.append({"interval": "1m", "input_series": told, "promql_expr_test": expected, "name": fault})
    promtool(tmp_path, "test", {"rule_files": ["alerts.yaml"], "evaluation_interval": "1m", "tests": tests})


def test_every_alert_has_an_entry_in_the_runbook() -> None:
    text = (ROOT / "docs" / "operations.md").read_text()
    for rule in each_rule():
        if "alert" in rule:
            assert f"#### {rule['alert']}\n" in text
            assert rule["annotations"]["runbook"] == f"docs/operations.md#{rule['alert'].lower()}"


def read(text: str) -> dict[str, set[str]]:
    """Return the label names of each exported series, under the names that Prometheus keeps."""
    found: dict[str, set[str]] = defaultdict(set)
    for name, labels in SAMPLE.findall(text):
        found[name] |= set(re.findall(r'(\w+)="', labels))
    return found


async def scrape_service(repository: Path) -> str:
    settings = CodecSettings(port=0, metrics_port=0, model_repository=repository, grace_seconds=0)
    engine = EmbeddedEngine(repository)
    server = Server(codec.services(engine, settings), settings)
    await server.start()
    try:
        await server.wait_until_serving()
        async with AsyncClient(f"127.0.0.1:{server.port}") as client:
            with pytest.raises(CallError):
                await client.decode([b"no bitstream"])
        async with httpx.AsyncClient() as http:
            return (await http.get(f"http://127.0.0.1:{server.metrics_port}/metrics")).text
    finally:
        await server.stop()
        await engine.close()


async def scrape_triton(repository: Path, folder: Path) -> str:
    with running_triton(repository, folder, models=["expression_recognition"], metrics_port=0) as server:
        engine = TritonEngine(server.address, repository)
        assert await engine.ready("expression_recognition")
        await engine.close()
        async with httpx.AsyncClient() as http:
            return (await http.get(f"http://127.0.0.1:{server.metrics_port}/metrics")).text


async def test_every_metric_and_label_that_is_asked_for_is_exported(
    system: System, tiny_repository: Path, tmp_path: Path
) -> None:
    exported = read(await scrape_service(tiny_repository))
    exported |= read(await scrape_triton(tiny_repository, tmp_path))
    async with gateway(system) as client:
        assert (await client.get("/livez")).status_code == 200
        exported |= read((await client.get("/metrics")).text)
    recorded = {rule["record"] for rule in each_rule() if "record" in rule}
    asked = {name for expression in expressions() for name, _ in SELECTOR.findall(expression)}
    assert len(asked) > 8
    assert asked <= exported.keys() | recorded | EVERYWHERE
    for expression in expressions():
        series = [(name, labels) for name, labels in SELECTOR.findall(expression) if name in exported]
        known = ADDED_BY_PROMETHEUS.union(*(exported[name] for name, _ in series))
        used = {label.strip() for group in GROUPING.findall(expression) for label in group.split(",")}
        used |= {part.split("=")[0].strip(" !~") for _, labels in series for part in re.split(r",\s*", labels)}
        assert not series or used <= known, expression


def test_what_scales_reads_what_is_exported_or_recorded() -> None:
    recorded = {rule["record"] for rule in each_rule() if "record" in rule}
    known = recorded | {"semface_grpc_in_flight", "semface_http_in_flight"}
    for scaled in of_kind(rendered("values-gpu.yaml"), "ScaledObject"):
        query = scaled["spec"]["triggers"][0]["metadata"]["query"]
        assert {name for name, _ in SELECTOR.findall(query)} <= known
    for scaled in of_kind(rendered("values-ha.yaml"), "HorizontalPodAutoscaler"):
        assert scaled["spec"]["metrics"][0]["pods"]["metric"]["name"] in known
