"""One moving face on the path that serves: find, describe, send in a session, receive, compare with what was sent.

A video's frames count as they come, 25 a second, whatever rate the file tells. The first frame is a key, and one comes
every 250.
"""

import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from semface.codec.bitstream import is_predicted
from semface.codec.core import Codec
from semface.codec.session import KEY_INTERVAL, FrameState, SessionDecoder, SessionEncoder
from semface.codec.steering import eye_distances, landmarks
from semface.descriptors import GROUPS, Descriptors, Portion
from semface.errors import Reason, SemfaceError
from semface.evaluation.pictures import Pixels, Progress, chosen_face
from semface.extraction.alignment import crop_face, face_square
from semface.extraction.core import Extractor
from semface.extraction.detection import FaceDetector
from semface.extraction.steadiness import SteadySquare
from semface.inference.engine import Engine
from semface.understanding.core import Understanding


@dataclass(frozen=True, slots=True)
class DescribedFrames:
    """One moving face in numbers."""

    descriptors: Descriptors
    """(N, 257)."""
    fallback: int
    """Frames in which no face was found; the square of the frame before stood for it, or the whole picture."""
    median_ms: float
    """Median time to find and describe the face of one frame, in milliseconds."""


@dataclass(frozen=True, slots=True)
class StreamFigures:
    """What a session of one moving face costs and keeps; rates in bits of whole frames, checks included."""

    bits_per_frame_mean: float
    """Over all frames, keys included."""
    predicted_bits_mean: float | None
    key_bits_mean: float
    expression_agreement: float
    """Share of frames (0..1) whose leading expression is that of the uncoded numbers."""
    landmark_shift: float
    """Mean distance of the 68 landmarks from those of the uncoded numbers, over the outer eye corners.

    Where identity does not travel, both sides are drawn on the sender's shape."""
    frames: int
    fallback: int
    """Frames in which no face was found."""
    describe_ms_p50: float
    """Median time of the sender to find and describe the face of one frame, in milliseconds."""
    encode_ms_p50: float
    """Median time of the sender to code it."""
    decode_ms_p50: float
    """Median time of the receiver to decode it."""

    def as_json(self) -> dict[str, float | int | None]:
        """Return the figures by name."""
        return asdict(self)


async def describe_motion(engine: Engine, pictures: Iterable[Pixels], progress: Progress) -> DescribedFrames:
    """Describe one face in all ``pictures``, each RGB uint8 (H, W, 3). Raises FIELD_INVALID where there is none.

    Of several faces the one nearest to the picture's centre counts. Its square is held still while it stays inside.
    """
    detector, extractor, steady = FaceDetector(engine), Extractor(engine), SteadySquare()
    rows, times, fallback = [], [], 0
    for picture in pictures:
        start = time.perf_counter()
        height, width = picture.shape[:2]
        face = chosen_face(await detector.detect(picture), width, height)
        fallback += face is None
        square = steady.follow(None if face is None else face_square(face.box)) or face_square((0, 0, width, height))
        rows.append((await extractor.describe([crop_face(picture, square)]))[0])
        times.append(time.perf_counter() - start)
        progress(1)
    if not rows:
        raise SemfaceError(Reason.FIELD_INVALID, "there is no frame to judge; name a video or a zip of pictures")
    return DescribedFrames(np.array(rows, np.float32), fallback, _median_ms(times))


async def evaluate_stream(
    codec: Codec, described: DescribedFrames, quality: str | int | None, portions: Portion
) -> StreamFigures:
    """Send ``described`` through a session at ``quality`` (None: the session's own) and judge what comes out.

    Raises FIELD_INVALID for an unknown quality or portions without expression.
    """
    encoder = SessionEncoder(codec, quality, portions, key_interval=KEY_INTERVAL)
    decoder, sent = SessionDecoder(codec), described.descriptors
    frames, received, times = [], [], []
    for face in sent:
        start = time.perf_counter()
        frames.append(await encoder.encode(face))
        coded = time.perf_counter()
        shown = await decoder.decode(frames[-1])
        times.append((coded - start, time.perf_counter() - coded))
        if shown.state is not FrameState.DECODED:
            raise RuntimeError("a frame was not decoded that its own encoder made")
        received.append(shown.descriptors)
    faces = np.array(received, np.float32)
    if Portion.IDENTITY not in portions:
        faces[:, GROUPS["shape"]] = sent[:, GROUPS["shape"]]
    understanding = Understanding(codec.engine)
    told, wanted = await understanding.expressions(faces), await understanding.expressions(sent)
    bits = np.array([8 * len(frame) for frame in frames])
    predicted = np.array([is_predicted(frame) for frame in frames])
    encode, decode = zip(*times, strict=True)
    return StreamFigures(
        bits_per_frame_mean=float(bits.mean()),
        predicted_bits_mean=float(bits[predicted].mean()) if predicted.any() else None,
        key_bits_mean=float(bits[~predicted].mean()),
        expression_agreement=float(np.mean(told.argmax(axis=1) == wanted.argmax(axis=1))),
        landmark_shift=float(landmark_shift(faces, sent).mean()),
        frames=len(frames),
        fallback=described.fallback,
        describe_ms_p50=described.median_ms,
        encode_ms_p50=_median_ms(encode),
        decode_ms_p50=_median_ms(decode),
    )


def landmark_shift(received: Descriptors, sent: Descriptors) -> Descriptors:
    """Return for each face (N,) the mean distance of its 68 landmarks from those sent, over the outer eye corners."""
    points, truth = landmarks(received), landmarks(sent)
    moved = np.linalg.norm((points - truth).reshape(len(points), -1, 2), axis=2)
    return moved.mean(axis=1) / eye_distances(truth)


def _median_ms(seconds: Sequence[float]) -> float:
    return 1e3 * float(np.median(seconds))
