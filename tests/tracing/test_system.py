"""One request is one trace, from gateway through services to Triton, and it tells nothing of whose face it is."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from semface.access.keys import digest_of
from semface.cli.embedded_store import embedded_store
from semface.gateway.enrolled.key_ring import new_master_key
from tests.running import running_system
from tests.tracing.collector import Collector, attribute, running_collector
from tests.tracing.test_spans import SAMPLED, TRACE
from tests.triton_server import running_triton

JPEG = {"Content-Type": "image/jpeg"}
KEY, SUBJECT, LABEL = "a-key-of-the-test", "subject-0815", "label-4711"
SERVICES = ("extraction", "codec", "understanding")
STAGES = {"extract", "decode picture", "detect", "describe", "encode", "understand", "read", "tell", "store"}
STOP_SECONDS = 30


@pytest.fixture
def collector() -> Iterator[Collector]:
    with running_collector() as running:
        yield running


def enroll(gateway: str, portrait: bytes) -> dict[str, Any]:
    """Enrol the portrait with a trace of the caller's own and return the answer."""
    headers = {**JPEG, "Authorization": f"Bearer {KEY}", "traceparent": SAMPLED}
    path = f"/v1/subjects/{SUBJECT}"
    with httpx.Client(base_url=gateway, timeout=60) as client:
        answer = client.put(path, params={"label": LABEL}, content=portrait, headers=headers).raise_for_status()
        found = client.post("/v1/analyze", content=portrait, headers=headers).raise_for_status().json()
        client.get("/v1/subjects/somebody-else", headers=headers)
        client.post(f"{path}/verify", content=b"\x00" * 64, headers={**headers, "Content-Type": "image/jpeg"})
    assert answer.json()["subject"] == SUBJECT
    return found


def require_nothing_told(collector: Collector, analysis: dict[str, Any]) -> None:
    """Fail where anything of a face, a subject or a key, or a number that could be of a face, was sent."""
    text = collector.text()
    (face,) = analysis["faces"]
    told = [
        KEY,
        digest_of(KEY).hex(),
        SUBJECT,
        "somebody-else",
        LABEL,
        face["bitstream"],
        face["expression"]["leading"],
    ]
    assert [secret for secret in told if secret in text] == []
    names = {item.key for _, span in collector.spans() for item in span.attributes}
    assert names <= {
        "error.type",
        "http.request.method",
        "http.response.status_code",
        "http.route",
        "rpc.grpc.status_code",
        "rpc.method",
        "rpc.service",
        "rpc.system",
        "semface.queue_ms",
        # Of Triton's own.
        "triton.model_name",
        "triton.model_version",
        "triton.request_id",
        "triton.trace_id",
        "triton.trace_parent_id",
        "triton.trace_request_id",
    }
    values = [item.value for _, span in collector.spans() for item in span.attributes]
    assert not any(value.HasField("array_value") or value.HasField("bytes_value") for value in values)
    assert not any(event.attributes for _, span in collector.spans() for event in span.events)


def test_a_request_is_one_trace_through_gateway_services_and_store(
    tiny_repository: Path, collector: Collector, portrait: bytes
) -> None:
    settings = {
        "SEMFACE_TRACING_ENDPOINT": collector.endpoint,
        "SEMFACE_TRACING_RATIO": "1",
        "SEMFACE_API_KEYS": digest_of(KEY).hex(),
        # FastAPI's own export would send paths, which name subjects, wherever these are set.
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": collector.http_url,
        "FASTAPI_OTEL_AUTO_CONFIGURE": "true",
    }
    with running_system(tiny_repository, **settings) as system:
        analysis = enroll(system.gateway, portrait)
    # What was recorded is sent before the process ends.
    spans = [span for _, span in collector.spans()]
    assert {span.trace_id.hex() for span in spans} == {TRACE}
    known = {span.span_id: span for span in spans}
    assert {span.name for span in spans} >= {
        *STAGES,
        "redis",
        "PUT /v1/subjects/{subject_id}",
        "POST /v1/analyze",
        "semface.v1.ExtractionService/Extract",
        "semface.v1.CodecService/Encode",
        "semface.v1.UnderstandingService/Understand",
        "infer descriptor_extraction",
    }
    roots = [span for span in spans if span.parent_span_id not in known]
    assert len(roots) == 4
    for span in spans:
        # A picture's work may outlast a caller who left, but none left here.
        if span.parent_span_id in known:
            above = known[span.parent_span_id]
            assert above.start_time_unix_nano <= span.start_time_unix_nano, (above.name, span.name)
    unknown = next(span for span in roots if span.name == "GET /v1/subjects/{subject_id}")
    assert attribute(unknown, "http.response.status_code") == 404
    require_nothing_told(collector, analysis)


@contextmanager
def serving(name: str, **settings: str) -> Iterator[int]:
    """Run `semface serve NAME` in a process of its own while the block lasts; give its port."""
    command = [sys.executable, "-m", "semface.cli", "serve", name]
    with subprocess.Popen(command, env=os.environ | settings, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            for line in process.stderr:
                told = json.loads(line) if line.startswith("{") else {}
                if told.get("event") == "listening":
                    yield told["port"]
                    break
            else:
                pytest.fail(f"{name} ended before it listened")
        finally:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=STOP_SECONDS)


@pytest.mark.slow
@pytest.mark.engine
def test_processes_of_their_own_and_triton_are_one_trace(
    tiny_repository: Path, collector: Collector, portrait: bytes, tmp_path: Path
) -> None:
    trace_config = (
        "mode=opentelemetry",
        f"opentelemetry,url={collector.http_url}",
        "opentelemetry,resource=service.name=semface-triton",
        "level=TIMESTAMPS",
        "rate=0",
    )
    settings = {
        "SEMFACE_TRACING_ENDPOINT": collector.endpoint,
        "SEMFACE_TRACING_RATIO": "1",
        "SEMFACE_API_KEYS": digest_of(KEY).hex(),
        "SEMFACE_SERVICE_KEY": KEY,
        "SEMFACE_MODEL_REPOSITORY": str(tiny_repository),
        "SEMFACE_PORT": "0",
        "SEMFACE_HTTP_PORT": "0",
        "SEMFACE_KEY_RING": str(tmp_path / "ring.json"),
        "SEMFACE_MASTER_KEY": new_master_key(),
    }
    with ExitStack() as stack:
        triton = stack.enter_context(running_triton(tiny_repository, tmp_path, trace_config=trace_config))
        settings["SEMFACE_REDIS_URL"] = stack.enter_context(embedded_store(None))
        settings["SEMFACE_INFERENCE"] = triton.url
        for name in SERVICES:
            port = stack.enter_context(serving(name, **settings))
            settings[f"SEMFACE_{name.upper()}_ADDRESS"] = f"127.0.0.1:{port}"
        gateway = stack.enter_context(serving("gateway", **settings))
        analysis = enroll(f"http://127.0.0.1:{gateway}", portrait)
    services = ("gateway", *SERVICES, "triton")
    spans = collector.wait_for(*(f"semface-{name}" for name in services))
    assert {span.trace_id.hex() for _, span in spans} == {TRACE}
    ours = {span.span_id: span for service, span in spans if service != "semface-triton"}
    asked = {span.parent_span_id for service, span in spans if service == "semface-triton"} & ours.keys()
    assert {ours[one].name for one in asked} >= {"infer descriptor_extraction", "infer codec_analysis"}
    require_nothing_told(collector, analysis)
