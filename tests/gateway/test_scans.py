"""A 3-D scan through the whole system, with the networks that are served: over HTTP and over gRPC."""

from collections.abc import Iterator
from dataclasses import replace

import httpx
import numpy as np
import pytest

from semface.client import CallError, Client
from semface.errors import Reason
from semface.evaluation.scan_recognition import ply
from semface.extraction.scans.mesh import Scan
from semface.meaning import SCAN_EXPRESSIONS
from semface.rpc.settings import ServerSettings
from tests.extraction.scans.heads import ball, head
from tests.running import System, running_system

PLY = {"Content-Type": "model/ply"}
AMDFN = {"model": "amdfn"}


@pytest.fixture(scope="module")
def served() -> Iterator[System]:
    """A running system with the networks of the checkout: those of the tests know no landmarks."""
    with running_system(ServerSettings().model_repository) as system:
        yield system


@pytest.fixture(scope="module")
def gateway(served: System) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=served.gateway, timeout=30) as client:
        yield client


@pytest.fixture(scope="module")
def services(served: System) -> Iterator[Client]:
    with Client(served.grpc) as client:
        yield client


def test_a_scan_is_answered_in_sixteen_expressions(gateway: httpx.Client) -> None:
    answer = gateway.post("/v1/expression", content=ply(head()), headers=PLY, params=AMDFN).raise_for_status().json()
    (face,) = answer["faces"]
    assert tuple(face["confidences"]) == SCAN_EXPRESSIONS
    assert sum(face["confidences"].values()) == pytest.approx(1, abs=1e-4)
    assert face["leading"] == max(face["confidences"], key=face["confidences"].__getitem__)
    names = {model["name"] for model in answer["models"]}
    assert {"descriptor_extraction", "amdfn"} <= names


def test_both_ways_in_give_one_answer(gateway: httpx.Client, services: Client) -> None:
    reading = services.read_scan(ply(head()))
    assert reading.attribute_images.shape == (8, 112, 112)
    assert reading.textured
    assert reading.covered > 0.9
    told = services.recognize_view(reading.attribute_images, model="amdfn")
    answer = gateway.post("/v1/expression", content=ply(head()), headers=PLY, params=AMDFN).json()
    assert told.confidences == pytest.approx(answer["faces"][0]["confidences"], abs=1e-5)


def broken(**changes: object) -> bytes:
    return ply(replace(head(), **changes))


@pytest.mark.parametrize(
    ("scan", "reason"),
    [
        (b"no scan at all", Reason.SCAN_UNDECODABLE),
        (ply(head())[:5000], Reason.SCAN_UNDECODABLE),
        (ply(ball()), Reason.NO_FACE),
        (ply(Scan(np.eye(3, dtype=np.float32), np.array([[0, 1, 2]], np.int32))), Reason.LOW_QUALITY),
        (broken(vertices=np.where(np.arange(4120)[:, None] == 7, np.nan, head().vertices)), Reason.NOT_FINITE),
        (
            b"ply\nformat binary_little_endian 1.0\nelement vertex 90000000\nproperty float x\nend_header\n",
            Reason.SCAN_TOO_LARGE,
        ),
    ],
    ids=["no scan", "cut off", "no face", "one triangle", "NaN", "too many vertices"],
)
def test_a_bad_scan_gets_its_reason_on_both_ways(
    gateway: httpx.Client, services: Client, scan: bytes, reason: Reason
) -> None:
    answer = gateway.post("/v1/expression", content=scan, headers=PLY, params=AMDFN)
    assert answer.status_code == reason.answer.http_status
    assert answer.json()["reason"] == reason.name
    with pytest.raises(CallError) as caught:
        services.read_scan(scan)
    assert caught.value.reason is reason


def test_a_photograph_is_nothing_for_a_model_of_scans_and_the_reverse(gateway: httpx.Client, portrait: bytes) -> None:
    jpeg = {"Content-Type": "image/jpeg"}
    for content, headers, params in (
        (portrait, jpeg, AMDFN),
        (ply(head()), PLY, {}),
        (ply(head()), PLY, {"model": "dan"}),
    ):
        answer = gateway.post("/v1/expression", content=content, headers=headers, params=params)
        assert answer.status_code == 422
        assert answer.json()["reason"] == "FIELD_INVALID"


def test_a_scan_is_refused_where_none_is_taken(gateway: httpx.Client) -> None:
    answer = gateway.post("/v1/analyze", content=ply(head()), headers=PLY)
    assert answer.json()["reason"] == "MEDIA_TYPE_UNSUPPORTED"
