"""One call, timed and told to locust, over gRPC or HTTP; a call that was shed is told apart from one that failed."""

import time
from collections.abc import Callable
from typing import Any, Final

import gevent
import gevent.local
import grpc
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status

SHED: Final = "shed"
"""The type under which refusals for overload are counted: apart from answers, whose times they are not."""

HTTP_SHED: Final = 429
LONGEST_PAUSE_SECONDS: Final = 5.0

_due = gevent.local.local()


def due_at(moment: float) -> None:
    """Say that the next call of this greenlet was due at ``moment`` (of the performance counter)."""
    _due.moment = moment


class Reporter:
    """Times calls for one user and tells locust of them."""

    def __init__(self, environment: Any, *, patient: bool) -> None:
        """Tell ``environment``; a ``patient`` caller that is shed waits as long as it is told to."""
        self._environment = environment
        self._patient = patient

    def grpc(self, name: str, call: Callable[[], Any]) -> Any:
        """Return what ``call`` answers, a message or an iterator over messages; None where it failed or was shed."""
        started, failure, answer = self._start(), None, None
        try:
            answer = call()
            if not hasattr(answer, "ByteSize"):
                answer = list(answer)
        except grpc.RpcError as error:
            failure = error
        seconds = time.perf_counter() - started
        if failure is not None and failure.code() is grpc.StatusCode.RESOURCE_EXHAUSTED:
            self._tell(SHED, name, seconds, 0, None)
            self._pause(_retry_seconds(failure))
            return None
        sizes = [message.ByteSize() for message in ([answer] if hasattr(answer, "ByteSize") else answer or ())]
        shown = None if failure is None else RuntimeError(f"{failure.code().name}: {failure.details()}")
        self._tell("grpc", name, seconds, sum(sizes), shown)
        return answer

    def http(self, name: str, call: Callable[[], tuple[int, bytes, float]], accepted: tuple[int, ...] = ()) -> bytes:
        """Return the body that ``call`` answers beside status and Retry-After; empty where it failed or was shed.

        Beside those of success, the statuses ``accepted`` are no failure.
        """
        started = self._start()
        try:
            status, body, pause = call()
        except OSError as error:
            self._tell("http", name, time.perf_counter() - started, 0, error)
            return b""
        seconds = time.perf_counter() - started
        if status == HTTP_SHED:
            self._tell(SHED, name, seconds, len(body), None)
            self._pause(pause)
            return b""
        good = 200 <= status < 300 or status in accepted
        self._tell("http", name, seconds, len(body), None if good else RuntimeError(f"status {status}"))
        return body if good else b""

    def _start(self) -> float:
        moment: float | None = getattr(_due, "moment", None)
        _due.moment = None
        return time.perf_counter() if moment is None else moment

    def _pause(self, seconds: float) -> None:
        if self._patient:
            gevent.sleep(min(seconds, LONGEST_PAUSE_SECONDS))

    def _tell(self, kind: str, name: str, seconds: float, size: int, failure: Exception | None) -> None:
        self._environment.events.request.fire(
            request_type=kind,
            name=name,
            response_time=1e3 * seconds,
            response_length=size,
            exception=failure,
            context={},
        )


def _retry_seconds(error: Any) -> float:
    """Return when the server says to come again; a second where it does not."""
    trailers = dict(error.trailing_metadata() or ())
    status, told = Status.FromString(trailers.get("grpc-status-details-bin", b"")), RetryInfo()
    if any(detail.Unpack(told) for detail in status.details):
        return float(told.retry_delay.ToMilliseconds()) / 1e3
    return 1.0
