"""What the readers of users' data sets promise: the layouts as they are handed out, and a word for what is missing."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from semface.meaning import EXPRESSIONS
from training.own_data import (
    LABELLED_DATA,
    PEOPLE_DATA,
    IncompleteDataError,
    OwnPicture,
    parse_data,
    read_affectnet,
    read_people,
    read_raf_db,
    read_sfew,
    read_voxceleb,
)

AFFECTNET_HEAD = (
    "subDirectory_filePath,face_x,face_y,face_width,face_height,facial_landmarks,expression,valence,arousal\n"
)


def picture(path: Path, shade: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    stream = io.BytesIO()
    Image.new("RGB", (40, 40), (shade, shade, shade)).save(stream, "JPEG")
    path.write_bytes(stream.getvalue())
    return path


def affectnet(folder: Path, *, head: bool = True) -> Path:
    numbers = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]
    rows = [f"{n % 3}/face{n}.jpg,1,2,30,30,1;2;3,{n},-0.5,0.25\n" for n in numbers]
    (folder / "training.csv").write_text((AFFECTNET_HEAD if head else "") + "".join(rows))
    for n in numbers:
        picture(folder / "Manually_Annotated_Images" / str(n % 3) / f"face{n}.jpg", 20 * n)
    return folder


def raf_db(folder: Path, kind: str = "aligned") -> Path:
    (folder / "EmoLabel").mkdir(parents=True)
    lines = [f"train_{n:05d}.jpg {n}\n" for n in range(1, 8)] + ["test_0001.jpg 3\n"]
    (folder / "EmoLabel" / "list_patition_label.txt").write_text("".join(lines))
    for n in range(1, 8):
        ending = "_aligned" if kind == "aligned" else ""
        picture(folder / "Image" / kind / f"train_{n:05d}{ending}.jpg", 20 * n)
    return folder


def people(folder: Path, names: tuple[str, ...]) -> Path:
    for place, name in enumerate(names):
        for number in range(3):
            picture(folder / name / f"{number + 1:03d}.jpg", 50 * place + number)
    return folder


def clip(path: Path, frames: int) -> Path:
    """Write a video of grey frames, each lighter than the one before it."""
    av = pytest.importorskip("av", reason="clips need the extra `video`")
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width = stream.height = 64
        for number in range(frames):
            shown = np.full((64, 64, 3), 10 * number, np.uint8)
            for packet in stream.encode(av.VideoFrame.from_ndarray(shown, format="rgb24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    return path


@pytest.mark.parametrize("head", [True, False])
def test_affectnets_numbers_become_our_classes_and_others_are_left_out(tmp_path: Path, head: bool) -> None:
    data = read_affectnet(affectnet(tmp_path, head=head))
    told = {picture.file.stem: EXPRESSIONS[label] for picture, label in zip(data.pictures, data.labels, strict=True)}
    assert told == {
        "face0": "neutral", "face1": "happiness", "face2": "sadness", "face3": "surprise",
        "face4": "fear", "face5": "disgust", "face6": "anger", "face7": "contempt",
    }  # fmt: skip
    assert len({picture.name for picture in data.pictures}) == 8
    shown = data.pictures[1].pixels()
    assert shown is not None
    assert shown.shape == (40, 40, 3)


def test_affectnets_edition_with_annotation_files_is_read_too(tmp_path: Path) -> None:
    for n in range(9):
        picture(tmp_path / "train_set" / "images" / f"{n}.jpg", 10)
        note = tmp_path / "train_set" / "annotations" / f"{n}_exp.npy"
        note.parent.mkdir(exist_ok=True)
        np.save(note, np.array(str(n)))
    data = read_affectnet(tmp_path)
    told = {
        int(picture.file.stem): EXPRESSIONS[label] for picture, label in zip(data.pictures, data.labels, strict=True)
    }
    assert told[3] == "surprise"
    assert set(told) == set(range(8))


@pytest.mark.parametrize("kind", ["aligned", "original"])
def test_raf_dbs_training_part_is_read_with_its_own_numbers(tmp_path: Path, kind: str) -> None:
    data = read_raf_db(raf_db(tmp_path / "basic", kind).parent)
    assert [EXPRESSIONS[label] for label in data.labels] == [
        "surprise", "fear", "disgust", "happiness", "sadness", "anger", "neutral",
    ]  # fmt: skip
    assert all(picture.file.name.startswith("train_") for picture in data.pictures)


@pytest.mark.parametrize(("kind", "inside"), [("casia-webface", "."), ("vggface2", "train")])
def test_a_folder_for_each_person_tells_who_is_who(tmp_path: Path, kind: str, inside: str) -> None:
    people(tmp_path / inside, ("n000002", "n000003"))
    found = read_people(tmp_path, kind)
    assert [picture.name for picture in found[:4]] == [
        f"{kind}/n000002_000000", f"{kind}/n000002_000001", f"{kind}/n000002_000002", f"{kind}/n000003_000000",
    ]  # fmt: skip


def test_one_frame_of_each_clip_is_taken_and_always_the_same(tmp_path: Path) -> None:
    for person in ("id10001", "id10002"):
        for number in range(4):
            clip(tmp_path / "dev" / "mp4" / person / "a_video" / f"{number:05d}.mp4", 12)
    found = read_voxceleb(tmp_path)
    assert len(found) == 8
    assert len({picture.name.rsplit("_", 1)[0] for picture in found}) == 2
    shades = [int(np.asarray(picture.pixels()).mean()) for picture in found]
    assert shades == [int(np.asarray(picture.pixels()).mean()) for picture in read_voxceleb(tmp_path)]
    # Frames differ by ten shades: clips that all show their first frame would be alike.
    assert max(shades) - min(shades) > 15


def test_clips_that_are_folders_of_frames_give_one_frame_each(tmp_path: Path) -> None:
    for person in ("A_Celebrity", "Another"):
        for video in ("one", "two"):
            for frame in range(6):
                picture(tmp_path / "unzippedFaces" / person / "1.6" / video / f"{frame:07d}.jpg", frame)
    found = read_voxceleb(tmp_path)
    assert len(found) == 4
    assert {picture.file.parent.name for picture in found} == {"one", "two"}


def test_a_picture_that_cannot_be_decoded_is_none(tmp_path: Path) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"\xff\xd8\xff and no more")
    assert OwnPicture("broken", broken).pixels() is None


def without(path: Path, *names: str) -> None:
    for name in names:
        for found in [*path.rglob(name)]:
            found.unlink()


def test_half_of_affectnet_is_told_by_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(IncompleteDataError, match=r"there is no folder .*nowhere"):
        read_affectnet(tmp_path / "nowhere")
    with pytest.raises(IncompleteDataError, match=r"lacks training\.csv"):
        read_affectnet(tmp_path)
    whole = affectnet(tmp_path)
    without(whole, "face1.jpg", "face9.jpg")
    # The ninth has no expression and is not needed.
    with pytest.raises(IncompleteDataError, match=r"1 of the 8 pictures .* are missing: .*1/face1\.jpg"):
        read_affectnet(whole)
    without(whole, "*.jpg")
    with pytest.raises(IncompleteDataError, match="lacks Manually_Annotated_Images"):
        read_affectnet(whole)
    (whole / "training.csv").write_text("image,label\nface0.jpg,3\n")
    with pytest.raises(IncompleteDataError, match="subDirectory_filePath"):
        read_affectnet(whole)


def test_half_of_raf_db_is_told_by_what_is_missing(tmp_path: Path) -> None:
    (tmp_path / "basic").mkdir()
    with pytest.raises(IncompleteDataError, match="list_patition_label"):
        read_raf_db(tmp_path)
    whole = raf_db(tmp_path / "basic")
    without(whole, "train_00003_aligned.jpg", "train_00004_aligned.jpg")
    with pytest.raises(IncompleteDataError, match=r"2 of the 7 pictures .*train_00003_aligned\.jpg"):
        read_raf_db(tmp_path)
    without(whole, "*.jpg")
    (whole / "Image" / "aligned").rmdir()
    with pytest.raises(IncompleteDataError, match=r"aligned\.zip"):
        read_raf_db(tmp_path)


def test_people_without_pictures_and_too_few_people_are_told(tmp_path: Path) -> None:
    whole = people(tmp_path, ("0000045", "0000099"))
    (whole / "0000100").mkdir()
    with pytest.raises(IncompleteDataError, match="0000100 without a picture"):
        read_people(whole, "casia-webface")
    (whole / "0000100").rmdir()
    without(whole / "0000099", "*.jpg")
    (whole / "0000099").rmdir()
    with pytest.raises(IncompleteDataError, match="two people"):
        read_people(whole, "casia-webface")
    (whole / "id1").mkdir()
    with pytest.raises(IncompleteDataError, match="id1 without a clip"):
        read_voxceleb(whole)


def test_a_data_set_is_named_with_its_folder() -> None:
    assert parse_data("raf-db=a/b", LABELLED_DATA) == ("raf-db", Path("a/b"))
    for wrong in ("raf-db", "raf-db=", "lfw=a"):
        with pytest.raises(ValueError, match="affectnet, raf-db"):
            parse_data(wrong, LABELLED_DATA)
    assert set(PEOPLE_DATA) == {"casia-webface", "vggface2", "voxceleb"}


def sfew(folder: Path, part: str = "Train_Aligned_Faces") -> Path:
    for place, name in enumerate(("Angry", "Disgust", "Fear", "Happy", "Neutral", "Sad", "Surprise")):
        picture(folder / part / name / f"Film_{place}.png", 20 * place)
    picture(folder / "Val_Aligned_Faces" / "Angry" / "Film_9.png", 9)
    return folder


@pytest.mark.parametrize("part", ["Train_Aligned_Faces", "Train", "Train_Aligned_Faces/Train_Aligned_Faces"])
def test_sfew_is_read_by_its_folders_and_only_its_training_part(part: str, tmp_path: Path) -> None:
    data = read_sfew(sfew(tmp_path, part))
    assert [EXPRESSIONS[label] for label in data.labels] == [
        "anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise",
    ]  # fmt: skip
    assert data.pictures[0].name == "sfew/Angry/Film_0.png"
    assert all(picture.pixels() is not None for picture in data.pictures)


def test_sfew_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(IncompleteDataError, match="Train_Aligned_Faces or Train"):
        read_sfew(tmp_path)
    sfew(tmp_path)
    (tmp_path / "Train_Aligned_Faces" / "Sad" / "Film_5.png").unlink()
    with pytest.raises(IncompleteDataError, match="sad"):
        read_sfew(tmp_path)
