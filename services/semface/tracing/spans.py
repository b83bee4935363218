"""Spans of a trace: what a request went through, stage by stage.

A span tells names, counts and times, never anything of a face, a subject, a key or a caller's words. That is why the
instrumentations of FastAPI and gRPC are not used: they write paths, which name subjects, and messages of exceptions.

Without a tracer nothing is made: a stage then costs one look at a context variable.
"""

import asyncio
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from contextvars import ContextVar
from enum import Enum
from types import TracebackType
from typing import Final, Protocol

from semface.errors import SemfaceError

Value = str | int | float | bool
Metadata = Iterable[tuple[str | bytes, str | bytes]]
"""Headers of a request, or a call's metadata."""

ERROR_TYPE: Final = "error.type"


class Kind(Enum):
    """What a span is of: work in this process, a call that it answers, or one that it makes."""

    INTERNAL = "INTERNAL"
    SERVER = "SERVER"
    CLIENT = "CLIENT"


class Span(Protocol):
    """A span of OpenTelemetry, as much of it as is used here."""

    def is_recording(self) -> bool:
        """Return whether it will be exported; its trace may not be among those sampled."""

    def update_name(self, name: str) -> None:
        """Change its name."""

    def set_attribute(self, key: str, value: Value) -> None:
        """Note ``value`` under ``key``."""

    def end(self) -> None:
        """End now."""


class Tracer(Protocol):
    """What makes spans."""

    def begin(self, name: str, metadata: Metadata, *, decide: bool) -> Span:
        """Return a span of a call that came with ``metadata``, in its trace where that names one.

        With ``decide`` it is decided here whether the trace is recorded, whatever ``metadata`` say.
        """

    def child(self, name: str, parent: Span, kind: Kind, links: Sequence[Span]) -> Span:
        """Return a span below ``parent`` that refers to ``links`` too."""

    def headers(self, span: Span) -> dict[str, str]:
        """Return what tells another server of ``span``: its ``traceparent`` (W3C Trace Context)."""

    def fail(self, span: Span) -> None:
        """Mark ``span`` as failed."""


_CURRENT: ContextVar[Span | None] = ContextVar("semface_span", default=None)
_NOTHING: Final = nullcontext(None)
_tracer: Tracer | None = None


def use_tracer(tracer: Tracer | None) -> None:
    """Make spans with ``tracer`` from now on in this process, or none."""
    global _tracer
    _tracer = tracer


class _Current:
    """Makes a span the current one for a block, and ends it with the block."""

    __slots__ = ("_before", "_span")

    def __init__(self, span: Span) -> None:
        self._span = span

    def __enter__(self) -> Span:
        self._before = _CURRENT.set(self._span)
        return self._span

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _CURRENT.reset(self._before)
        self._span.end()


class _Stage(_Current):
    """Tells of an error that leaves the block by the name of its kind alone: a message may quote what was sent."""

    __slots__ = ()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            name = error.reason.name if isinstance(error, SemfaceError) else type(error).__name__
            tell_failure(self._span, name, fault=not isinstance(error, asyncio.CancelledError | GeneratorExit))
        super().__exit__(kind, error, trace)


class _Apart:
    """Ends a span with its block, within which there is no current one."""

    __slots__ = ("_span",)

    def __init__(self, span: Span) -> None:
        self._span = span

    def __enter__(self) -> Span:
        return self._span

    def __exit__(self, *_: object) -> None:
        self._span.end()


Entered = AbstractContextManager[Span | None, None]
"""A block that a span lasts for; None where none is made."""


def answering(name: str, metadata: Metadata, *, decide: bool = False, apart: bool = False) -> Entered:
    """Let a span last for the block that answers a call with ``metadata``; all spans within are below it.

    What came of the call is told by whoever answers. With ``decide`` the caller's trace is gone on with, but whether it
    is recorded is decided here. A span ``apart`` has no others below it: a stream would go on to have more and more.
    """
    if _tracer is None:
        return _NOTHING
    begun = _tracer.begin(name, metadata, decide=decide)
    return _Apart(begun) if apart else _Current(begun)


def span(name: str, kind: Kind = Kind.INTERNAL) -> Entered:
    """Let a span last for the block: a stage of the call at hand, where its trace is recorded."""
    parent = _CURRENT.get()
    if parent is None or _tracer is None or not parent.is_recording():
        return _NOTHING
    return _Stage(_tracer.child(name, parent, kind, ()))


def joined_span(name: str, parents: Iterable[Span | None]) -> Entered:
    """Let a span last for work that is done for several calls at once: below the first of ``parents``, linked to all.

    Those that are not recorded are left out.
    """
    recorded = [parent for parent in parents if parent is not None and parent.is_recording()]
    if not recorded or _tracer is None:
        return _NOTHING
    return _Stage(_tracer.child(name, recorded[0], Kind.INTERNAL, recorded[1:]))


def current_span() -> Span | None:
    """Return the span of the work at hand."""
    return _CURRENT.get()


def note(key: str, value: Value) -> None:
    """Note ``value`` on the span of the work at hand."""
    current = _CURRENT.get()
    if current is not None:
        current.set_attribute(key, value)


def trace_metadata() -> tuple[tuple[str, str], ...]:
    """Return what a call to a service has to carry so that it goes on with this trace, recorded or not."""
    current = _CURRENT.get()
    if current is None or _tracer is None:
        return ()
    return tuple(_tracer.headers(current).items())


def recorded_headers() -> dict[str, str] | None:
    """Return the same for a server that records every call which names a trace; None where this one is not recorded."""
    current = _CURRENT.get()
    if current is None or _tracer is None or not current.is_recording():
        return None
    return _tracer.headers(current)


def tell_failure(failed: Span, name: str, *, fault: bool) -> None:
    """Note on ``failed`` the ``name`` of what went wrong; a ``fault`` is ours, not the caller's or a cancellation."""
    failed.set_attribute(ERROR_TYPE, name)
    if fault and _tracer is not None:
        _tracer.fail(failed)
