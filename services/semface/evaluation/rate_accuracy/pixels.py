"""Pictures coded as pixels, decoded, and recognised: the baseline that the paper compares with.

The recogniser looks where the face was found in the *uncoded* picture. So a baseline never fails because a face can no
longer be found, and the place of the face costs it nothing; with less help it would do worse.
"""

import asyncio
import hashlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from threading import Event
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from semface.evaluation.identity_teacher import (
    IDENTITY_FILE,
    IDENTITY_SIZE,
    IdentityTeacher,
    identity_square,
    landmark_box,
)
from semface.evaluation.landmark_teacher import TEACHER_FILE, LandmarkTeacher
from semface.evaluation.pictures import FaceView, PictureArchive, Pixels, Progress, view_face
from semface.evaluation.rate_accuracy.image_codecs import CodedPicture, ImageCodec
from semface.evaluation.rate_accuracy.kept_answers import KeptAnswers
from semface.extraction.alignment import Square, crop_face
from semface.extraction.detection import FaceDetector
from semface.inference.engine import Engine
from semface.recognisers import RECOGNISERS
from semface.understanding.core import Understanding

CHUNK: Final = 32
"""Pictures that are coded, recognised and kept together."""

Array = NDArray[np.floating]


@dataclass(frozen=True, slots=True)
class PictureRecogniser:
    """A network that recognises pictures: its name, the hash of all files behind it, how many numbers it answers.

    ``frame`` says which square of an uncoded picture it looks at, ``answer`` what it tells of that square of a decoded
    one; ``answer`` is called in threads.
    """

    name: str
    digest: str
    size: int
    frame: Callable[[Pixels, FaceView], Square]
    answer: Callable[[Pixels, Square], Array]


def identity_recogniser(teachers: Path) -> PictureRecogniser:
    """Return the identity teacher in ``teachers``, answering 1,024 numbers, framed by the landmark teacher.

    Raises FIELD_INVALID when one of them is absent or no network.
    """
    landmarks, identity = LandmarkTeacher(teachers / TEACHER_FILE), IdentityTeacher(teachers / IDENTITY_FILE)

    def frame(picture: Pixels, view: FaceView) -> Square:
        return identity_square(landmark_box(landmarks.landmarks(picture, view.box, view.eyes)[0]))

    files = ((teachers / name).read_bytes() for name in (TEACHER_FILE, IDENTITY_FILE))
    digest = hashlib.sha256(b"".join(hashlib.sha256(file).digest() for file in files)).hexdigest()
    return PictureRecogniser("identity teacher", digest, IDENTITY_SIZE, frame, identity.embedding)


def expression_recogniser(engine: Engine, loop: asyncio.AbstractEventLoop) -> PictureRecogniser:
    """Return DAN as ``engine`` serves it in ``loop``, answering 8 confidences. Raises MODEL_UNKNOWN without it."""
    understanding, network = Understanding(engine), RECOGNISERS["dan"]

    def frame(picture: Pixels, view: FaceView) -> Square:
        return view.square

    def answer(picture: Pixels, square: Square) -> Array:
        asked = understanding.recognitions(network, crop_face(picture, square)[None])
        return asyncio.run_coroutine_threadsafe(asked, loop).result()["confidences"][0]

    digest = understanding.recogniser_model(network).hash
    return PictureRecogniser("DAN", digest, len(network.classes), frame, answer)


@dataclass(frozen=True, slots=True)
class FramedPictures:
    """Pictures of ``archive`` with the square (left, top, side) of each that a recogniser looks at, (N, 3).

    NaN marks a picture that cannot be decoded.
    """

    archive: PictureArchive
    stems: tuple[str, ...]
    squares: NDArray[np.float32]

    @property
    def readable(self) -> list[str]:
        """The stems of the pictures that can be decoded."""
        return [stem for stem, square in zip(self.stems, self.squares, strict=True) if not np.isnan(square[0])]


async def frame_pictures(
    engine: Engine,
    archive: PictureArchive,
    stems: Sequence[str],
    recogniser: PictureRecogniser,
    kept: KeptAnswers,
    progress: Progress,
) -> FramedPictures:
    """Frame the face of each picture: the one nearest to the centre, or the whole picture where none is found."""
    detector = FaceDetector(engine)
    missing = kept.missing(stems)
    progress(len(stems) - len(missing))
    for chunk in _chunks(missing):
        squares = np.full((len(chunk), 3), np.nan, np.float32)
        for row, stem in enumerate(chunk):
            picture = archive.pixels(stem)
            if picture is not None:
                squares[row] = recogniser.frame(picture, await view_face(detector, picture))
        kept.add(chunk, {"squares": squares})
        progress(len(chunk))
    return FramedPictures(archive, tuple(stems), kept.gather(stems)["squares"].astype(np.float32))


@dataclass(frozen=True, slots=True)
class RecognisedPictures:
    """What a recogniser answered about each picture (N, size), NaN without one, and the bits (N,); 0 where uncoded."""

    answers: NDArray[np.float32]
    total_bits: NDArray[np.float64]
    data_bits: NDArray[np.float64]

    @property
    def bits_mean(self) -> tuple[float, float]:
        """Mean of all bits and of those of the picture data, over the pictures that could be coded."""
        coded = ~np.isnan(self.total_bits)
        return float(self.total_bits[coded].mean()), float(self.data_bits[coded].mean())


@dataclass(frozen=True, slots=True)
class PixelPass:
    """One way of coding pictures: ``codec`` at ``parameter``, or None for the pictures as they are.

    ``side``: enlarge pictures first until their longer side has so many pixels, or None.
    """

    codec: ImageCodec | None
    parameter: int
    side: int | None = None

    @property
    def key(self) -> str:
        """What its answers hang on, beside pictures and recogniser."""
        coded = "uncoded" if self.codec is None else f"{self.codec.version}-{self.codec.quantiser}{self.parameter}"
        return f"{coded}-{self.side or 'own'}"

    def code(self, pictures: Sequence[Pixels]) -> list[CodedPicture]:
        """Code ``pictures``, all of one size, and decode them."""
        if self.side is not None:
            scale = self.side / max(pictures[0].shape[:2])
            size = round(pictures[0].shape[1] * scale), round(pictures[0].shape[0] * scale)
            pictures = [np.asarray(Image.fromarray(p).resize(size, Image.Resampling.BICUBIC)) for p in pictures]
        if self.codec is None:
            return [CodedPicture(picture, 0, 0) for picture in pictures]
        return self.codec.code(pictures, self.parameter)


def recognise_pixels(
    framed: FramedPictures,
    way: PixelPass,
    recogniser: PictureRecogniser,
    kept: KeptAnswers,
    progress: Progress,
    workers: int = 1,
    stopped: Event | None = None,
) -> RecognisedPictures:
    """Code, decode and recognise each picture; chunks that ``kept`` holds are not done again.

    Once ``stopped`` is set no further chunk is begun, and ``InterruptedError`` is raised.
    """
    missing = kept.missing(framed.readable)
    progress(len(framed.stems) - len(missing))
    squares = dict(zip(framed.stems, framed.squares.astype(float), strict=True))

    def work(stems: list[str]) -> tuple[list[str], dict[str, NDArray[np.generic]]]:
        return stems, _recognise(framed.archive, stems, squares, way, recogniser)

    with ThreadPoolExecutor(workers) as pool:
        for stems, answers in pool.map(work, _chunks(missing)):
            kept.add(stems, answers)
            progress(len(stems))
            if stopped is not None and stopped.is_set():
                pool.shutdown(wait=False, cancel_futures=True)
                raise InterruptedError("the run was stopped; what is kept is not done again")
    return _gathered(framed, kept, recogniser.size)


def _recognise(
    archive: PictureArchive,
    stems: Sequence[str],
    squares: dict[str, NDArray[np.float64]],
    way: PixelPass,
    recogniser: PictureRecogniser,
) -> dict[str, NDArray[np.generic]]:
    """Return the answers about ``stems`` and their bits."""
    coded: dict[str, CodedPicture] = {}
    scales: dict[str, float] = {}
    pictures = {stem: picture for stem in stems if (picture := archive.pixels(stem)) is not None}
    for _, group in groupby(sorted(pictures, key=lambda stem: pictures[stem].shape), lambda stem: pictures[stem].shape):
        names = list(group)
        for stem, one in zip(names, way.code([pictures[stem] for stem in names]), strict=True):
            coded[stem] = one
            scales[stem] = max(one.decoded.shape[:2]) / max(pictures[stem].shape[:2])
    answers = []
    for stem in stems:
        left, top, side = (float(number) for number in squares[stem] * scales[stem])
        answers.append(recogniser.answer(coded[stem].decoded, (left, top, side)))
    return {
        # Halved, so that a whole run's answers fit a disk; a fresh run rounds alike.
        "answers": np.array(answers, np.float16),
        "total_bits": np.array([coded[stem].total_bits for stem in stems]),
        "data_bits": np.array([coded[stem].data_bits for stem in stems]),
    }


def _gathered(framed: FramedPictures, kept: KeptAnswers, size: int) -> RecognisedPictures:
    found = RecognisedPictures(
        np.full((len(framed.stems), size), np.nan, np.float32),
        np.full(len(framed.stems), np.nan),
        np.full(len(framed.stems), np.nan),
    )
    readable = set(framed.readable)
    rows = [row for row, stem in enumerate(framed.stems) if stem in readable]
    gathered = kept.gather(framed.readable)
    if rows:
        found.answers[rows] = gathered["answers"]
        found.total_bits[rows] = gathered["total_bits"]
        found.data_bits[rows] = gathered["data_bits"]
    return found


def _chunks(stems: Sequence[str]) -> Iterator[list[str]]:
    for start in range(0, len(stems), CHUNK):
        yield list(stems[start : start + CHUNK])
