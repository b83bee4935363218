"""The whole way on the trained networks that ship: a real photograph, the running system, what a receiver learns."""

import base64
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from semface.cli.demonstration import changed_copy, other_identity
from semface.descriptors import GROUPS
from semface.morphable import MorphableModel
from semface.morphable.camera import project
from semface.rpc.settings import ServerSettings
from tests.running import astronaut, astronaut_path, jpeg, noise, running_system

MOST_BITS = 1400
JPEG = {"Content-Type": "image/jpeg"}
BITSTREAM = {"Content-Type": "application/vnd.semface.bitstream"}
EYES_68 = (slice(36, 42), slice(42, 48))
NOSE_68 = 30
MOUTH_68 = (48, 54)


@pytest.fixture(scope="module")
def client() -> Iterator[httpx.Client]:
    with (
        running_system(ServerSettings().model_repository) as system,
        httpx.Client(base_url=system.gateway, timeout=30) as connected,
    ):
        yield connected


@pytest.fixture(scope="module")
def analysis(client: httpx.Client) -> dict[str, Any]:
    photograph = astronaut_path().read_bytes()
    answer = client.post("/v1/analyze", content=photograph, headers={"Content-Type": "image/png"})
    return answer.raise_for_status().json()


def decode(client: httpx.Client, face: dict[str, Any]) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Return the 257 decoded numbers of an analyzed face."""
    frame = base64.b64decode(face["bitstream"])
    groups = client.post("/v1/decode", content=frame, headers=BITSTREAM).raise_for_status().json()["descriptors"]
    values = np.zeros(257, np.float32)
    for name, numbers in groups.items():
        values[GROUPS[name]] = numbers
    return values


def test_a_face_travels_in_few_bits(analysis: dict[str, Any]) -> None:
    (face,) = analysis["faces"]
    assert 100 < face["bits"]["total"] <= MOST_BITS


def test_a_smile_is_still_a_smile_at_the_receiver(analysis: dict[str, Any]) -> None:
    assert analysis["faces"][0]["expression"]["leading"] == "happiness"


def test_the_decoded_mesh_lies_on_the_face(client: httpx.Client, analysis: dict[str, Any]) -> None:
    (face,) = analysis["faces"]
    values = decode(client, face)[None]
    model = MorphableModel.shipped()
    vertices = model.vertices(values[:, GROUPS["shape"]], values[:, GROUPS["expression"]])
    points = project(vertices, values[:, GROUPS["rotation"]], values[:, GROUPS["translation"]])[0][0]
    marks = points[model.landmarks68]
    ours = np.array([*(marks[eye].mean(axis=0) for eye in EYES_68), marks[NOSE_68], *(marks[m] for m in MOUTH_68)])
    square = face["square"]
    seen = (np.array(face["landmarks"]) - (square["x0"], square["y0"])) / square["side"]
    between_eyes = np.linalg.norm(seen[0] - seen[1])
    assert np.linalg.norm(ours - seen, axis=1).mean() < 0.15 * between_eyes


def test_a_changed_copy_is_the_same_person_and_another_identity_is_not(client: httpx.Client) -> None:
    photograph = astronaut_path().read_bytes()
    client.put("/v1/subjects/portrait", content=changed_copy(photograph), headers=JPEG).raise_for_status()
    body = {"descriptors": other_identity().tolist()}
    drawing = client.post("/v1/render", params={"size": 256}, json=body).raise_for_status().content
    verify = "/v1/subjects/portrait/verify"
    png = {"Content-Type": "image/png"}
    same = client.post(verify, content=photograph, headers=png).raise_for_status().json()
    other = client.post(verify, content=drawing, headers=png).raise_for_status().json()
    assert (same["matched"], other["matched"]) == (True, False)
    assert client.post("/v1/identify", content=photograph, headers=png).json()["candidates"][0]["subject"] == "portrait"
    client.delete("/v1/subjects/portrait").raise_for_status()


def test_a_face_is_the_same_however_small_its_file(client: httpx.Client, analysis: dict[str, Any]) -> None:
    small = jpeg(astronaut().resize((256, 256), Image.Resampling.LANCZOS), 75)
    answer = client.post("/v1/analyze", content=small, headers=JPEG).raise_for_status().json()
    assert answer["faces"][0]["expression"]["leading"] == analysis["faces"][0]["expression"]["leading"]


def test_where_there_is_no_face_none_is_found(client: httpx.Client) -> None:
    answer = client.post("/v1/analyze", content=jpeg(noise()), headers=JPEG)
    assert (answer.status_code, answer.json()["reason"]) == (422, "NO_FACE")


def test_the_models_in_service_are_those_that_ship(client: httpx.Client) -> None:
    models = client.get("/v1/models").raise_for_status().json()["models"]
    shipped = ServerSettings().model_repository
    names = {model["name"] for model in models} - {"codec"}
    assert names <= {folder.name for folder in shipped.iterdir()}
    assert len(names) == 6
