"""Thresholds turn a run into a gate, and name what is beyond them."""

from argparse import Namespace
from typing import Any

import pytest
from locust.stats import RequestStats

from loadtest.generator import GeneratorCheck
from loadtest.thresholds import judged, problems


def options(**changes: Any) -> Namespace:
    none: dict[str, Any] = {"p50": [], "p99": [], "least_rate": []}
    single = dict.fromkeys(("most_failed", "most_shed", "most_generator_lag"))
    return Namespace(**{**none, **single, **changes})


@pytest.fixture
def stats() -> RequestStats:
    """A hundred answers of 10 to 109 ms, ten of which failed, and 25 calls that were shed."""
    found = RequestStats()
    for number in range(100):
        found.log_request("grpc", "extract", 10 + number, 1)
    for _ in range(10):
        found.log_error("grpc", "extract", "UNAVAILABLE")
    for _ in range(25):
        found.log_request("shed", "extract", 1, 0)
    return found


def test_a_run_within_its_thresholds_has_no_problem(stats: RequestStats) -> None:
    allowed = options(p99=["extract=110", "all=110"], p50=["extract=70"], most_failed=0.1, most_shed=0.2)
    assert judged(allowed)
    assert problems(stats, allowed, GeneratorCheck()) == []


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"p99": ["extract=50"]}, "percentile 99 took"),
        ({"p50": ["all=20"]}, "percentile 50 took"),
        ({"p99": ["decode=50"]}, "was never called"),
        ({"least_rate": ["extract=1000000"]}, "a second"),
        ({"most_failed": 0.05}, "calls failed"),
        ({"most_shed": 0.1}, "calls shed"),
    ],
)
def test_what_is_beyond_a_threshold_is_named(stats: RequestStats, changes: dict[str, Any], told: str) -> None:
    (problem,) = problems(stats, options(**changes), GeneratorCheck())
    assert told in problem


def test_a_run_in_which_nothing_was_sent_fails() -> None:
    assert problems(RequestStats(), options(), GeneratorCheck()) == ["nothing was sent"]


def test_times_of_shed_calls_are_not_mixed_with_those_of_answers(stats: RequestStats) -> None:
    # 25 calls of 1 ms would bring the median of all down to 47 ms.
    assert problems(stats, options(p50=["all=55"]), GeneratorCheck())


def test_a_late_generator_is_told_and_can_fail_the_run(stats: RequestStats) -> None:
    check = GeneratorCheck()
    check.keep("first", (3.0, 0.2))
    assert not check.is_limit
    check.keep("second", (25.0, 0.5))
    assert check.is_limit
    assert problems(stats, options(most_generator_lag=20.0), check)


def test_a_threshold_that_cannot_be_read_ends_the_run(stats: RequestStats) -> None:
    with pytest.raises(SystemExit, match="NAME=NUMBER"):
        problems(stats, options(p99=["50"]), GeneratorCheck())
