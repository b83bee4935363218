"""The link between gateway and services: each call has its answer in time, and all heals by itself."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.faults.conftest import CALL_SECONDS, Figure, Linked, seconds_until_answered, timed, told
from tests.faults.proxy import Proxy

SERVICES = ("codec", pytest.param("understanding", marks=pytest.mark.lengthy))
AT_ONCE = 1.0
"""Seconds within which a fault that can be seen is told."""

DEADLINE = CALL_SECONDS + 1.0
SILENCE_SECONDS = 5.0
"""After which a link without a word is given up: no sooner can silence be told from slowness."""


def proxy(links: Linked, service: str) -> Proxy:
    found = getattr(links, service)
    assert isinstance(found, Proxy)
    return found


@pytest.mark.parametrize("service", SERVICES)
def test_latency_and_jitter_are_borne(links: Linked, service: str, figure: Figure) -> None:
    link = proxy(links, service)
    link.latency, link.jitter = 0.1, 0.1
    link.reset()
    answer, seconds = timed(lambda: links.ask(service))
    assert answer.status_code == 200
    figure("answer over 100–200 ms each way, from a cold link, s", seconds)


def test_at_one_byte_a_second_a_call_ends_by_its_deadline_and_other_links_go_on(links: Linked, figure: Figure) -> None:
    links.codec.bytes_per_second = 1
    with ThreadPoolExecutor() as pool:
        slow = pool.submit(timed, lambda: links.ask("codec"))
        answer, seconds = timed(lambda: links.ask("understanding"))
        assert (answer.status_code, seconds < AT_ONCE) == (200, True)
        answer, seconds = slow.result()
    assert told(answer) == (504, "DEADLINE_EXCEEDED")
    assert seconds < DEADLINE
    links.codec.plain()
    figure("recovery, s", seconds_until_answered(lambda: links.ask("codec")))


@pytest.mark.parametrize("service", SERVICES)
def test_a_reset_in_the_middle_of_a_call_loses_no_request(links: Linked, service: str, figure: Figure) -> None:
    link = proxy(links, service)
    link.latency = 0.1
    lost = 0
    for _ in range(10):
        cut = threading.Timer(0.1, link.reset)
        cut.start()
        lost += links.ask(service).status_code != 200
        cut.join()
    figure("requests lost of 10", lost)
    assert lost == 0


@pytest.mark.parametrize("service", SERVICES)
def test_a_refused_link_is_told_at_once_and_found_again_in_time(links: Linked, service: str, figure: Figure) -> None:
    link = proxy(links, service)
    link.refuse()
    until_away = time.monotonic() + 6
    while time.monotonic() < until_away:
        answer, seconds = timed(lambda: links.ask(service))
        assert told(answer) == (503, "BACKEND_AWAY")
        assert "retry-after" in answer.headers
        assert seconds < AT_ONCE
    link.plain()
    figure("recovery, s", seconds_until_answered(lambda: links.ask(service)))


@pytest.mark.parametrize("service", SERVICES)
def test_a_black_hole_ends_calls_by_their_deadline_and_heals(links: Linked, service: str, figure: Figure) -> None:
    link = proxy(links, service)
    link.black_hole()
    answer, seconds = timed(lambda: links.ask(service))
    assert told(answer) == (504, "DEADLINE_EXCEEDED")
    assert seconds < DEADLINE
    assert links.client.get("/livez", timeout=1).status_code == 200
    time.sleep(4)
    link.plain()
    figure("recovery, s", seconds_until_answered(lambda: links.ask(service)))


@pytest.mark.parametrize("service", SERVICES)
def test_a_half_open_link_is_given_up_and_made_anew(links: Linked, service: str, figure: Figure) -> None:
    link = proxy(links, service)
    assert links.ask(service).status_code == 200
    link.forget()
    started = time.monotonic()
    answer = links.ask(service)
    assert told(answer) in {(504, "DEADLINE_EXCEEDED"), (503, "BACKEND_AWAY"), (200, None)}
    seconds_until_answered(lambda: links.ask(service), SILENCE_SECONDS)
    figure("from the silence to the next answer, s", time.monotonic() - started)


def test_readiness_tells_of_the_service_that_is_away_and_no_other(links: Linked) -> None:
    links.codec.black_hole()
    answer, seconds = timed(lambda: links.client.get("/readyz"))
    assert answer.status_code == 503
    assert answer.json()["services"] == {"extraction": True, "codec": False, "understanding": True}
    # What the chart gives a probe.
    assert seconds < 4
