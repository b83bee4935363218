"""A video to a recorded session and back."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from rich.console import Console
from rich.progress import Progress

from semface.cli.chain import Chain
from semface.codec.bitstream import is_predicted
from semface.codec.recording import Recording
from semface.codec.session import SessionDecoder, SessionEncoder
from semface.descriptors import GROUPS, PORTION_GROUPS, Portion, portion_names
from semface.errors import Reason, SemfaceError
from semface.extraction.alignment import crop_face, face_square
from semface.extraction.detection import Detection, FaceDetector
from semface.extraction.steadiness import SteadySquare
from semface.extraction.video import Video

VIDEO_SUFFIXES: Final = frozenset({".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi"})
"""What calls itself a video."""


async def record(chain: Chain, path: Path, quality: str | None, portions: Portion) -> Recording:
    """Code the largest face of each frame of the video at ``path``, under a bar on standard error.

    Where a frame shows no face, its place stays empty, a receiver holds the last one, and a key comes next. Raises
    NO_FACE where none shows one, and what ``Video`` and ``SessionEncoder`` raise.
    """
    encoder = SessionEncoder(chain.codec, quality, portions)
    detector, steady = FaceDetector(chain.engine), SteadySquare()
    frames: list[bytes] = []
    with Video(path) as video, Progress(console=Console(stderr=True)) as bar:
        rate, task = video.frames_per_second, bar.add_task("frames", total=video.length)
        for picture in video.frames():
            largest = largest_face(await detector.detect(picture))
            square = None if largest is None else steady.follow(face_square(largest.box))
            if square is None:
                frames.append(b"")
            else:
                described = await chain.extractor.describe([crop_face(picture, square)])
                frames.append(await encoder.encode(described[0], key=bool(frames) and not frames[-1]))
            bar.advance(task)
    if not any(frames):
        raise SemfaceError(Reason.NO_FACE, f"{path}: no face was found in the video")
    return Recording(bytes.fromhex(chain.codec.model_hash), rate, frames)


def largest_face(found: Sequence[Detection]) -> Detection | None:
    """Return the face with the longest side, None where none was found."""
    return max(found, key=lambda face: float(np.ptp(face.box.reshape(2, 2), axis=0).max()), default=None)


def told(recording: Recording) -> dict[str, Any]:
    """Return where the bits of ``recording`` go."""
    bits = {True: [0], False: [0]}
    for frame in filter(None, recording.frames):
        bits[is_predicted(frame)].append(8 * len(frame))
    return {
        "frames": len(recording.frames),
        "frames_per_second": float(recording.frames_per_second),
        "keys": len(bits[False]) - 1,
        "bits_per_frame_mean": (sum(bits[True]) + sum(bits[False])) / len(recording.frames),
    }


async def replay(chain: Chain, data: bytes) -> dict[str, Any]:
    """Return the numbers of each moment of the session in ``data``; raises MODEL_MISMATCH or BITSTREAM_CORRUPT."""
    recording = Recording.read(data)
    if recording.model_hash.hex() != chain.codec.model_hash[: 2 * len(recording.model_hash)]:
        raise SemfaceError(Reason.MODEL_MISMATCH, "the recording was made by another codec model; decode it with that")
    decoder, moments = SessionDecoder(chain.codec), []
    for frame in recording.frames:
        shown = await decoder.decode(frame)
        names = [name for portion in shown.portions for name in PORTION_GROUPS[portion]]
        moments.append(
            {
                "state": shown.state.value,
                "portions": portion_names(shown.portions),
                "descriptors": {name: shown.descriptors[GROUPS[name]].tolist() for name in names},
            }
        )
    return {**told(recording), "moments": moments, "models": [chain.model("codec")]}
