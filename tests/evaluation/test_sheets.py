"""Sheets: the pictures that are asked for, in their places, and the model's modes as they are."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from semface.errors import SemfaceError
from semface.evaluation.sheets import (
    GAP,
    LABEL_HEIGHT,
    MODES,
    PANEL,
    SIDE_LABEL_WIDTH,
    RedrawnFace,
    face_sheet,
    mode_sheet,
    random_heads,
    read_pictures,
    save_sheet,
)
from tests.evaluation.test_command import semface


def test_each_face_has_three_panels_in_reading_order() -> None:
    faces = [
        RedrawnFace(*(np.full((PANEL, PANEL, 3), 10 * place + panel, np.uint8) for panel in range(3)))
        for place in range(6)
    ]
    sheet = np.asarray(face_sheet(faces))
    for place in range(6):
        row, column = divmod(place, 4)
        top = LABEL_HEIGHT + row * (PANEL + GAP)
        for panel in range(3):
            left = column * (3 * PANEL + GAP) + panel * PANEL
            assert (sheet[top : top + PANEL, left : left + PANEL] == 10 * place + panel).all()
    assert sheet[:LABEL_HEIGHT].min() < 100


def test_photographs_come_from_files_and_zips_in_order(pictures: Path, astronaut: Image.Image, tmp_path: Path) -> None:
    portrait = tmp_path / "portrait.png"
    astronaut.save(portrait)
    read = read_pictures([portrait, pictures], 10)
    # Of the five pictures in the zip one cannot be decoded.
    assert [picture.shape[:2] for picture in read] == [(512, 512), (160, 160), (160, 160), (160, 160), (48, 48)]
    assert len(read_pictures([portrait, pictures], 2)) == 2
    with pytest.raises(SemfaceError, match="no file"):
        read_pictures([tmp_path / "nothing.png"], 1)


def test_random_heads_differ_and_repeat() -> None:
    first, second = random_heads(2)
    (again,) = random_heads(1)
    np.testing.assert_array_equal(first, again)
    assert np.abs(first.astype(int) - second).mean() > 5


def test_each_mode_is_shown_on_both_sides_of_the_mean() -> None:
    sheet = np.asarray(mode_sheet()).astype(int)
    band = LABEL_HEIGHT + 2 * PANEL + GAP
    for group in range(3):
        top = group * band + LABEL_HEIGHT
        less, more = sheet[top : top + PANEL], sheet[top + PANEL : top + 2 * PANEL]
        for mode in range(MODES):
            columns = slice(SIDE_LABEL_WIDTH + mode * PANEL, SIDE_LABEL_WIDTH + (mode + 1) * PANEL)
            assert np.abs(less[:, columns] - more[:, columns]).max() > 10


def test_a_sheet_is_written_in_the_form_of_its_name(tmp_path: Path) -> None:
    sheet = face_sheet([RedrawnFace(*(np.zeros((PANEL, PANEL, 3), np.uint8) for _ in range(3)))])
    save_sheet(sheet, tmp_path / "sheet.webp")
    assert Image.open(tmp_path / "sheet.webp").format == "WEBP"
    with pytest.raises(SemfaceError, match=r"\.png"):
        save_sheet(sheet, tmp_path / "sheet.txt")


def test_the_command_draws_photographs_and_random_heads(pictures: Path, tiny_repository: Path, tmp_path: Path) -> None:
    target = tmp_path / "sheet.png"
    done = semface("sheet", "--images", pictures, "--limit", 2, "--heads", 1, "--models", tiny_repository, "-o", target)
    assert done.returncode == 0, done.stderr
    assert Image.open(target).size == (3 * 3 * PANEL + 2 * GAP, LABEL_HEIGHT + PANEL)
