"""Pictures from a zip, and the face that is chosen in each."""

from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest

from semface.errors import Reason, SemfaceError
from semface.evaluation.pictures import PictureArchive, chosen_face, describe_pictures
from semface.extraction.detection import Detection
from semface.inference.embedded import EmbeddedEngine


def detection(*box: float) -> Detection:
    return Detection(np.array(box, np.float32), np.zeros((5, 2), np.float32), 0.99)


def test_pictures_are_found_by_stem_in_any_folder(pictures: Path) -> None:
    archive = PictureArchive(pictures)
    assert archive.stems == ["Ada_0001", "Ada_0002", "Bea_0001", "Cee_0001", "Dee_0001"]
    pixels = archive.pixels("Bea_0001")
    assert pixels is not None
    assert pixels.shape == (160, 160, 3)
    assert archive.pixels("Dee_0001") is None


def test_a_damaged_entry_of_the_zip_is_skipped_and_not_an_error(pictures: Path, tmp_path: Path) -> None:
    data = bytearray(pictures.read_bytes())
    with ZipFile(pictures) as archive:
        entry = archive.getinfo("Ada_0002.jpg")
    data[entry.header_offset + 200] ^= 0xFF
    damaged = tmp_path / "damaged.zip"
    damaged.write_bytes(data)
    assert PictureArchive(damaged).pixels("Ada_0002") is None
    assert PictureArchive(damaged).pixels("Ada_0001") is not None


def test_a_missing_picture_is_told_before_anything_runs(pictures: Path) -> None:
    with pytest.raises(SemfaceError, match="Zoe_0001") as refused:
        PictureArchive(pictures).require(["Ada_0001", "Zoe_0001"])
    assert refused.value.reason is Reason.FIELD_INVALID


@pytest.mark.parametrize("content", [None, b"this is no zip"])
def test_what_is_no_zip_is_told_in_one_line(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "pictures.zip"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SemfaceError) as refused:
        PictureArchive(path)
    assert "pictures.zip" in refused.value.message


def test_of_several_faces_the_one_nearest_to_the_centre_is_taken() -> None:
    faces = [detection(0, 0, 90, 90), detection(60, 40, 110, 100), detection(80, 80, 160, 160)]
    assert chosen_face(faces, 160, 160) is faces[1]
    assert chosen_face([], 160, 160) is None


async def test_a_picture_without_a_face_falls_back_to_the_whole_and_a_broken_one_is_skipped(
    pictures: Path, tiny_repository: Path
) -> None:
    engine, archive, done = EmbeddedEngine(tiny_repository), PictureArchive(pictures), []
    described = await describe_pictures(engine, archive, archive.stems, done.append)
    await engine.close()
    assert sum(done) == 5
    assert described.fallback.tolist() == [False, False, False, True, False]
    assert described.skipped.tolist() == [False, False, False, False, True]
    assert np.isfinite(described.descriptors).all()
    assert np.abs(described.descriptors[:4]).max(axis=1).min() > 0
