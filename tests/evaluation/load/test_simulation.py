"""The simulator gives what queueing theory gives where theory has an answer, and finds the part that is the limit."""

import random

import pytest

from semface.evaluation.load.simulation import Kind, Step, offered, plan, simulate

MANY = 60_000


def one_kind(*steps: Step) -> list[Kind]:
    return [Kind("call", 1.0, steps)]


@pytest.mark.parametrize("load", [0.3, 0.5, 0.8])
def test_equal_service_times_give_the_mean_wait_of_an_m_d_1_queue(load: float) -> None:
    found = simulate(one_kind(Step("service", (10.0,))), {"service": 1}, 100 * load, calls=MANY)
    assert found.utilisation["service"] == pytest.approx(load, rel=0.03)
    # Pollaczek and Khinchine: the mean wait of M/D/1; its median lies below, its 99th percentile well above.
    mean_wait = 10.0 * load / (2 * (1 - load))
    assert found.p50_ms < 10.0 + mean_wait + 2
    assert found.p99_ms > 10.0 + 2 * mean_wait


def test_exponential_service_times_give_the_percentiles_of_an_m_m_1_queue() -> None:
    draw = random.Random(3)
    service = tuple(draw.expovariate(1 / 10.0) for _ in range(20_000))
    found = simulate(one_kind(Step("service", service)), {"service": 1}, 50.0, calls=MANY)
    # Time in M/M/1 is exponential with rate (1/10 - 0.05) a millisecond: ln 2 / 0.05, ln 100 / 0.05.
    assert found.p50_ms == pytest.approx(13.9, rel=0.1)
    assert found.p99_ms == pytest.approx(92.1, rel=0.1)


def test_without_load_a_call_takes_the_time_of_its_steps() -> None:
    found = simulate(one_kind(Step("first", (3.0,)), Step("second", (4.0,))), {"first": 1, "second": 1}, 0.1)
    assert found.p50_ms == pytest.approx(7.0)
    assert found.p99_ms < 7.2


def test_the_same_seed_gives_the_same_run() -> None:
    kinds = one_kind(Step("service", (1.0, 2.0, 9.0)))
    first, second = (simulate(kinds, {"service": 2}, 300.0, calls=2000) for _ in range(2))
    assert first == second


def test_a_plan_has_enough_replicas_and_not_many_more() -> None:
    kinds = one_kind(Step("slow", (20.0,)), Step("quick", (1.0,)))
    found = plan(kinds, 500.0, 100.0, frozenset())
    assert found.held
    assert found.limit == "slow"
    # Ten replicas of the slow step would work all the time.
    assert 11 <= found.replicas["slow"] <= 14
    assert found.replicas["quick"] == 1
    fewer = {**found.replicas, "slow": 10}
    assert simulate(kinds, fewer, 500.0).p99_ms > found.simulated.p99_ms


def test_what_cannot_be_multiplied_becomes_the_limit() -> None:
    kinds = one_kind(Step("service", (1.0,)), Step("Redis", (0.5,)))
    assert plan(kinds, 1000.0, 50.0, frozenset({"Redis"})).held
    beyond = plan(kinds, 3000.0, 50.0, frozenset({"Redis"}))
    assert not beyond.held
    assert beyond.limit == "Redis"


def test_offered_load_adds_up_over_kinds() -> None:
    kinds = [Kind("a", 1.0, (Step("x", (10.0,)),)), Kind("b", 3.0, (Step("x", (2.0,)), Step("y", (4.0,))))]
    assert offered(kinds, 100.0) == pytest.approx({"x": 0.25 + 0.15, "y": 0.3})
