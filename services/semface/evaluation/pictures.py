"""Pictures of an evaluation: read from a zip, one face chosen in each, described by the extraction networks."""

import asyncio
import hashlib
import zipfile
import zlib
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from semface.descriptors import DESCRIPTOR_SIZE, Descriptors
from semface.errors import Reason, SemfaceError
from semface.extraction.alignment import Square, crop_face, face_square
from semface.extraction.core import MODELS, Extractor
from semface.extraction.detection import Detection, FaceDetector
from semface.extraction.image import decode_image
from semface.inference.engine import Engine

CROP_BATCH = 64
"""Pictures that are described together."""

DETECTIONS_AT_ONCE = 4
"""Pictures in which faces are sought at the same time, so that the networks never wait for the resampling."""

PICTURE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp"})

Progress = Callable[[int], None]
"""Told how many more pictures are done."""

Pixels = NDArray[np.uint8]


class PictureArchive:
    """A zip of pictures, found by file stem whatever folder they lie in."""

    def __init__(self, path: Path) -> None:
        """Open the zip at ``path``; raises IMAGE_UNDECODABLE when it is absent or no zip."""
        self.path = path
        try:
            self._archive = zipfile.ZipFile(path)
        except FileNotFoundError:
            raise SemfaceError(Reason.IMAGE_UNDECODABLE, f"there is no file {path}; name a zip of pictures") from None
        except (OSError, zipfile.BadZipFile):
            raise SemfaceError(Reason.IMAGE_UNDECODABLE, f"{path} is not a zip that can be read") from None
        self._members = dict(self._pictures())

    def _pictures(self) -> Iterator[tuple[str, str]]:
        for member in self._archive.namelist():
            name = PurePosixPath(member)
            # Names such as ._face.jpg are resource forks that macOS packs beside each picture.
            if name.suffix.lower() in PICTURE_SUFFIXES and not name.name.startswith("."):
                yield name.stem, member

    @property
    def stems(self) -> list[str]:
        """The stems of all pictures, in the order of the zip."""
        return list(self._members)

    def text(self, name: str) -> str:
        """Return the text file called ``name`` in any folder; raises FIELD_INVALID when the zip holds none."""
        for member in self._archive.namelist():
            if PurePosixPath(member).name == name:
                return self._archive.read(member).decode()
        raise SemfaceError(Reason.FIELD_INVALID, f"{self.path} holds no {name}")

    def require(self, stems: Sequence[str]) -> None:
        """Raise FIELD_INVALID when a picture called for is not in the zip."""
        missing = [stem for stem in stems if stem not in self._members]
        if missing:
            raise SemfaceError(
                Reason.FIELD_INVALID, f"{self.path} lacks {len(missing)} pictures, the first is {missing[0]!r}"
            )

    def read(self, stem: str) -> bytes | None:
        """Return the encoded picture, or None when its entry in the zip is damaged."""
        try:
            return self._archive.read(self._members[stem])
        except (zipfile.BadZipFile, OSError, EOFError, zlib.error):
            return None

    def pixels(self, stem: str) -> Pixels | None:
        """Return the picture as RGB uint8 (height, width, 3), or None when it cannot be decoded."""
        data = self.read(stem)
        if data is None:
            return None
        try:
            return decode_image(data)
        except SemfaceError as error:
            if error.reason in (Reason.IMAGE_UNDECODABLE, Reason.IMAGE_TOO_LARGE):
                return None
            raise

    def digest(self) -> str:
        """Return the SHA-256 of the zip in hexadecimal."""
        with self.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(frozen=True, slots=True)
class DescribedPictures:
    """Descriptors (N, 257) of N pictures; a row of a skipped picture is zero and must not be used."""

    stems: tuple[str, ...]
    descriptors: Descriptors
    fallback: NDArray[np.bool_]
    skipped: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class FaceView:
    """The face chosen in a picture: its ``crop`` uint8 (112, 112, 3), and the crop's ``square`` in the picture.

    ``box`` (4,) is the detector's, ``eyes`` (2, 2) the left and the right one; without a detection ``box`` is the whole
    picture and ``eyes`` is None.
    """

    crop: Pixels
    square: Square
    box: NDArray[np.float64]
    eyes: NDArray[np.float64] | None


def chosen_face(detections: Sequence[Detection], width: int, height: int) -> Detection | None:
    """Return the face whose box centre is nearest to the picture's centre, or None without a face."""
    if not detections:
        return None
    boxes = np.array([detection.box for detection in detections], dtype=np.float64)
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    distances = np.linalg.norm(centres - np.array([width, height]) / 2, axis=1)
    return detections[int(distances.argmin())]


async def view_face(detector: FaceDetector, picture: Pixels) -> FaceView:
    """Find and crop the chosen face of ``picture`` uint8 (H, W, 3); without a face the whole picture stands for it."""
    height, width = picture.shape[:2]
    face = chosen_face(await detector.detect(picture), width, height)
    box = np.array([0.0, 0.0, width, height]) if face is None else face.box.astype(np.float64)
    square = face_square(box)
    return FaceView(
        crop_face(picture, square), square, box, None if face is None else face.landmarks[:2].astype(np.float64)
    )


async def describe_pictures(
    engine: Engine, archive: PictureArchive, stems: Sequence[str], progress: Progress
) -> DescribedPictures:
    """Describe one face of each picture: the detector's, or the whole picture where it finds none (``fallback``).

    Crops go through the extraction network 64 at a time.
    """
    extractor = Extractor(engine)
    described = DescribedPictures(
        tuple(stems),
        np.zeros((len(stems), DESCRIPTOR_SIZE), np.float32),
        np.zeros(len(stems), bool),
        np.ones(len(stems), bool),
    )
    async for views in view_pictures(engine, archive, stems, progress):
        rows = list(views)
        described.skipped[rows] = False
        described.fallback[rows] = [view.eyes is None for view in views.values()]
        described.descriptors[rows] = await extractor.describe([view.crop for view in views.values()])
    return described


async def view_pictures(
    engine: Engine, archive: PictureArchive, stems: Sequence[str], progress: Progress
) -> AsyncIterator[dict[int, FaceView]]:
    """Yield the chosen faces of the pictures ``stems`` by their place in it, some at a time, without unreadable ones.

    Pictures are decoded in a thread ahead of the networks.
    """
    detector, free = FaceDetector(engine), asyncio.Semaphore(DETECTIONS_AT_ONCE)

    async def look(picture: Pixels) -> FaceView:
        async with free:
            view = await view_face(detector, picture)
        progress(1)
        return view

    async for first, pictures in _decoded(archive, stems):
        readable = {first + place: picture for place, picture in enumerate(pictures) if picture is not None}
        progress(len(pictures) - len(readable))
        views = await asyncio.gather(*map(look, readable.values()))
        if views:
            yield dict(zip(readable, views, strict=True))


async def crop_pictures(engine: Engine, archive: PictureArchive, stems: Sequence[str]) -> Pixels:
    """Return the crops uint8 (N, 112, 112, 3) of the chosen faces of those pictures in which one is found."""
    detector = FaceDetector(engine)
    crops = []
    async for _, pictures in _decoded(archive, stems):
        views = await asyncio.gather(*(view_face(detector, picture) for picture in pictures if picture is not None))
        crops += [view.crop for view in views if view.eyes is not None]
    if not crops:
        raise SemfaceError(Reason.NO_FACE, f"no face is found in the pictures of {archive.path}")
    return np.stack(crops)


async def _decoded(archive: PictureArchive, stems: Sequence[str]) -> AsyncIterator[tuple[int, list[Pixels | None]]]:
    """Yield the pictures in groups of ``CROP_BATCH``, with the place of the first, decoding one group ahead."""
    loop = asyncio.get_running_loop()
    starts = range(0, len(stems), CROP_BATCH)

    def decode(start: int) -> list[Pixels | None]:
        return [archive.pixels(stem) for stem in stems[start : start + CROP_BATCH]]

    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="semface-decode") as thread:
        groups = [loop.run_in_executor(thread, decode, start) for start in starts[:1]]
        for number, start in enumerate(starts):
            pictures = await groups.pop()
            groups = [loop.run_in_executor(thread, decode, later) for later in starts[number + 1 : number + 2]]
            yield start, pictures


def cache_key(engine: Engine, archive: PictureArchive, models: Sequence[str] = MODELS) -> str:
    """Return what the answers of ``models`` about the zip hang on: both, as one hash in hexadecimal."""
    parts = [archive.digest(), *(str(engine.metadata(model).hash) for model in models)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def load_descriptions(path: Path, key: str, stems: Sequence[str]) -> DescribedPictures | None:
    """Return the descriptions of ``stems`` kept at ``path``, or None when they are not there or made otherwise."""
    if not path.exists():
        return None
    with np.load(path) as kept:
        place = {stem: row for row, stem in enumerate(kept["stems"].tolist())}
        if str(kept["key"]) != key or not all(stem in place for stem in stems):
            return None
        rows = [place[stem] for stem in stems]
        return DescribedPictures(tuple(stems), kept["descriptors"][rows], kept["fallback"][rows], kept["skipped"][rows])


def store_descriptions(path: Path, key: str, described: DescribedPictures) -> None:
    """Keep the descriptions at ``path`` for the next run with other qualities."""
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(
        path,
        key=key,
        stems=np.array(described.stems),
        descriptors=described.descriptors,
        fallback=described.fallback,
        skipped=described.skipped,
    )
