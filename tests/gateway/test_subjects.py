import uuid
from collections.abc import Iterator

import httpx
import pytest
from PIL import ImageOps

from tests.running import astronaut, changed_copy, jpeg, two_faces

JPEG = {"Content-Type": "image/jpeg"}
BITSTREAM = {"Content-Type": "application/vnd.semface.bitstream"}


@pytest.fixture
def subject(client: httpx.Client, portrait: bytes) -> Iterator[str]:
    """Return the id of a subject enrolled for one test."""
    name = f"s-{uuid.uuid4().hex}"
    answer = client.put(f"/v1/subjects/{name}", content=jpeg(changed_copy(astronaut()), 70), headers=JPEG)
    assert answer.status_code == 201
    yield name
    client.delete(f"/v1/subjects/{name}")


def stranger() -> bytes:
    """Return a face that the tiny networks, which see colours in places, tell apart: the portrait mirrored."""
    return jpeg(ImageOps.mirror(astronaut()))


def test_a_face_verifies_against_a_changed_copy_of_itself(client: httpx.Client, subject: str, portrait: bytes) -> None:
    answer = client.post(f"/v1/subjects/{subject}/verify", content=portrait, headers=JPEG).raise_for_status().json()
    assert answer["matched"] is True
    assert answer["score"] >= answer["threshold"] == 0.5
    assert answer["operating_point"] == "far_1e-2"
    assert "face_verification" in [model["name"] for model in answer["models"]]


def test_the_threshold_is_that_of_the_operating_point(client: httpx.Client, subject: str, portrait: bytes) -> None:
    asked = {"operating_point": "far_1e-3"}
    answer = client.post(f"/v1/subjects/{subject}/verify", params=asked, content=portrait, headers=JPEG)
    assert answer.raise_for_status().json()["threshold"] == pytest.approx(0.6)


def test_a_bitstream_that_carries_identity_only_verifies(client: httpx.Client, subject: str, portrait: bytes) -> None:
    coded = client.post("/v1/encode", params={"portion": "identity"}, content=portrait, headers=JPEG).content
    by_bits = client.post(f"/v1/subjects/{subject}/verify", content=coded, headers=BITSTREAM).raise_for_status().json()
    by_photo = client.post(f"/v1/subjects/{subject}/verify", content=portrait, headers=JPEG).raise_for_status().json()
    assert by_bits["score"] == pytest.approx(by_photo["score"], abs=1e-6)


def test_who_cannot_be_verified_without_identity(client: httpx.Client, subject: str, portrait: bytes) -> None:
    coded = client.post("/v1/encode", params={"portion": "expression"}, content=portrait, headers=JPEG).content
    answer = client.post(f"/v1/subjects/{subject}/verify", content=coded, headers=BITSTREAM)
    assert (answer.status_code, answer.json()["reason"]) == (422, "GROUP_ABSENT")


def test_the_enrolled_are_identified_and_others_are_not(client: httpx.Client, subject: str, portrait: bytes) -> None:
    found = client.post("/v1/identify", content=portrait, headers=JPEG).raise_for_status().json()
    assert [candidate["subject"] for candidate in found["candidates"]] == [subject]
    assert found["candidates"][0]["score"] >= found["threshold"]
    assert found["compared"] == 1
    other = client.post("/v1/identify", content=stranger(), headers=JPEG).raise_for_status().json()
    assert other["candidates"] == []


def test_an_analysis_tells_who_when_asked(client: httpx.Client, subject: str, portrait: bytes) -> None:
    answer = client.post("/v1/analyze", params={"who": True}, content=portrait, headers=JPEG).raise_for_status().json()
    assert answer["faces"][0]["who"]["candidates"][0]["subject"] == subject


def test_an_analysis_tells_who_for_each_face_of_several(client: httpx.Client, subject: str) -> None:
    asked = {"who": True}
    answer = client.post("/v1/analyze", params=asked, content=jpeg(two_faces()), headers=JPEG).raise_for_status().json()
    told = [face["who"] for face in answer["faces"]]
    assert [who["compared"] for who in told] == [1, 1]
    assert told[0]["candidates"][0]["subject"] == subject
    assert "identify" in answer["milliseconds"]


def test_a_subject_is_told_without_its_template(client: httpx.Client, subject: str) -> None:
    told = client.get(f"/v1/subjects/{subject}").raise_for_status().json()
    assert set(told) == {
        "subject",
        "model",
        "enrolled_at",
        "expires_at",
        "samples",
        "consent",
        "labels",
        "groups",
    }
    assert told["model"]["name"] == "face_verification"


def test_enrolling_again_replaces(client: httpx.Client, subject: str, portrait: bytes) -> None:
    again = client.put(f"/v1/subjects/{subject}", content=portrait, headers=JPEG)
    assert (again.status_code, again.json()["created"]) == (200, False)
    answer = client.post(f"/v1/subjects/{subject}/verify", content=portrait, headers=JPEG).raise_for_status().json()
    assert answer["score"] == pytest.approx(1, abs=1e-3)


def test_what_is_erased_is_unknown(client: httpx.Client, portrait: bytes) -> None:
    client.put("/v1/subjects/erased", content=portrait, headers=JPEG).raise_for_status()
    assert client.delete("/v1/subjects/erased").status_code == 204
    for answer in (
        client.get("/v1/subjects/erased"),
        client.delete("/v1/subjects/erased"),
        client.post("/v1/subjects/erased/verify", content=portrait, headers=JPEG),
    ):
        assert (answer.status_code, answer.json()["reason"]) == (404, "SUBJECT_UNKNOWN")
        assert "erased" not in answer.json()["detail"]
    assert client.post("/v1/identify", content=portrait, headers=JPEG).json()["candidates"] == []


@pytest.mark.parametrize("name", ["..", "a b", "a%2Fb", "-a", "%00", "a" * 129, "%7Broot%7D", "käthe"])
def test_an_id_that_could_be_anything_else_is_refused(client: httpx.Client, portrait: bytes, name: str) -> None:
    # The URL is built by hand: a client would tidy the dots away.
    url = httpx.URL(str(client.base_url), raw_path=b"/v1/subjects/" + httpx.URL("http://x/" + name).raw_path[1:])
    answer = client.send(httpx.Request("PUT", url, content=portrait, headers=JPEG))
    assert answer.status_code in (404, 422)
    assert answer.json()["reason"] in ("FIELD_INVALID", "ROUTE_UNKNOWN")
