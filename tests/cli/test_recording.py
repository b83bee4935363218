"""A video becomes a recorded session, and is told again."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageChops

from semface.codec.recording import Recording
from tests.cli.conftest import Run
from tests.running import astronaut, noise

av = pytest.importorskip("av", reason="PyAV is not installed: the extra video")

MOMENTS = 5
WITHOUT_FACE = 3
"""The moment in which the picture shows nobody."""


def write_video(path: Path, pictures: list[Image.Image]) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25, options={"qscale": "2"})
        stream.width, stream.height, stream.pix_fmt = *pictures[0].size, "yuv420p"
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.asarray(picture), format="rgb24")))
        container.mux(stream.encode())
    return path


@pytest.fixture(scope="session")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A man who moves a little to the side, and is not there for a moment."""
    portrait = astronaut().resize((256, 256))
    pictures = [ImageChops.offset(portrait, 2 * moment, 0) for moment in range(MOMENTS)]
    pictures[WITHOUT_FACE] = noise().resize((256, 256))
    return write_video(tmp_path_factory.mktemp("video") / "talk.mp4", pictures)


def answer(run: Run, *arguments: object) -> Any:
    done = run(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_video_is_recorded_and_each_moment_is_told(run: Run, video: Path, tmp_path: Path) -> None:
    path = tmp_path / "talk.semface"
    told = answer(run, "encode", video, "-o", path, "--quality", "high")
    assert (told["frames"], told["keys"], told["frames_per_second"]) == (MOMENTS, 2, 25)
    recording = Recording.read(path.read_bytes())
    assert told["bits_per_frame_mean"] == pytest.approx(8 * sum(map(len, recording.frames)) / MOMENTS)
    assert [bool(frame) for frame in recording.frames] == [moment != WITHOUT_FACE for moment in range(MOMENTS)]
    moments = answer(run, "decode", path)["moments"]
    assert [moment["state"] for moment in moments] == 3 * ["decoded"] + ["concealed", "decoded"]
    assert moments[3]["descriptors"] == moments[2]["descriptors"] != moments[4]["descriptors"]
    assert sum(map(len, moments[0]["descriptors"].values())) == 257


def test_a_portion_of_a_video_is_recorded_alone(run: Run, video: Path, tmp_path: Path) -> None:
    path = tmp_path / "talk.semface"
    answer(run, "encode", video, "-o", path, "--portion", "expression")
    assert {tuple(moment["portions"]) for moment in answer(run, "decode", path)["moments"]} == {("expression",)}


def test_what_cannot_be_recorded_is_refused_by_name(run: Run, video: Path, tmp_path: Path) -> None:
    empty = write_video(tmp_path / "empty.mp4", 2 * [noise().resize((64, 64))])
    for arguments, reason in (
        ((empty,), "NO_FACE"),
        ((video, "--bits", "300"), "FIELD_INVALID"),
        ((video, "--portion", "identity"), "FIELD_INVALID"),
        ((video, "--quality", "best"), "FIELD_INVALID"),
    ):
        refused = run("encode", *arguments, "-o", tmp_path / "none.semface")
        assert refused.returncode == 1
        assert reason in refused.stderr
        assert not (tmp_path / "none.semface").exists()


def test_a_recording_of_another_codec_model_is_refused(run: Run, video: Path, tmp_path: Path) -> None:
    path = tmp_path / "talk.semface"
    answer(run, "encode", video, "-o", path)
    data = bytearray(path.read_bytes())
    data[4] ^= 1
    path.write_bytes(data)
    assert "MODEL_MISMATCH" in run("decode", path).stderr


@pytest.mark.parametrize("command", ["expression", "verify", "render"])
def test_a_recording_where_one_face_is_wanted_is_told_as_such(
    run: Run, video: Path, tmp_path: Path, command: str
) -> None:
    path = tmp_path / "talk.semface"
    answer(run, "encode", video, "-o", path)
    refused = run(command, *([path] * (2 if command == "verify" else 1)))
    assert refused.returncode == 1
    assert "recorded session" in refused.stderr
