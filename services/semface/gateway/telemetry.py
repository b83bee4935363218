"""Metrics, logs and spans of HTTP requests: method, route, status, time; no path (it may name a subject), no body."""

import time
from functools import lru_cache
from http import HTTPMethod, HTTPStatus

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from semface.tracing.spans import Span, answering, tell_failure

_BUCKETS_SECONDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)
CALLER_GONE = 499
"""The status under which a request is counted whose caller left before it was answered."""

_log = structlog.get_logger("semface.gateway")


class HttpMetrics:
    """Counts requests by method, route and status, with their times, in a registry of its own."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "semface_http_requests", "Requests answered.", ["method", "route", "status"], registry=self._registry
        )
        self._seconds = Histogram(
            "semface_http_request_seconds",
            "Time from a request's arrival to the end of its answer.",
            ["route"],
            buckets=_BUCKETS_SECONDS,
            registry=self._registry,
        )

        # To look a label up takes longer than to count; routes are few.
        self._count = lru_cache(self._requests.labels)
        self._times = lru_cache(self._seconds.labels)
        self.in_flight = Gauge("semface_http_in_flight", "Requests being answered.", registry=self._registry)
        self.streams = Gauge("semface_http_streams", "Streams that are open.", ["stream"], registry=self._registry)
        self.stream_answers = Counter(
            "semface_http_stream_answers", "Messages of streams answered.", ["stream"], registry=self._registry
        )

    def record(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count and log one answered request."""
        self._count(method, route, status).inc()
        self._times(route).observe(seconds)
        _log.info("request", method=method, route=route, status=status, total_ms=round(1000 * seconds, 3))

    def text(self) -> bytes:
        """Return the metrics in Prometheus' text format."""
        return generate_latest(self._registry)


class RequestTelemetry:
    """ASGI middleware that records every HTTP request."""

    def __init__(self, app: ASGIApp, metrics: HttpMetrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start, status = time.perf_counter(), CALLER_GONE

        async def send_noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        # Whoever calls from outside may name a trace, but does not decide what is recorded here.
        with answering("http", scope["headers"], decide=True) as span:
            try:
                with self._metrics.in_flight.track_inprogress():
                    await self._app(scope, receive, send_noted)
            finally:
                # Unknown paths share one label, so that a scanner cannot fill the registry.
                route = getattr(scope.get("route"), "path", "unknown")
                self._metrics.record(scope["method"], route, status, time.perf_counter() - start)
                if span is not None:
                    _describe(span, scope["method"], route, status)


def _describe(span: Span, method: str, route: str, status: int) -> None:
    """Name ``span`` and its attributes as the semantic conventions of HTTP have it, without the path."""
    # A method of the caller's own making would be its words.
    known = method if method in HTTPMethod.__members__ else "_OTHER"
    span.update_name(f"{known} {route}")
    span.set_attribute("http.request.method", known)
    span.set_attribute("http.route", route)
    span.set_attribute("http.response.status_code", status)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        tell_failure(span, str(status), fault=True)
