"""Readers of data sets that a user brings: AffectNet, RAF-DB and SFEW for expressions; folders of people and VoxCeleb.

Each reads the layout in which the data set is handed out, without decoding a picture, and says what is missing before
anything long begins. None of these data sets comes with semface; each has terms of its own.
"""

import csv
import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray

from semface.errors import Reason, SemfaceError
from semface.evaluation.pictures import PICTURE_SUFFIXES
from semface.extraction.image import decode_image
from semface.extraction.video import Video
from semface.meaning import EXPRESSIONS, ExpressionName

VIDEO_SUFFIXES: Final = frozenset({".mp4", ".avi", ".mkv", ".webm"})

AFFECTNET_CLASSES: Final[tuple[ExpressionName, ...]] = (
    "neutral", "happiness", "sadness", "surprise", "fear", "disgust", "anger", "contempt",
)  # fmt: skip
"""AffectNet's numbers 0 to 7; 8 to 10 (none, uncertain, no face) are left out."""
AFFECTNET_COLUMNS: Final = (
    "subDirectory_filePath", "face_x", "face_y", "face_width", "face_height", "facial_landmarks", "expression",
    "valence", "arousal",
)  # fmt: skip
AFFECTNET_LISTS: Final = (".", "Manually_Annotated_file_lists", "Manually_Annotated")
AFFECTNET_PICTURES: Final = (
    "Manually_Annotated_Images", "Manually_Annotated/Manually_Annotated_Images", "Manually_Annotated", ".",
)  # fmt: skip
RAF_DB_CLASSES: Final[tuple[ExpressionName, ...]] = (
    "surprise", "fear", "disgust", "happiness", "sadness", "anger", "neutral",
)  # fmt: skip
"""RAF-DB's numbers 1 to 7. It has no contempt."""
SFEW_CLASSES: Final[Mapping[str, ExpressionName]] = MappingProxyType(
    {
        "angry": "anger", "disgust": "disgust", "fear": "fear", "happy": "happiness", "neutral": "neutral",
        "sad": "sadness", "surprise": "surprise",
    }
)  # fmt: skip
"""SFEW's folders in lower case. It has no contempt."""
SFEW_TRAINING: Final = ("Train_Aligned_Faces", "Train")
NAMED: Final = 3
"""So many missing files are named in a message."""


class IncompleteDataError(Exception):
    """A data folder lacks something; the message says what."""


@dataclass(frozen=True, slots=True)
class OwnPicture:
    """One picture of a data set: a unique name, and the file that shows it, a picture or a clip.

    Of a clip one frame is shown, chosen by the clip's name, the same every time.
    """

    name: str
    file: Path

    def pixels(self) -> NDArray[np.uint8] | None:
        """Return the picture as RGB uint8 (H, W, 3), or None when it cannot be decoded."""
        try:
            if self.file.suffix.lower() in VIDEO_SUFFIXES:
                return _random_frame(self.file, self.name)
            return decode_image(self.file.read_bytes())
        except SemfaceError as error:
            if error.reason in (Reason.IMAGE_UNDECODABLE, Reason.IMAGE_TOO_LARGE):
                return None
            raise


@dataclass(frozen=True, slots=True)
class LabelledPictures:
    """Pictures and the class of each (N,), 0 to 7 in the order of ``EXPRESSIONS``."""

    pictures: tuple[OwnPicture, ...]
    labels: NDArray[np.int64]


def read_affectnet(folder: Path) -> LabelledPictures:
    """Read the training part of AffectNet: ``training.csv`` with ``Manually_Annotated_Images``, or ``train_set``.

    Pictures without one of the eight expressions are left out. Raises IncompleteDataError.
    """
    if (folder / "train_set").is_dir():
        return _read_affectnet_annotations(folder / "train_set")
    table = _first_file(folder, [f"{place}/training.csv" for place in AFFECTNET_LISTS], "training.csv, or train_set")
    rows = [(name, number) for name, number in _affectnet_rows(table) if number < len(AFFECTNET_CLASSES)]
    if not rows:
        raise IncompleteDataError(f"{table} names no picture with one of the eight expressions")
    places = [folder / place for place in AFFECTNET_PICTURES if (folder / place).is_dir()]
    roots = [place for place in places if any((place / name).is_file() for name, _ in islice(rows, 200))]
    if not roots:
        raise IncompleteDataError(f"{folder} lacks Manually_Annotated_Images, where the pictures of {table.name} lie")
    files = [roots[0] / name for name, _ in rows]
    return _labelled("affectnet", roots[0], files, [AFFECTNET_CLASSES[number] for _, number in rows], table)


def _affectnet_rows(table: Path) -> Iterator[tuple[str, int]]:
    """Yield file and number of each row of ``table``, whose head some editions leave out."""
    with table.open(newline="") as file:
        for line in csv.reader(file):
            if not line or line[0] == AFFECTNET_COLUMNS[0]:
                continue
            try:
                row = dict(zip(AFFECTNET_COLUMNS, line, strict=True))
                yield row["subDirectory_filePath"], int(row["expression"])
            except ValueError:
                names = ",".join(AFFECTNET_COLUMNS)
                raise IncompleteDataError(f"{table} is to have the columns {names} and numbers") from None


def _read_affectnet_annotations(folder: Path) -> LabelledPictures:
    """Read the edition with ``images/N.jpg`` and ``annotations/N_exp.npy``."""
    missing = [name for name in ("images", "annotations") if not (folder / name).is_dir()]
    if missing:
        raise IncompleteDataError(f"{folder} lacks {' and '.join(missing)}")
    notes = sorted(folder.joinpath("annotations").glob("*_exp.npy"))
    if not notes:
        raise IncompleteDataError(f"{folder / 'annotations'} holds no file such as 0_exp.npy")
    numbers = [int(np.load(note, allow_pickle=False).item()) for note in notes]
    kept = [(note, number) for note, number in zip(notes, numbers, strict=True) if number < len(AFFECTNET_CLASSES)]
    files = [folder / "images" / f"{note.name.removesuffix('_exp.npy')}.jpg" for note, _ in kept]
    names = [AFFECTNET_CLASSES[number] for _, number in kept]
    return _labelled("affectnet", folder / "images", files, names, folder / "annotations")


def read_raf_db(folder: Path) -> LabelledPictures:
    """Read the training part of RAF-DB's basic set: ``EmoLabel/list_patition_label.txt`` and ``Image``.

    Aligned pictures where they are there, else the original ones. Raises IncompleteDataError.
    """
    base = folder / "basic" if (folder / "basic").is_dir() else folder
    # The data set spells it so.
    table = _first_file(base, ["EmoLabel/list_patition_label.txt"], "EmoLabel/list_patition_label.txt")
    rows = [line.split() for line in table.read_text().splitlines() if line.startswith("train_")]
    if not rows or any(len(row) != 2 or row[1] not in "1234567" for row in rows):
        raise IncompleteDataError(f"{table} is to have lines such as `train_00001.jpg 5`, numbers 1 to 7")
    kinds = {"Image/aligned": "_aligned", "Image/original": ""}
    place = next((name for name in kinds if (base / name).is_dir()), None)
    if place is None:
        raise IncompleteDataError(f"{base} lacks Image/aligned or Image/original; unpack aligned.zip or original.zip")
    files = [base / place / f"{Path(name).stem}{kinds[place]}.jpg" for name, _ in rows]
    return _labelled("raf-db", base / place, files, [RAF_DB_CLASSES[int(number) - 1] for _, number in rows], table)


def read_sfew(folder: Path) -> LabelledPictures:
    """Read the training part of SFEW 2.0: ``Train_Aligned_Faces`` or ``Train``, with a folder for each class.

    Aligned faces where they are there, else whole frames. Raises IncompleteDataError.
    """
    root = next((folder / name for name in SFEW_TRAINING if (folder / name).is_dir()), None)
    if root is None:
        raise IncompleteDataError(f"{folder} lacks {' or '.join(SFEW_TRAINING)}")
    # Some editions pack the part in a folder of its own name.
    root = root / root.name if (root / root.name).is_dir() else root
    places = {place.name.lower(): place for place in _folders(root)}
    missing = [name for name in SFEW_CLASSES if name not in places or not _pictures_in(places[name])]
    if missing:
        raise IncompleteDataError(f"{root} lacks pictures of {_some(missing)}")
    labelled = [(file, label) for name, label in SFEW_CLASSES.items() for file in _pictures_in(places[name])]
    return _labelled("sfew", root, [file for file, _ in labelled], [label for _, label in labelled], root)


def _labelled(
    kind: str, root: Path, files: Sequence[Path], names: Sequence[ExpressionName], table: Path
) -> LabelledPictures:
    _require_files(files, table)
    pictures = tuple(OwnPicture(f"{kind}/{file.relative_to(root).as_posix()}", file) for file in files)
    return LabelledPictures(pictures, np.array([EXPRESSIONS.index(name) for name in names], np.int64))


def read_people(folder: Path, kind: str) -> tuple[OwnPicture, ...]:
    """Read pictures in a folder for each person (CASIA-WebFace, VGGFace2); a folder ``train`` is entered.

    Names are ``KIND/PERSON_NUMBER``. Raises IncompleteDataError.
    """
    root = folder / "train" if (folder / "train").is_dir() else folder
    people = {person.name: _pictures_in(person) for person in _folders(root)}
    empty = [name for name, files in people.items() if not files]
    if empty:
        raise IncompleteDataError(f"{root}: {_some(empty)} without a picture; unpack the data set again")
    return _of_people(kind, root, people, "a folder with pictures for each person")


def read_voxceleb(folder: Path, kind: str = "voxceleb") -> tuple[OwnPicture, ...]:
    """Read one random frame of each clip of VoxCeleb: ``id…/VIDEO/CLIP.mp4``, or ``PERSON/…/CLIP/`` with frames in it.

    The folders ``dev``, ``mp4`` and ``unzippedFaces`` are entered. Raises IncompleteDataError.
    """
    root = folder
    for name in ("dev", "mp4", "unzippedFaces"):
        root = root / name if (root / name).is_dir() else root
    people: dict[str, list[Path]] = {}
    for person in _folders(root):
        clips = [file for file in _files_below(person) if file.suffix.lower() in VIDEO_SUFFIXES]
        frames: dict[Path, list[Path]] = {}
        for file in _files_below(person):
            if file.suffix.lower() in PICTURE_SUFFIXES:
                frames.setdefault(file.parent, []).append(file)
        clips += [_chosen(shown, str(clip.relative_to(root))) for clip, shown in sorted(frames.items())]
        people[person.name] = clips
    empty = [name for name, clips in people.items() if not clips]
    if empty:
        raise IncompleteDataError(f"{root}: {_some(empty)} without a clip; unpack the data set again")
    return _of_people(kind, root, people, "a folder with clips for each person")


def _of_people(kind: str, root: Path, people: Mapping[str, Sequence[Path]], wanted: str) -> tuple[OwnPicture, ...]:
    several = [name for name, files in people.items() if len(files) > 1]
    if len(several) < 2:
        raise IncompleteDataError(f"{root} is to hold {wanted}, two people with two pictures at least")
    return tuple(
        OwnPicture(f"{kind}/{name}_{number:06d}", file)
        for name, files in people.items()
        for number, file in enumerate(files)
    )


def _random_frame(file: Path, name: str) -> NDArray[np.uint8] | None:
    with Video(file) as video:
        count = video.length
        place = 0 if count is None else int(_seeded(name).integers(count))
        shown = None
        # A file may hold fewer frames than it says: then the last one stands.
        for shown in islice(video.frames(), place + 1):  # noqa: B007
            pass
        return shown


def _chosen(files: Sequence[Path], name: str) -> Path:
    return sorted(files)[int(_seeded(name).integers(len(files)))]


def _seeded(name: str) -> np.random.Generator:
    return np.random.default_rng(int.from_bytes(hashlib.sha256(name.encode()).digest()[:8]))


def _folders(root: Path) -> list[Path]:
    if not root.is_dir():
        raise IncompleteDataError(f"there is no folder {root}")
    return sorted(place for place in root.iterdir() if place.is_dir() and not place.name.startswith("."))


def _pictures_in(folder: Path) -> list[Path]:
    return sorted(file for file in folder.iterdir() if file.suffix.lower() in PICTURE_SUFFIXES)


def _files_below(folder: Path) -> list[Path]:
    return sorted(file for file in folder.rglob("*") if file.is_file() and not file.name.startswith("."))


def _first_file(folder: Path, names: Iterable[str], wanted: str) -> Path:
    if not folder.is_dir():
        raise IncompleteDataError(f"there is no folder {folder}")
    found = next((folder / name for name in names if (folder / name).is_file()), None)
    if found is None:
        raise IncompleteDataError(f"{folder} lacks {wanted}")
    return found


def _require_files(files: Sequence[Path], table: Path) -> None:
    """Raise IncompleteDataError unless all ``files`` that ``table`` names are there. Folders are listed once each."""
    there = {
        folder: {file.name for file in folder.iterdir()} for folder in {f.parent for f in files} if folder.is_dir()
    }
    missing = [file for file in files if file.name not in there.get(file.parent, ())]
    if missing:
        names = _some([file.as_posix() for file in missing])
        raise IncompleteDataError(
            f"{len(missing)} of the {len(files)} pictures that {table} names are missing: {names}"
        )


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


LABELLED_DATA: Final[Mapping[str, Callable[[Path], LabelledPictures]]] = {
    "affectnet": read_affectnet,
    "raf-db": read_raf_db,
    "sfew": read_sfew,
}
"""What ``training.expression --data NAME=DIR`` may name."""

PEOPLE_DATA: Final[Mapping[str, Callable[[Path, str], tuple[OwnPicture, ...]]]] = {
    "casia-webface": read_people,
    "vggface2": read_people,
    "voxceleb": read_voxceleb,
}
"""What ``training.verification --data NAME=DIR`` may name."""


def parse_data(text: str, known: Iterable[str]) -> tuple[str, Path]:
    """Return name and folder of ``NAME=DIR``; raises ValueError for another form or a name that is not ``known``."""
    name, separator, folder = text.partition("=")
    if not separator or not folder or name not in known:
        raise ValueError(f"write NAME=DIR with a name of {', '.join(known)}")
    return name, Path(folder)
