"""A stage is a span of its request's trace, where that is recorded; else it costs nothing."""

import asyncio
from collections.abc import Iterator
from contextlib import nullcontext

import pytest
from pydantic import ValidationError

from semface.errors import Reason, SemfaceError
from semface.tracing.export import OtlpTracer
from semface.tracing.settings import TracingSettings
from semface.tracing.spans import (
    answering,
    current_span,
    joined_span,
    recorded_headers,
    span,
    trace_metadata,
    use_tracer,
)
from semface.understanding.gathering import JOINED, Gathering
from tests.tracing.collector import Collector, attribute, running_collector

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SAMPLED, PASSED_OVER = (f"00-{TRACE}-{PARENT}-{flags}" for flags in ("01", "00"))
SECRET = "a number of somebody's face"


@pytest.fixture
def collector() -> Iterator[Collector]:
    with running_collector() as running:
        yield running


class Traced:
    """This process as one that traces a share of what it does."""

    def __init__(self, collector: Collector, ratio: float) -> None:
        self._collector, self._tracer = collector, OtlpTracer(collector.endpoint, ratio, "test")

    def __enter__(self) -> None:
        use_tracer(self._tracer)

    def __exit__(self, *_: object) -> None:
        use_tracer(None)
        self._tracer.close()


def test_without_a_collector_no_span_is_made() -> None:
    with answering("call", [("traceparent", SAMPLED)]) as server, span("stage") as stage:
        assert server is None
        assert stage is None
        assert isinstance(span("another"), nullcontext)
        assert trace_metadata() == ()
        assert recorded_headers() is None


def test_work_of_no_call_is_in_no_trace(collector: Collector) -> None:
    with Traced(collector, 1.0), span("canary") as canary:
        assert canary is None
    assert collector.spans() == []


def test_a_stage_is_below_its_call_and_goes_on_with_the_callers_trace(collector: Collector) -> None:
    came = [("traceparent", SAMPLED), ("tracestate", "vendor=words")]
    with Traced(collector, 0.0), answering("call", came), span("stage"):
        told = dict(trace_metadata())
        assert recorded_headers() == told
    spans = {one.name: one for _, one in collector.spans()}
    assert {one.trace_id.hex() for one in spans.values()} == {TRACE}
    assert spans["call"].parent_span_id.hex() == PARENT
    assert spans["stage"].parent_span_id == spans["call"].span_id
    assert told == {"traceparent": f"00-{TRACE}-{spans['stage'].span_id.hex()}-01"}
    # A caller's own words go nowhere.
    assert "vendor" not in collector.text()


def test_a_call_that_its_caller_does_not_record_is_not_recorded_here(collector: Collector) -> None:
    with Traced(collector, 1.0), answering("call", [("traceparent", PASSED_OVER)]), span("stage") as stage:
        assert stage is None
        assert dict(trace_metadata())["traceparent"].endswith("-00")
        assert recorded_headers() is None
    assert collector.spans() == []


@pytest.mark.parametrize("flags", [SAMPLED, PASSED_OVER])
@pytest.mark.parametrize("ratio", [0.0, 1.0])
def test_at_the_edge_no_caller_decides_what_is_recorded(collector: Collector, flags: str, ratio: float) -> None:
    with Traced(collector, ratio), answering("call", [(b"traceparent", flags.encode())], decide=True):
        assert TRACE in dict(trace_metadata())["traceparent"]
    assert len(collector.spans()) == ratio


@pytest.mark.parametrize("told", ["", "nonsense", "00-0-0-01", f"ff-{TRACE}-{PARENT}-01"])
def test_a_trace_that_cannot_be_read_is_begun_anew(collector: Collector, told: str) -> None:
    with Traced(collector, 1.0), answering("call", [("traceparent", told)]):
        pass
    ((_, begun),) = collector.spans()
    assert begun.trace_id.hex() != TRACE
    assert begun.parent_span_id == b""


def test_an_error_is_told_by_its_reason_and_never_by_its_message(collector: Collector) -> None:
    with Traced(collector, 1.0), answering("call", []):
        for error in (SemfaceError(Reason.NO_FACE, SECRET), ValueError(SECRET)):
            with pytest.raises(type(error)), span("stage"):
                raise error
    assert [attribute(one, "error.type") for _, one in collector.spans()] == ["NO_FACE", "ValueError", None]
    assert SECRET not in collector.text()


def test_a_stream_has_one_span_however_many_messages(collector: Collector) -> None:
    with Traced(collector, 1.0), answering("stream", [], apart=True):
        for _ in range(3):
            with span("stage") as stage:
                assert stage is None
    assert [one.name for _, one in collector.spans()] == ["stream"]


async def test_work_done_for_several_calls_at_once_is_linked_to_all(collector: Collector) -> None:
    async def work(requests: object) -> list[str]:
        with span("network"):
            return ["answer"] * 3

    gathering: Gathering[str, str] = Gathering(work)

    async def call(number: int) -> None:
        with answering(f"call {number}", []):
            await gathering.submit("request")

    with Traced(collector, 1.0):
        await asyncio.gather(*map(call, range(3)))
    spans = {one.name: one for _, one in collector.spans()}
    first, *others = (spans[f"call {number}"] for number in range(3))
    assert spans[JOINED].parent_span_id == first.span_id
    assert [link.span_id for link in spans[JOINED].links] == [other.span_id for other in others]
    assert spans["network"].parent_span_id == spans[JOINED].span_id
    assert current_span() is None


def test_work_for_calls_that_are_not_recorded_is_in_no_trace(collector: Collector) -> None:
    with Traced(collector, 0.0), answering("call", []), joined_span(JOINED, [None, current_span()]) as joined:
        assert joined is None


def test_a_collector_that_is_away_holds_nobody_up() -> None:
    tracer = OtlpTracer("http://127.0.0.1:1", 1.0, "test")
    use_tracer(tracer)
    try:
        with answering("call", []), span("stage"):
            pass
    finally:
        use_tracer(None)
    tracer.close()


@pytest.mark.parametrize("endpoint", ["collector:4317", "ftp://collector:4317", "http://", "http://key@collector:4317"])
def test_an_address_that_is_no_collectors_is_refused(endpoint: str) -> None:
    with pytest.raises(ValidationError, match="http://host:port"):
        TracingSettings(tracing_endpoint=endpoint)
