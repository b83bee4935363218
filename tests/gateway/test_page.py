import json
import re

import httpx

from semface.gateway.routes.page import STATIC

JPEG = {"Content-Type": "image/jpeg"}
BITSTREAM = {"Content-Type": "application/vnd.semface.bitstream"}
MOST_COMPRESSED_BYTES = 1_000_000


def test_the_page_is_served_and_may_load_nothing_from_elsewhere(client: httpx.Client) -> None:
    answer = client.get("/").raise_for_status()
    policy = dict(part.strip().split(" ", 1) for part in answer.headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'self'"
    assert "script-src" not in policy
    assert not [name for name, sources in policy.items() if "unsafe" in sources or "http" in sources]
    assert "camera=(self)" in answer.headers["permissions-policy"]
    assert not re.search(r"<script(?![^>]*src)|<style|style=|\son\w+=", answer.text)
    sources = re.findall(r'(?:src|href)="([^"]+)"', answer.text)
    assert sources
    for source in sources:
        assert source.startswith("./assets/")
        asset = client.get(source.removeprefix("."))
        assert asset.status_code == 200
        assert asset.headers["content-security-policy"] == answer.headers["content-security-policy"]


def test_the_page_is_at_most_a_megabyte_compressed(client: httpx.Client) -> None:
    sizes = {}
    for file in STATIC.rglob("*"):
        if file.is_file():
            path = "/" if file.name == "index.html" else f"/{file.relative_to(STATIC)}"
            with client.stream("GET", path, headers={"Accept-Encoding": "gzip"}) as answer:
                sizes[path] = sum(map(len, answer.iter_raw()))
    assert sizes["/assets/page.js"] > 10_000
    assert sum(sizes.values()) < MOST_COMPRESSED_BYTES, sizes


def test_numbers_are_coded_as_the_photograph_they_are_of(client: httpx.Client, portrait: bytes, frame: bytes) -> None:
    analysis = client.post("/v1/analyze?descriptors=true", content=portrait, headers=JPEG).raise_for_status().json()
    numbers = analysis["faces"][0]["descriptors"]
    assert len(numbers) == 257
    assert client.post("/v1/encode", json={"descriptors": numbers}).raise_for_status().content == frame
    plain = client.post("/v1/analyze", content=portrait, headers=JPEG).json()["faces"][0]
    assert plain["descriptors"] is None


def test_a_portion_that_is_not_there_cannot_be_coded(client: httpx.Client) -> None:
    groups = {"shape": [0.0] * 80, "texture": [0.0] * 80}
    answer = client.post("/v1/encode", json={"descriptors": groups})
    assert (answer.status_code, answer.json()["reason"]) == (422, "GROUP_ABSENT")
    alone = client.post("/v1/encode?portion=identity", json={"descriptors": groups}).raise_for_status()
    assert client.post("/v1/decode", content=alone.content, headers=BITSTREAM).json()["portions"] == ["identity"]


def test_two_faces_are_compared_and_nobody_is_enrolled(client: httpx.Client, portrait: bytes, frame: bytes) -> None:
    before = client.get("/v1/subjects").json()
    form = [("photograph", ("a.jpg", portrait, "image/jpeg")), ("bitstream", ("b", frame, BITSTREAM["Content-Type"]))]
    answer = client.post("/v1/compare", files=form).raise_for_status().json()
    assert answer["matched"] is True
    assert answer["score"] > 0.99 > answer["threshold"]
    alone = client.post("/v1/compare", files=form[:1])
    assert (alone.status_code, alone.json()["reason"]) == (422, "FIELD_INVALID")
    assert client.get("/v1/subjects").json() == before


def test_arkit_s_names_are_told_in_the_numbers_of_an_expression(client: httpx.Client) -> None:
    told = client.get("/v1/blendshapes").raise_for_status().json()["expressions"]
    assert len(told) == 52
    assert {len(values) for values in told.values()} == {64}
    assert not any(told["tongueOut"])
    groups = {"expression": told["jawOpen"], "rotation": [0.0] * 3, "translation": [0.0] * 3}
    frame = client.post("/v1/encode?portion=expression", json={"descriptors": groups}).raise_for_status()
    assert frame.content


def test_a_mesh_has_the_directions_of_expression_where_asked(client: httpx.Client) -> None:
    headers = {"Accept": "model/gltf-binary"}
    body = {"descriptors": [0.0] * 257}
    plain = client.post("/v1/render", json=body, headers=headers).raise_for_status().content
    moving = client.post("/v1/render?morph_targets=true", json=body, headers=headers).raise_for_status().content
    scenes = [json.loads(data[20 : 20 + int.from_bytes(data[12:16], "little")]) for data in (plain, moving)]
    assert ["targets" in scene["meshes"][0]["primitives"][0] for scene in scenes] == [False, True]
    assert len(scenes[1]["meshes"][0]["primitives"][0]["targets"]) == 64
