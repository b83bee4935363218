"""`semface render`: the same face from a photograph, its bitstream and its numbers; from any side; the model itself."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.cli.conftest import Run


def drawn(run: Run, path: Path, *arguments: object) -> np.ndarray:
    """Return what `semface render` draws into ``path``, 64 x 64 pixels."""
    done = run("render", *arguments, "-o", path, "--size", 64)
    assert done.returncode == 0, done.stderr
    return np.asarray(Image.open(path)).astype(int)


@pytest.fixture
def bitstream(run: Run, photo: Path, tmp_path: Path) -> Path:
    path = tmp_path / "portrait.semface"
    assert run("encode", photo, "--output", path).returncode == 0
    return path


def test_photograph_bitstream_and_numbers_give_one_picture(
    run: Run, photo: Path, bitstream: Path, tmp_path: Path
) -> None:
    numbers = tmp_path / "portrait.json"
    numbers.write_text(run("decode", bitstream, "--json").stdout)
    pictures = [drawn(run, tmp_path / "face.png", source) for source in (photo, bitstream, numbers)]
    assert pictures[0].shape == (64, 64, 3)
    assert pictures[0].std() > 10
    np.testing.assert_array_equal(pictures[0], pictures[1])
    np.testing.assert_array_equal(pictures[1], pictures[2])


def test_without_a_source_the_mean_head_is_drawn(run: Run, tmp_path: Path) -> None:
    picture = drawn(run, tmp_path / "head.png")
    assert picture.std() > 10
    # The mean head is its own mirror image, but for pixels on its outline.
    assert np.abs(picture - picture[:, ::-1]).mean() < 2


def test_a_head_turned_to_its_left_is_the_mirror_image_of_one_turned_right(run: Run, tmp_path: Path) -> None:
    left, right, frontal = (drawn(run, tmp_path / "head.png", "--yaw", angle) for angle in (40, -40, 0))
    assert np.abs(left - right[:, ::-1]).mean() < 2
    assert np.abs(left - frontal).mean() > 5


@pytest.mark.slow
def test_the_models_modes_are_drawn(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "modes.webp"
    told = json.loads(run("render", "--modes", "-o", path, "--json").stdout)
    assert Image.open(path).size == (told["width"], told["height"])


@pytest.mark.parametrize("content", ["{}", "no json", '{"descriptors": {"shape": [1, 2]}}', '{"descriptors": []}'])
def test_a_file_without_numbers_of_a_face_is_one_line(run: Run, tmp_path: Path, content: str) -> None:
    path = tmp_path / "numbers.json"
    path.write_text(content)
    refused = run("render", path)
    assert refused.returncode == 1
    assert "semface decode" in " ".join(refused.stderr.split())
    assert "defect" not in refused.stderr


def test_a_face_is_written_as_a_mesh(run: Run, photo: Path, tmp_path: Path) -> None:
    done = run("render", photo, "-o", tmp_path / "face.glb", "--json")
    assert done.returncode == 0, done.stderr
    written = (tmp_path / "face.glb").read_bytes()
    assert written.startswith(b"glTF")
    assert json.loads(done.stdout)["bytes"] == len(written)
