"""Spans to an OpenTelemetry collector: over OTLP/gRPC, in batches, from a thread of their own.

Where the collector is away, spans are dropped: no request waits for it. What OpenTelemetry's own variables say
(``OTEL_EXPORTER_OTLP_HEADERS``, ``OTEL_EXPORTER_OTLP_CERTIFICATE``, ``OTEL_RESOURCE_ATTRIBUTES``, ``OTEL_BSP_*``) holds
too.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, cast

from semface import __version__
from semface.errors import Reason, SemfaceError
from semface.tracing.settings import TracingSettings
from semface.tracing.spans import Kind, Metadata, Span, use_tracer

if TYPE_CHECKING:
    from opentelemetry.trace import SpanContext

TRACEPARENT: Final = "traceparent"
EXPORT_SECONDS: Final = 5.0
"""How long one export may take, so that a stop does not wait longer for a collector that is away."""


@asynccontextmanager
async def exported_traces(settings: TracingSettings, service: str) -> AsyncIterator[None]:
    """Trace what this process does as ``service`` while the block lasts, where ``settings`` name a collector.

    What was recorded is sent before the block is left. Raises FIELD_INVALID without the extra ``tracing``.
    """
    if settings.tracing_endpoint is None:
        yield
        return
    tracer = OtlpTracer(settings.tracing_endpoint, settings.tracing_ratio, service)
    use_tracer(tracer)
    try:
        yield
    finally:
        use_tracer(None)
        await asyncio.to_thread(tracer.close)


class OtlpTracer:
    """Makes spans with OpenTelemetry's SDK. Its provider is not the process's, which other libraries would use."""

    def __init__(self, endpoint: str, ratio: float, service: str) -> None:
        """Send a share ``ratio`` of the traces that begin here to ``endpoint``. Raises FIELD_INVALID."""
        try:
            from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
            from opentelemetry.sdk.resources import Resource
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import BatchSpanProcessor
            from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
            from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
        except ImportError as error:
            message = "traces need the extra: pip install 'semface[tracing]'"
            raise SemfaceError(Reason.FIELD_INVALID, message, field="tracing_endpoint") from error
        self._ratio = TraceIdRatioBased(ratio)
        self._propagator = TraceContextTextMapPropagator()
        self._provider = TracerProvider(
            sampler=ParentBased(root=self._ratio),
            resource=Resource.create({"service.name": f"semface-{service}", "service.version": __version__}),
            shutdown_on_exit=False,
        )
        exporter = OTLPSpanExporter(endpoint=endpoint, insecure=endpoint.startswith("http:"), timeout=EXPORT_SECONDS)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("semface", __version__)

    def begin(self, name: str, metadata: Metadata, *, decide: bool) -> Span:
        """See :meth:`semface.tracing.spans.Tracer.begin`."""
        from opentelemetry.trace import SpanKind, get_current_span

        # Of what a caller sends only the numbers of its trace are taken; a tracestate holds words.
        told = {header: _text(value) for key, value in metadata if (header := _text(key)) == TRACEPARENT}
        # An empty context, else a span of another library in this process would be the parent.
        parent = get_current_span(self._propagator.extract(told, _empty())).get_span_context()
        if decide and parent.is_valid:
            parent = self._decided(parent)
        return cast(Span, self._tracer.start_span(name, _context_of(parent), SpanKind.SERVER))

    def child(self, name: str, parent: Span, kind: Kind, links: Sequence[Span]) -> Span:
        """See :meth:`semface.tracing.spans.Tracer.child`."""
        from opentelemetry.trace import Link, SpanKind

        above: Any = parent
        others: Sequence[Any] = links
        return cast(
            Span,
            self._tracer.start_span(
                name,
                _context_of(above.get_span_context()),
                SpanKind[kind.value],
                links=[Link(other.get_span_context()) for other in others],
            ),
        )

    def headers(self, span: Span) -> dict[str, str]:
        """See :meth:`semface.tracing.spans.Tracer.headers`."""
        current: Any = span
        headers: dict[str, str] = {}
        self._propagator.inject(headers, _context_of(current.get_span_context()))
        return headers

    def fail(self, span: Span) -> None:
        """See :meth:`semface.tracing.spans.Tracer.fail`."""
        from opentelemetry.trace import StatusCode

        failed: Any = span
        failed.set_status(StatusCode.ERROR)

    def close(self) -> None:
        """Send what is left, and make no more."""
        self._provider.shutdown()

    def _decided(self, parent: "SpanContext") -> "SpanContext":
        """Return ``parent`` as our ratio samples it: a caller outside must not have all its calls recorded."""
        from opentelemetry.trace import SpanContext, TraceFlags

        sampled = self._ratio.should_sample(None, parent.trace_id, "").decision.is_sampled()
        flags = TraceFlags(TraceFlags.SAMPLED if sampled else TraceFlags.DEFAULT)
        return SpanContext(parent.trace_id, parent.span_id, True, flags)


def _empty() -> Any:
    from opentelemetry.context import Context

    return Context()


def _context_of(span_context: Any) -> Any:
    from opentelemetry.trace import NonRecordingSpan, set_span_in_context

    return set_span_in_context(NonRecordingSpan(span_context), _empty())


def _text(value: str | bytes) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else value
