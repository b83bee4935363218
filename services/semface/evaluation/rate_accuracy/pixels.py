"""Pictures coded as pixels, decoded, and recognised: the baseline that the paper compares with.

The recogniser looks where the face was found in the *uncoded* picture. So a baseline never fails because a face can no
longer be found, and the place of the face costs it nothing; with less help it would do worse.
"""

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

from semface.evaluation.expression_teacher import EXPRESSION_FEATURES, ExpressionTeacher
from semface.evaluation.identity_teacher import IDENTITY_SIZE, IdentityTeacher, landmark_box
from semface.evaluation.landmark_teacher import LandmarkTeacher
from semface.evaluation.pictures import PictureArchive, Pixels, Progress, view_face
from semface.evaluation.rate_accuracy.image_codecs import CodedPicture, ImageCodec
from semface.evaluation.rate_accuracy.kept_answers import KeptAnswers
from semface.extraction.detection import FaceDetector
from semface.inference.engine import Engine
from semface.meaning import EXPRESSIONS

CHUNK: Final = 32
"""Pictures that are coded, recognised and kept together."""

Array = NDArray[np.floating]
Recogniser = Callable[[Pixels, Array], Array]
"""From a decoded picture and the box of the face's landmarks in it to the numbers that are kept."""


@dataclass(frozen=True, slots=True)
class PictureRecogniser:
    """A network that recognises pictures: its name, the hash of its file, how many numbers it answers, and how."""

    name: str
    digest: str
    size: int
    answer: Recogniser


def identity_recogniser(path: Path) -> PictureRecogniser:
    """Return the identity teacher at ``path``, answering 1,024 numbers. Raises what opening it raises."""
    return PictureRecogniser("identity teacher", _digest(path), IDENTITY_SIZE, IdentityTeacher(path).embedding)


def expression_recogniser(path: Path) -> PictureRecogniser:
    """Return the expression teacher at ``path``, answering 8 confidences, then 256 features. Raises as opening it."""
    teacher = ExpressionTeacher(path)

    def answer(picture: Pixels, box: Array) -> Array:
        return np.concatenate(teacher.read(picture, box))

    return PictureRecogniser("expression network", _digest(path), len(EXPRESSIONS) + EXPRESSION_FEATURES, answer)


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""


@dataclass(frozen=True, slots=True)
class FramedPictures:
    """Pictures of ``archive`` with the box (left, top, right, bottom) of the face's landmarks in each, (N, 4).

    NaN marks a picture that cannot be decoded.
    """

    archive: PictureArchive
    stems: tuple[str, ...]
    boxes: NDArray[np.float32]

    @property
    def readable(self) -> list[str]:
        """The stems of the pictures that can be decoded."""
        return [stem for stem, box in zip(self.stems, self.boxes, strict=True) if not np.isnan(box[0])]


async def frame_pictures(
    engine: Engine,
    archive: PictureArchive,
    stems: Sequence[str],
    teacher: LandmarkTeacher,
    kept: KeptAnswers,
    progress: Progress,
) -> FramedPictures:
    """Mark the face of each picture: the one nearest to the centre, or the whole picture where none is found."""
    detector = FaceDetector(engine)
    missing = kept.missing(stems)
    progress(len(stems) - len(missing))
    for chunk in _chunks(missing):
        boxes = np.full((len(chunk), 4), np.nan, np.float32)
        for row, stem in enumerate(chunk):
            picture = archive.pixels(stem)
            if picture is not None:
                view = await view_face(detector, picture)
                boxes[row] = landmark_box(teacher.landmarks(picture, view.box, view.eyes)[0])
        kept.add(chunk, {"boxes": boxes})
        progress(len(chunk))
    return FramedPictures(archive, tuple(stems), kept.gather(stems)["boxes"].astype(np.float32))


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

    ``side``: enlarge pictures to so many pixels first, or None.
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
            size = (self.side, self.side)
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
    boxes = dict(zip(framed.stems, framed.boxes, strict=True))

    def work(stems: list[str]) -> tuple[list[str], dict[str, NDArray[np.generic]]]:
        return stems, _recognise(framed.archive, stems, boxes, way, recogniser)

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
    boxes: dict[str, NDArray[np.float32]],
    way: PixelPass,
    recogniser: PictureRecogniser,
) -> dict[str, NDArray[np.generic]]:
    """Return the answers about ``stems`` and their bits."""
    coded: dict[str, CodedPicture] = {}
    scales: dict[str, Array] = {}
    pictures = {stem: picture for stem in stems if (picture := archive.pixels(stem)) is not None}
    for _, group in groupby(sorted(pictures, key=lambda stem: pictures[stem].shape), lambda stem: pictures[stem].shape):
        names = list(group)
        for stem, one in zip(names, way.code([pictures[stem] for stem in names]), strict=True):
            coded[stem] = one
            height, width = (new / old for new, old in zip(one.decoded.shape, pictures[stem].shape[:2], strict=False))
            scales[stem] = np.array([width, height, width, height])
    answers = [recogniser.answer(coded[stem].decoded, boxes[stem] * scales[stem]) for stem in stems]
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
