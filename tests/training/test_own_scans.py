"""Readers of FaceScape and Bosphorus on small trees in their layouts."""

import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("torch", reason="training is not installed")

from semface.errors import Reason, SemfaceError
from semface.evaluation.scan_recognition import ply
from semface.meaning import SCAN_EXPRESSIONS
from tests.extraction.scans.heads import head
from training.own_data import IncompleteDataError
from training.own_scans import FACESCAPE_NUMBERS, read_bnt, read_bosphorus, read_facescape
from training.scan_data import load_own

TRIANGLE = "v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n"


@pytest.fixture
def facescape(tmp_path: Path) -> Path:
    for person in (1, 2, 10):
        folder = tmp_path / str(person) / "models_reg"
        folder.mkdir(parents=True)
        for name, number in {**FACESCAPE_NUMBERS, "chin_raiser": 11, "grin": 16}.items():
            (folder / f"{number}_{name}.obj").write_text(TRIANGLE)
    return tmp_path


def test_facescape_gives_sixteen_scans_of_each_person(facescape: Path) -> None:
    found = read_facescape(facescape)
    assert found.classes == SCAN_EXPRESSIONS
    assert [scan.person for scan in found.scans[::16]] == ["1", "2", "10"]
    assert [scan.label for scan in found.scans[:16]] == list(range(16))
    assert found.scans[10].file.name == "12_lip_puckerer.obj"
    assert len(found.scans[0].scan().triangles) == 1


@pytest.mark.slow
def test_own_scans_become_images_and_the_people_of_the_test_are_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEMFACE_CACHE", str(tmp_path / "cache"))
    file = ply(head())
    for person in ("1", "5", "9"):
        folder = tmp_path / "data" / person / "models_reg"
        folder.mkdir(parents=True)
        for name, number in FACESCAPE_NUMBERS.items():
            # A file is known by its content, so that a PLY file may bear the name.
            (folder / f"{number}_{name}.obj").write_bytes(TRIANGLE.encode() if name == "smile" else file)
    images, classes, held_out = load_own("facescape", tmp_path / "data")
    assert classes == SCAN_EXPRESSIONS
    assert images.images.shape == (48, 8, 112, 112)
    assert (images.found == (images.labels != SCAN_EXPRESSIONS.index("smile"))).all()
    assert set(images.people[held_out]).isdisjoint(images.people[~held_out])
    again, _, _ = load_own("facescape", tmp_path / "data")
    np.testing.assert_array_equal(again.images, images.images)


def test_a_person_without_an_expression_is_told(facescape: Path) -> None:
    (facescape / "2" / "models_reg" / "14_sadness.obj").unlink()
    with pytest.raises(IncompleteDataError, match=r"14_sadness\.obj"):
        read_facescape(facescape)


def test_an_empty_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(IncompleteDataError, match="models_reg"):
        read_facescape(tmp_path)
    with pytest.raises(IncompleteDataError, match=r"bs000_E_HAPPY_0\.bnt"):
        read_bosphorus(tmp_path)


def write_bnt(path: Path, rows: int = 30, columns: int = 20, missing: float = -1e9) -> None:
    """A dome of 1 mm steps, its rows from the bottom to the top, with a hole of four points."""
    y, x = np.meshgrid(np.arange(rows, dtype=float), np.arange(columns, dtype=float), indexing="ij")
    z = 40 - 0.02 * ((x - columns / 2) ** 2 + (y - rows / 2) ** 2)
    z[10:12, 5:7] = missing
    values = np.stack([x, y, z, x / columns, y / rows]).reshape(5, -1)
    name = path.with_suffix(".png").name.encode()
    header = struct.pack("<HHdH", rows, columns, missing, len(name)) + name
    path.write_bytes(header + struct.pack("<I", values.size) + values.astype("<f8").tobytes())


def test_bosphorus_gives_the_six_emotions_and_their_surfaces(tmp_path: Path) -> None:
    folder = tmp_path / "bs007"
    folder.mkdir()
    for name in ("E_HAPPY_0", "E_ANGER_0", "N_N_0", "LFAU_12_0"):
        write_bnt(folder / f"bs007_{name}.bnt")
    picture = np.zeros((60, 40, 3), np.uint8)
    picture[:30] = (255, 0, 0)
    Image.fromarray(picture).save(folder / "bs007_E_HAPPY_0.png")
    found = read_bosphorus(tmp_path)
    assert [(scan.person, found.classes[scan.label]) for scan in found.scans] == [
        ("bs007", "anger"),
        ("bs007", "happy"),
    ]
    bare, coloured = (scan.scan() for scan in found.scans)
    assert bare.colours is None
    # Of 29 × 19 squares nine touch the hole, of which one keeps a triangle at each of two of its corners.
    assert len(coloured.triangles) == 2 * (29 * 19 - 9) + 2
    corners = coloured.vertices[coloured.triangles]
    assert (np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])[:, 2] > 0).all()
    assert coloured.colours is not None
    upper = coloured.vertices[:, 1] > 16
    assert (coloured.colours[upper, 0] == 255).all()


def test_a_file_that_is_no_bnt_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "bs000_E_HAPPY_0.bnt"
    for data in (b"", b"\x05\x00\x05\x00" + bytes(300)):
        file.write_bytes(data)
        with pytest.raises(SemfaceError) as caught:
            read_bnt(file)
        assert caught.value.reason is Reason.SCAN_UNDECODABLE
