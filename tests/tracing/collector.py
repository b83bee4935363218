"""An OpenTelemetry collector's end of OTLP, over gRPC and HTTP, by the official protos: it keeps what it is sent."""

import json
import threading
from base64 import b64encode
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import grpc
from google.protobuf import json_format
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as collector_pb2
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as collector_pb2_grpc
from opentelemetry.proto.trace.v1.trace_pb2 import Span

ID_FIELDS = {"traceId", "spanId", "parentSpanId"}


@dataclass
class Collector(collector_pb2_grpc.TraceServiceServicer):
    """Keeps every span by the service that sent it."""

    port: int = 0
    http_port: int = 0
    requests: list[collector_pb2.ExportTraceServiceRequest] = field(default_factory=list)
    arrived: threading.Condition = field(default_factory=threading.Condition)

    @property
    def endpoint(self) -> str:
        """What SEMFACE_TRACING_ENDPOINT is set to."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def http_url(self) -> str:
        """Where Triton sends its spans."""
        return f"http://127.0.0.1:{self.http_port}/v1/traces"

    def Export(self, request: collector_pb2.ExportTraceServiceRequest, context: Any) -> Any:
        self.keep(request)
        return collector_pb2.ExportTraceServiceResponse()

    def keep(self, request: collector_pb2.ExportTraceServiceRequest) -> None:
        """Keep what one export brought."""
        with self.arrived:
            self.requests.append(request)
            self.arrived.notify_all()

    def spans(self) -> list[tuple[str, Span]]:
        """Return the name of the service and the span, of all that came."""
        return [
            (next(item.value.string_value for item in part.resource.attributes if item.key == "service.name"), span)
            for request in list(self.requests)
            for part in request.resource_spans
            for scope in part.scope_spans
            for span in scope.spans
        ]

    def wait_for(self, *services: str, seconds: float = 30.0) -> list[tuple[str, Span]]:
        """Return all spans once each of ``services`` has sent some."""
        with self.arrived:
            came = self.arrived.wait_for(lambda: {service for service, _ in self.spans()} >= set(services), seconds)
            assert came, f"only {sorted({service for service, _ in self.spans()})} sent spans"
            return self.spans()

    def text(self) -> str:
        """Return everything that was sent, as text."""
        return "\n".join(map(str, self.requests))


def read_json(body: bytes) -> collector_pb2.ExportTraceServiceRequest:
    """Return the request that OTLP's JSON tells: ids are hexadecimal there, where protobuf's own JSON has base64."""

    def as_base64(found: dict[str, Any]) -> dict[str, Any]:
        ids = {key: b64encode(bytes.fromhex(found[key])).decode() for key in ID_FIELDS & found.keys()}
        return found | ids

    told = json.loads(body, object_hook=as_base64)
    return json_format.ParseDict(told, collector_pb2.ExportTraceServiceRequest())


@contextmanager
def running_collector() -> Iterator[Collector]:
    """Listen on loopback while the block lasts."""
    collector = Collector()
    server = grpc.server(ThreadPoolExecutor(2))
    collector_pb2_grpc.add_TraceServiceServicer_to_server(collector, server)
    collector.port = server.add_insecure_port("127.0.0.1:0")
    server.start()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            # Triton's exporter speaks JSON or protobuf, as its build has it.
            if self.headers["Content-Type"] == "application/json":
                collector.keep(read_json(body))
            else:
                collector.keep(collector_pb2.ExportTraceServiceRequest.FromString(body))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    collector.http_port = http.server_address[1]
    threading.Thread(target=http.serve_forever, daemon=True).start()
    try:
        yield collector
    finally:
        http.shutdown()
        http.server_close()
        server.stop(None).wait()


def attribute(span: Span, name: str) -> Any:
    """Return the attribute ``name`` of ``span``, None where it has none."""
    for item in span.attributes:
        if item.key == name:
            return getattr(item.value, item.value.WhichOneof("value"))
    return None
