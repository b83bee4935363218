import io

import httpx
import numpy as np
import pytest
from PIL import Image

from semface.descriptors import GROUP_SIZES

JPEG = {"Content-Type": "image/jpeg"}
BITSTREAM = {"Content-Type": "application/vnd.semface.bitstream"}


def test_a_bitstream_decodes_into_every_group(client: httpx.Client, frame: bytes) -> None:
    answer = client.post("/v1/decode", content=frame, headers=BITSTREAM).raise_for_status().json()
    assert {name: len(values) for name, values in answer["descriptors"].items()} == dict(GROUP_SIZES)
    assert answer["portions"] == ["identity", "expression", "illumination"]
    assert answer["quality"] == "medium"
    assert np.std(answer["descriptors"]["shape"]) > 0.1


def test_only_what_travelled_is_decoded(client: httpx.Client, portrait: bytes) -> None:
    coded = client.post("/v1/encode", params={"portion": "expression"}, content=portrait, headers=JPEG)
    answer = client.post("/v1/decode", content=coded.content, headers=BITSTREAM).raise_for_status().json()
    assert set(answer["descriptors"]) == {"expression", "rotation", "translation"}


def test_numbers_as_json_have_an_expression(client: httpx.Client) -> None:
    whole = client.post("/v1/expression", json={"descriptors": [0.1] * 257}).raise_for_status().json()
    groups = {"expression": [0.1] * 64, "rotation": [0.1] * 3, "translation": [0.1] * 3}
    named = client.post("/v1/expression", json={"descriptors": groups}).raise_for_status().json()
    assert named["faces"] == whole["faces"]


def test_an_expression_needs_the_expression_groups(client: httpx.Client) -> None:
    answer = client.post("/v1/expression", json={"descriptors": {"shape": [0.0] * 80, "texture": [0.0] * 80}})
    assert (answer.status_code, answer.json()["reason"]) == (422, "GROUP_ABSENT")


@pytest.mark.parametrize("form", ["photograph", "bitstream", "descriptors"])
def test_a_face_in_any_form_is_drawn(client: httpx.Client, portrait: bytes, frame: bytes, form: str) -> None:
    if form == "descriptors":
        answer = client.post("/v1/render", params={"size": 96}, json={"descriptors": [0.0] * 257})
    else:
        content, headers = (portrait, JPEG) if form == "photograph" else (frame, BITSTREAM)
        answer = client.post("/v1/render", params={"size": 96}, content=content, headers=headers)
    assert answer.headers["content-type"] == "image/png"
    picture = np.asarray(Image.open(io.BytesIO(answer.raise_for_status().content)))
    assert picture.shape == (96, 96, 3)
    assert picture.std() > 10


def test_a_mesh_file_is_not_answered_yet(client: httpx.Client) -> None:
    answer = client.post(
        "/v1/render", json={"descriptors": [0.0] * 257}, headers={"Accept": "model/gltf-binary, image/png;q=0"}
    )
    assert (answer.status_code, answer.json()["reason"]) == (406, "NOT_ACCEPTABLE")
