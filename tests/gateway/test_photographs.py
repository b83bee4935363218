import base64
import io
import math

import httpx
import pytest
from PIL import Image, ImageFilter, ImageOps

from tests.running import astronaut, jpeg, two_faces

JPEG = {"Content-Type": "image/jpeg"}
BITSTREAM = {"Content-Type": "application/vnd.semface.bitstream"}


def test_a_photograph_is_analyzed_into_faces_bits_and_expression(client: httpx.Client, portrait: bytes) -> None:
    answer = client.post("/v1/analyze", content=portrait, headers=JPEG).raise_for_status().json()
    assert (answer["width"], answer["height"], answer["bytes"]) == (512, 512, len(portrait))
    (face,) = answer["faces"]
    assert 100 < face["box"]["x0"] < face["box"]["x1"] < 320
    assert face["confidence"] > 0.9
    bits = face["bits"]
    assert bits["total"] == 8 * len(base64.b64decode(face["bitstream"]))
    assert bits["total"] == sum(bits[part] for part in ("header", "identity", "expression", "illumination"))
    confidences = face["expression"]["confidences"]
    assert math.isclose(sum(confidences.values()), 1, abs_tol=1e-4)
    assert face["expression"]["leading"] == max(confidences, key=confidences.__getitem__)
    assert face["who"] is None


def test_an_answer_names_its_models_and_the_time_of_each_stage(client: httpx.Client, portrait: bytes) -> None:
    answer = client.post("/v1/analyze", content=portrait, headers=JPEG).raise_for_status().json()
    names = [model["name"] for model in answer["models"]]
    assert names[3:] == ["descriptor_extraction", "codec", "expression_recognition"]
    assert all(len(model["hash"]) == 16 and model["version"] == "1" for model in answer["models"])
    times = answer["milliseconds"]
    assert set(times) == {"extract", "encode", "understand", "queue", "total"}
    stages = sum(times[stage] for stage in ("extract", "encode", "understand"))
    assert 0 <= times["queue"] <= stages <= times["total"]


def test_a_multipart_photograph_gives_the_same_bitstream_as_a_raw_one(
    client: httpx.Client, portrait: bytes, frame: bytes
) -> None:
    answer = client.post("/v1/encode", files={"photograph": ("me.jpg", portrait, "image/jpeg")}).raise_for_status()
    assert answer.content == frame
    assert answer.headers["content-type"] == "application/vnd.semface.bitstream"
    assert "codec/1" in answer.headers["semface-models"]
    assert "extract;dur=" in answer.headers["server-timing"]


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_each_promised_type_is_taken(client: httpx.Client, kind: str) -> None:
    file = io.BytesIO()
    astronaut().save(file, kind)
    media_type = f"image/{kind.lower()}"
    raw = client.post("/v1/encode", content=file.getvalue(), headers={"Content-Type": f"{media_type}; charset=binary"})
    part = client.post("/v1/encode", files={"photograph": ("me", file.getvalue(), media_type)})
    assert raw.raise_for_status().content == part.raise_for_status().content


@pytest.mark.parametrize("media_type", ["image/gif", "image/svg+xml", "image/jpg", "image/"])
def test_an_image_of_another_type_is_refused_whatever_its_bytes(
    client: httpx.Client, portrait: bytes, media_type: str
) -> None:
    raw = client.post("/v1/encode", content=portrait, headers={"Content-Type": media_type})
    part = client.post("/v1/encode", files={"photograph": ("me", portrait, media_type)})
    for refused in (raw, part):
        assert (refused.status_code, refused.json()["reason"]) == (415, "MEDIA_TYPE_UNSUPPORTED")
        assert "image/webp" in refused.json()["detail"]


def test_a_part_without_a_type_of_its_own_is_told_by_its_bytes(
    client: httpx.Client, portrait: bytes, frame: bytes
) -> None:
    for media_type in ("application/octet-stream", ""):
        answer = client.post("/v1/encode", files={"photograph": ("me", portrait, media_type)})
        assert answer.raise_for_status().content == frame


def test_the_expression_comes_from_the_decoded_numbers(client: httpx.Client, portrait: bytes, frame: bytes) -> None:
    analyzed = client.post("/v1/analyze", content=portrait, headers=JPEG).raise_for_status().json()
    received = client.post("/v1/expression", content=frame, headers=BITSTREAM).raise_for_status().json()
    assert received["faces"][0] == analyzed["faces"][0]["expression"]


def test_a_finer_quality_takes_more_bits(client: httpx.Client, portrait: bytes) -> None:
    sizes = [
        len(client.post("/v1/encode", params={"quality": q}, content=portrait, headers=JPEG).raise_for_status().content)
        for q in ("0", "medium", "high")
    ]
    assert sizes == sorted(set(sizes))


def test_an_unknown_quality_is_refused(client: httpx.Client, portrait: bytes) -> None:
    answer = client.post("/v1/encode", params={"quality": "perfect"}, content=portrait, headers=JPEG)
    assert (answer.status_code, answer.json()["reason"]) == (422, "FIELD_INVALID")


def test_a_portion_travels_alone(client: httpx.Client, portrait: bytes) -> None:
    answer = client.post("/v1/analyze", params={"portion": "identity"}, content=portrait, headers=JPEG)
    (face,) = answer.raise_for_status().json()["faces"]
    assert face["expression"] is None
    assert face["bits"]["expression"] == face["bits"]["illumination"] == 0
    assert face["bits"]["identity"] > 100


def test_several_faces_are_analyzed_in_reading_order(client: httpx.Client) -> None:
    for picture in (two_faces(), ImageOps.mirror(two_faces())):
        answer = client.post("/v1/analyze", content=jpeg(picture), headers=JPEG).raise_for_status().json()
        assert [face["id"] for face in answer["faces"]] == [0, 1]
        left, right = (face["box"]["x0"] for face in answer["faces"])
        assert left < right


def with_a_blurred_face() -> Image.Image:
    """Return a picture of two faces, the larger one, at the left, blurred beyond recognition."""
    picture = two_faces()
    portrait = picture.crop((0, 0, 512, 512))
    picture.paste(portrait.filter(ImageFilter.GaussianBlur(7)), (0, 0))
    return picture


def test_a_poor_face_is_told_with_its_quality_and_nothing_is_decided_on_it(client: httpx.Client) -> None:
    picture = jpeg(with_a_blurred_face())
    answer = client.post("/v1/analyze", params={"who": True}, content=picture, headers=JPEG).raise_for_status().json()
    poor, good = answer["faces"]
    assert poor["quality"] < answer["minimum_quality"] <= good["quality"]
    assert poor["who"] is None
    assert good["who"] is not None
    recognized = client.post("/v1/expression", content=picture, headers=JPEG).raise_for_status().json()
    assert recognized["faces"] == [good["expression"]]
    # The one good face is meant, whichever is larger.
    for choice in ("only", "largest"):
        sent = client.post("/v1/encode", params={"face": choice}, content=picture, headers=JPEG).raise_for_status()
        assert sent.content == base64.b64decode(good["bitstream"])


@pytest.mark.parametrize("route", ["/v1/encode", "/v1/identify", "/v1/render"])
def test_several_faces_are_refused_where_one_is_needed(client: httpx.Client, route: str) -> None:
    both = jpeg(two_faces())
    refused = client.post(route, content=both, headers=JPEG)
    assert (refused.status_code, refused.json()["reason"]) == (422, "SEVERAL_FACES")
    assert client.post(route, params={"face": "largest"}, content=both, headers=JPEG).is_success


def test_a_target_in_bits_chooses_the_quality(client: httpx.Client, portrait: bytes) -> None:
    coarse, fine = (
        client.post("/v1/encode", content=portrait, headers=JPEG, params={"bits": bits}).raise_for_status().content
        for bits in (1, 8192)
    )
    assert len(coarse) < len(fine)
    both = client.post("/v1/encode", content=portrait, headers=JPEG, params={"bits": 300, "quality": 0})
    assert both.json()["reason"] == "FIELD_INVALID"


def test_a_recogniser_of_pixels_is_asked_by_name(client: httpx.Client, portrait: bytes) -> None:
    answer = client.post("/v1/expression?model=dan", content=portrait, headers=JPEG).raise_for_status().json()
    (face,) = answer["faces"]
    assert sum(face["confidences"].values()) == pytest.approx(1.0, abs=1e-4)
    assert face["leading"] == max(face["confidences"], key=face["confidences"].__getitem__)
    assert answer["models"][-1]["name"] == "dan"
    # Nothing is coded for it.
    assert "codec" not in [model["name"] for model in answer["models"]]


def test_a_recogniser_of_pixels_takes_a_photograph_alone(client: httpx.Client, portrait: bytes, frame: bytes) -> None:
    answer = client.post("/v1/expression?model=dan", content=frame, headers=BITSTREAM)
    assert (answer.status_code, answer.json()["reason"]) == (422, "FIELD_INVALID")
    for name in ("deepface", "slfer"):
        answer = client.post(f"/v1/expression?model={name}", content=portrait, headers=JPEG)
        assert (answer.status_code, answer.json()["reason"]) == (404, "MODEL_UNKNOWN")
