"""Frames of a video file."""

import sys
from pathlib import Path

import numpy as np
import pytest

from semface.errors import Reason, SemfaceError
from semface.extraction import video as reading
from semface.extraction.video import Video

av = pytest.importorskip("av", reason="PyAV is not installed: the extra video")

GREYS = (40, 80, 120)


@pytest.fixture
def moving(tmp_path: Path) -> Path:
    """A video of three grey frames, 64 × 48 pixels."""
    path = tmp_path / "moving.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for grey in GREYS:
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), grey, np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def refusal(path: Path) -> Reason:
    with pytest.raises(SemfaceError) as refused, Video(path) as video:
        list(video.frames())
    return refused.value.reason


def test_a_video_is_read_frame_by_frame(moving: Path) -> None:
    with Video(moving) as video:
        assert (video.frames_per_second, video.length) == (25, 3)
        frames = list(video.frames())
    assert {frame.shape for frame in frames} == {(48, 64, 3)}
    assert [round(float(frame.mean()), -1) for frame in frames] == list(GREYS)


def test_what_is_no_video_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "none.mp4"
    assert refusal(path) is Reason.IMAGE_UNDECODABLE
    path.write_bytes(b"no video")
    assert refusal(path) is Reason.IMAGE_UNDECODABLE
    with av.open(str(tmp_path / "sound.wav"), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), layout="mono")
        sound.rate = 8000
        container.mux(stream.encode(sound))
    assert refusal(tmp_path / "sound.wav") is Reason.IMAGE_UNDECODABLE


def test_frames_that_are_too_large_are_refused_before_one_is_decoded(
    moving: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "MAXIMUM_SIDE", 64)
    with Video(moving):
        pass
    monkeypatch.setattr(reading, "MAXIMUM_SIDE", 63)
    assert refusal(moving) is Reason.IMAGE_TOO_LARGE


def test_a_video_that_is_damaged_inside_is_refused_by_name(moving: Path) -> None:
    with av.open(str(moving)) as container:
        packets = [(packet.pos, packet.size) for packet in container.demux() if packet.size]
    damaged = bytearray(moving.read_bytes())
    for place, size in packets:
        damaged[place : place + size] = bytes(size)
    moving.write_bytes(damaged)
    assert refusal(moving) is Reason.IMAGE_UNDECODABLE


def test_without_the_extra_it_is_told_what_to_install(moving: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(SemfaceError) as refused:
        Video(moving)
    assert refused.value.reason is Reason.FIELD_INVALID
    assert "semface[video]" in refused.value.message
