"""The link between a service and its Triton: told within two seconds, healed by itself."""

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from grpc_health.v1 import health_pb2

from semface.client import CallError, Client
from semface.errors import Reason
from tests.faults.conftest import RECOVERY_SECONDS, Figure
from tests.faults.processes import Deployable, health, until
from tests.faults.proxy import Proxy
from tests.triton_server import running_triton

FACE = np.zeros(257, np.float32)
MODELS = ("codec_analysis", "codec_synthesis")
CALL_SECONDS = 3.0
SILENCE_SECONDS = 25.0
SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING


@dataclass
class OnTriton:
    """A codec whose networks run on a real Triton behind a proxy."""

    link: Proxy
    codec: Deployable
    client: Client

    def refusal(self) -> tuple[Reason, float]:
        """Return why a call failed, and after how long; it has to fail."""
        started = time.monotonic()
        with pytest.raises(CallError) as caught:
            self.client.encode(FACE)
        return caught.value.reason, time.monotonic() - started

    def answers(self) -> bool:
        """Return whether a call is answered."""
        try:
            return bool(self.client.encode(FACE).frames)
        except CallError:
            return False

    def serves(self) -> bool:
        """Return whether health says so."""
        return health(self.codec.address) == SERVING


@pytest.fixture(scope="module")
def running_codec(tiny_repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OnTriton]:
    folder = tmp_path_factory.mktemp("triton")
    with running_triton(tiny_repository, folder, models=MODELS) as server, Proxy(server.port) as link:
        settings = {"SEMFACE_MODEL_REPOSITORY": tiny_repository, "SEMFACE_INFERENCE": f"grpc://{link.address}"}
        with Deployable("codec", folder, settings) as codec, Client(codec.address, seconds=CALL_SECONDS) as client:
            yield OnTriton(link, codec, client)


@pytest.fixture
def on_triton(running_codec: OnTriton) -> Iterator[OnTriton]:
    """Give the codec with its link plain, and mend it afterwards."""
    yield running_codec
    running_codec.link.plain()
    until(running_codec.serves, 20)
    until(running_codec.answers, 20)


def test_latency_and_jitter_are_borne(on_triton: OnTriton, figure: Figure) -> None:
    on_triton.link.latency, on_triton.link.jitter = 0.05, 0.05
    started = time.monotonic()
    on_triton.client.encode(FACE)
    figure("encode over 50–100 ms each way, s", time.monotonic() - started)


def test_a_reset_in_the_middle_of_a_call_loses_no_request(on_triton: OnTriton, figure: Figure) -> None:
    on_triton.link.latency = 0.1
    lost = 0
    for _ in range(10):
        cut = threading.Timer(0.1, on_triton.link.reset)
        cut.start()
        lost += not on_triton.answers()
        cut.join()
    figure("requests lost of 10", lost)
    assert lost == 0


@pytest.mark.parametrize("fault", ["refuse", "black_hole", "trickle"])
def test_a_triton_that_is_away_is_told_in_time_and_found_again(on_triton: OnTriton, fault: str, figure: Figure) -> None:
    if fault == "trickle":
        on_triton.link.bytes_per_second = 1
    else:
        getattr(on_triton.link, fault)()
    # Canary and its limit: 0.5 + 1.4 seconds.
    figure("until health says so, s", until(lambda: not on_triton.serves(), 2.5))
    reason, seconds = on_triton.refusal()
    assert reason in {Reason.BACKEND_AWAY, Reason.DEADLINE_EXCEEDED}
    assert seconds < CALL_SECONDS + 0.5
    on_triton.link.plain()
    figure("until calls are answered, s", until(on_triton.answers, RECOVERY_SECONDS))
    figure("until health says so again, s", until(on_triton.serves, 10))


@pytest.mark.lengthy
def test_a_half_open_link_to_triton_is_given_up_and_made_anew(on_triton: OnTriton, figure: Figure) -> None:
    on_triton.link.forget()
    figure("from the silence to the next answer, s", until(on_triton.answers, SILENCE_SECONDS + CALL_SECONDS))
