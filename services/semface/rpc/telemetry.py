"""Metrics and logs of calls. Neither ever carries a payload: methods, codes, reasons, times and ids only."""

import contextlib
import logging
import sys
import traceback
from typing import Any, TextIO, cast

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

from semface.errors import SemfaceError

_BUCKETS_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)


def configure_logging(level: str, log_format: str) -> None:
    """Send structured logs of at least ``level`` to standard error, as JSON lines or, for ``console``, as text."""
    renderer: Any = structlog.processors.JSONRenderer() if log_format == "json" else structlog.dev.ConsoleRenderer()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(cast(TextIO, _Unfailing(sys.stderr))),
    )


class _Unfailing:
    """A file that loses what it cannot write, as on a full disk: no call fails because it cannot be logged."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError):
            self._file.write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            self._file.flush()


def describe_exception(error: BaseException) -> dict[str, Any]:
    """Return the type of ``error`` and where it came from, not its message, which may quote what the caller sent.

    Our own errors never quote anybody: of them reason and message are told, which is enough.
    """
    if isinstance(error, SemfaceError):
        return {"reason": error.reason.name, "message": error.message}
    frames = traceback.extract_tb(error.__traceback__)
    return {
        "exception": type(error).__qualname__,
        "trace": [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames],
    }


class Telemetry:
    """Counts calls by method and code, with their times, for Prometheus, and logs each."""

    def __init__(self) -> None:
        """Count in a registry of its own, so that several servers can live in one process."""
        self.registry = CollectorRegistry()
        # Bound once: to bind takes longer than to leave a line out.
        self.log = structlog.get_logger("semface.rpc").bind()
        self._calls = Counter(
            "semface_grpc_calls", "Calls answered, by method and gRPC code.", ["method", "code"], registry=self.registry
        )
        self._seconds = Histogram(
            "semface_grpc_call_seconds",
            "Time from a call's arrival to its answer.",
            ["method"],
            buckets=_BUCKETS_SECONDS,
            registry=self.registry,
        )
        self._in_flight = Gauge(
            "semface_grpc_in_flight", "Calls being answered or waiting.", ["method"], registry=self.registry
        )

        # Looking a label up takes longer than counting.
        self._of_method: dict[str, tuple[Gauge, Histogram]] = {}
        self._of_code: dict[tuple[str, str], Counter] = {}

    def begin(self, method: str) -> None:
        """Count a call that has arrived."""
        if method not in self._of_method:
            self._of_method[method] = self._in_flight.labels(method), self._seconds.labels(method)
        self._of_method[method][0].inc()

    def end(self, method: str, code: str, seconds: float, **fields: Any) -> None:
        """Count a call that has been answered and log it with ``fields``."""
        in_flight, times = self._of_method[method]
        in_flight.dec()
        times.observe(seconds)
        self._counter(method, code).inc()
        self.log.info("call", method=method, code=code, total_ms=round(1e3 * seconds, 3), **fields)

    def shed(self, method: str) -> None:
        """Count a call that was refused at the door. It is not logged: a log line costs as much as the refusal."""
        self._counter(method, "RESOURCE_EXHAUSTED").inc()

    def _counter(self, method: str, code: str) -> Counter:
        if (method, code) not in self._of_code:
            self._of_code[method, code] = self._calls.labels(method, code)
        return self._of_code[method, code]

    def serve_metrics(self, host: str, port: int) -> "MetricsServer":
        """Serve the metrics over HTTP from a thread of their own; ``port`` 0 takes a free one."""
        return MetricsServer(self.registry, host, port)


class MetricsServer:
    """The metrics over HTTP."""

    def __init__(self, registry: CollectorRegistry, host: str, port: int) -> None:
        """Listen at once."""
        self._server, self._thread = start_http_server(port, host, registry)
        self.port = int(self._server.server_address[1])

    def stop(self) -> None:
        """Stop listening and wait for the thread."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
