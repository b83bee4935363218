import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageFilter, ImageOps

from semface.meaning import OperatingPoint
from tests.cli.conftest import Run
from tests.running import astronaut, changed_copy, jpeg, two_faces


def answer(run: Run, *arguments: object) -> Any:
    """Return what a command answers as JSON."""
    done = run(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def bitstream(run: Run, photo: Path, tmp_path: Path) -> Path:
    path = tmp_path / "portrait.semface"
    told = answer(run, "encode", photo, "--output", path)
    assert told["bits"]["total"] == 8 * path.stat().st_size
    return path


def test_a_photograph_is_analyzed(run: Run, photo: Path) -> None:
    told = answer(run, "analyze", photo)
    (face,) = told["faces"]
    assert told["photograph_bytes"] == photo.stat().st_size
    assert sum(face["expression"]["confidences"].values()) == pytest.approx(1, abs=1e-4)
    bits = face["bits"]
    assert bits["total"] == bits["header"] + bits["identity"] + bits["expression"] + bits["illumination"]


def test_people_get_a_table(run: Run, photo: Path) -> None:
    done = run("analyze", photo)
    assert "confidence" in done.stdout
    assert "{" not in done.stdout


def test_a_bitstream_decodes(run: Run, bitstream: Path) -> None:
    told = answer(run, "decode", bitstream)
    assert sum(map(len, told["descriptors"].values())) == 257
    assert told["portions"] == ["identity", "expression", "illumination"]


def test_a_portion_is_encoded_alone(run: Run, photo: Path, tmp_path: Path) -> None:
    path = tmp_path / "expression.semface"
    answer(run, "encode", photo, "-o", path, "--portion", "expression")
    assert answer(run, "decode", path)["portions"] == ["expression"]
    refused = run("verify", path, path)
    assert "GROUP_ABSENT" in refused.stderr


def test_the_photograph_and_its_bitstream_have_one_expression(run: Run, photo: Path, bitstream: Path) -> None:
    assert answer(run, "expression", photo) == answer(run, "expression", bitstream)


def test_a_changed_copy_is_the_same_person_and_a_stranger_is_not(run: Run, photo: Path, tmp_path: Path) -> None:
    copy, stranger = tmp_path / "copy.jpg", tmp_path / "stranger.jpg"
    copy.write_bytes(jpeg(changed_copy(astronaut()), 70))
    # The tiny networks see colours in places, so a mirrored face is another to them.
    stranger.write_bytes(jpeg(ImageOps.mirror(astronaut())))
    same, other = answer(run, "verify", photo, copy), answer(run, "verify", photo, stranger)
    assert (same["matched"], other["matched"]) == (True, False)
    assert same["score"] > same["threshold"] == 0.5 > other["score"]


@pytest.mark.parametrize("command", ["verify", "identify"])
def test_an_unknown_operating_point_is_one_line_with_the_known_ones(run: Run, photo: Path, command: str) -> None:
    photos = [photo] * (2 if command == "verify" else 1)
    refused = run(command, *photos, "--operating-point", "sure")
    assert refused.returncode == 2
    assert refused.stderr.count("\n") == 1
    assert all(point in refused.stderr for point in OperatingPoint)


def test_a_command_refuses_the_photographs_that_the_service_refuses(run: Run, photo: Path, tmp_path: Path) -> None:
    blurred = tmp_path / "blurred.png"
    astronaut().filter(ImageFilter.GaussianBlur(7)).save(blurred)
    refused = run("verify", photo, blurred)
    assert refused.returncode == 1
    assert "LOW_QUALITY" in refused.stderr
    assert blurred.name in "".join(refused.stderr.split())
    assert run("verify", photo, blurred, SEMFACE_MINIMUM_QUALITY="0").returncode == 0
    for limit in ("BYTES", "PIXELS"):
        assert "IMAGE_TOO_LARGE" in run("encode", photo, **{f"SEMFACE_MAX_IMAGE_{limit}": "1000"}).stderr


def test_several_faces_are_refused_unless_the_largest_will_do(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "both.jpg"
    path.write_bytes(jpeg(two_faces()))
    refused = run("encode", path)
    assert "SEVERAL_FACES" in refused.stderr
    assert "--face largest" in refused.stderr
    assert answer(run, "encode", path, "--face", "largest")["bits"]["total"] > 0


def test_a_damaged_bitstream_is_refused(run: Run, bitstream: Path, tmp_path: Path) -> None:
    damaged = bytearray(bitstream.read_bytes())
    damaged[-3] ^= 4
    path = tmp_path / "damaged.semface"
    path.write_bytes(damaged)
    assert "BITSTREAM_CORRUPT" in run("decode", path).stderr


def test_a_target_in_bits_chooses_the_quality(run: Run, photo: Path, tmp_path: Path) -> None:
    sizes = [
        answer(run, "encode", photo, "-o", tmp_path / "face.semface", "--bits", bits)["bits"]["total"]
        for bits in (1, 8192)
    ]
    assert sizes[0] < sizes[1]
    refused = run("encode", photo, "--bits", 300, "--quality", "low")
    assert "either a quality or a target" in refused.stderr


def test_a_decoded_expression_is_told_as_blendshapes_where_asked(run: Run, bitstream: Path) -> None:
    assert len(answer(run, "decode", bitstream, "--blendshapes")["blendshapes"]) == 52
    assert "blendshapes" not in answer(run, "decode", bitstream)


def test_dan_looks_at_the_pixels_and_shows_where(run: Run, photo: Path, bitstream: Path, tmp_path: Path) -> None:
    drawn = tmp_path / "attention.png"
    told = answer(run, "expression", photo, "--model", "dan", "--attention", drawn)
    assert sum(told["expression"]["confidences"].values()) == pytest.approx(1.0, abs=1e-4)
    assert [model["name"] for model in told["models"]] == ["dan"]
    with Image.open(drawn) as picture:
        # The crop, and one panel for each of four heads.
        assert picture.size == (5 * picture.height, picture.height)
        crop = picture.crop((0, 0, picture.height, picture.height))
        heads = [picture.crop((n * picture.height, 0, (n + 1) * picture.height, picture.height)) for n in range(1, 5)]
    assert all(head.tobytes() != crop.tobytes() for head in heads)
    for arguments, reason in (
        ((bitstream, "--model", "dan"), "FIELD_INVALID"),
        ((photo, "--model", "slfer"), "MODEL_UNKNOWN"),
        ((photo, "--model", "deepface"), "MODEL_UNKNOWN"),
        ((photo, "--attention", drawn), "FIELD_INVALID"),
    ):
        done = run("expression", *arguments)
        assert done.returncode != 0
        assert reason in done.stderr
