"""What the pods of `helm test` ask, asked of a running system."""

from typing import Any

import pytest
from typer.testing import CliRunner

from semface.cli.ops import app
from semface.errors import Reason, SemfaceError
from semface.inference.cpu_server import CpuServer
from tests.running import System


def check(name: str, address: str) -> Any:
    return CliRunner().invoke(app, ["check", name, address])


@pytest.mark.parametrize("name", ["extraction", "codec", "understanding"])
def test_a_service_that_serves_passes(system: System, name: str) -> None:
    done = check(name, system.grpc)
    assert done.exit_code == 0, done.exception
    assert done.output == f"{name} serves\n"


def test_the_gateway_is_ready_with_its_store(system: System) -> None:
    assert check("gateway", system.gateway).output == "the gateway is ready, and so is its store\n"


def test_a_made_up_face_goes_all_the_way_round(system: System) -> None:
    done = check("face", system.gateway)
    assert done.exit_code == 0, done.exception
    assert " bits, " in done.output


@pytest.mark.slow
def test_triton_tells_its_health_over_grpc_as_the_probes_ask_it(triton_server: CpuServer) -> None:
    assert check("triton", triton_server.address).output == "triton serves\n"


@pytest.mark.parametrize(("name", "address"), [("codec", "127.0.0.1:9"), ("gateway", "http://127.0.0.1:9")])
def test_what_is_away_fails(name: str, address: str) -> None:
    done = check(name, address)
    assert done.exit_code != 0
    assert isinstance(done.exception, SemfaceError)
    assert done.exception.reason is Reason.BACKEND_AWAY


def test_a_check_that_is_none_is_refused(system: System) -> None:
    done = check("everything", system.grpc)
    assert isinstance(done.exception, SemfaceError)
    assert done.exception.reason is Reason.FIELD_INVALID
