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


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        ("model/gltf-binary", "model/gltf-binary"),
        ("model/gltf-binary, image/png;q=0", "model/gltf-binary"),
        ("model/gltf-binary, */*;q=0.1", "model/gltf-binary"),
        ("model/*;q=0.4, image/png;q=0.5", "image/png"),
        ("*/*", "image/png"),
    ],
)
def test_the_accept_header_chooses_between_picture_and_mesh(client: httpx.Client, accept: str, media_type: str) -> None:
    answer = client.post("/v1/render", json={"descriptors": [0.0] * 257}, headers={"Accept": accept})
    assert answer.raise_for_status().headers["content-type"] == media_type
    assert answer.content.startswith(b"glTF" if media_type.startswith("model") else b"\x89PNG")


def test_a_form_that_no_face_has_is_refused(client: httpx.Client) -> None:
    headers = {"Accept": "model/obj, image/png;q=0"}
    answer = client.post("/v1/render", json={"descriptors": [0.0] * 257}, headers=headers)
    assert (answer.status_code, answer.json()["reason"]) == (406, "NOT_ACCEPTABLE")


def test_a_decoded_expression_is_told_as_blendshapes_where_asked(client: httpx.Client, frame: bytes) -> None:
    plain = client.post("/v1/decode", content=frame, headers=BITSTREAM).raise_for_status().json()
    told = client.post("/v1/decode?blendshapes=true", content=frame, headers=BITSTREAM).raise_for_status().json()
    assert plain["blendshapes"] is None
    assert len(told["blendshapes"]) == 52
    assert all(0 <= weight <= 1 for weight in told["blendshapes"].values())
