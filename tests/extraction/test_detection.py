import hashlib
import io
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from semface.extraction.detection import MATRIX_BOXES, DetectorOptions, FaceDetector, non_maximum_suppression
from semface.inference.embedded import EmbeddedEngine
from tests.extraction.conftest import Pixels

# Read off the photograph by eye, in its pixels.
EYES_NOSE_MOUTH = np.array([[203, 101], [246, 103], [225, 128], [203, 139], [245, 141]])


async def test_the_face_of_the_photograph_is_found_once_with_its_landmarks(
    engine: EmbeddedEngine, photograph: Pixels
) -> None:
    (face,) = await FaceDetector(engine).detect(photograph)
    assert face.confidence > 0.99
    assert np.abs(face.landmarks - EYES_NOSE_MOUTH).max() < 4
    x0, y0, x1, y1 = face.box
    assert ((face.landmarks > [x0, y0]) & (face.landmarks < [x1, y1])).all()
    assert 70 < x1 - x0 < 110
    assert 90 < y1 - y0 < 130


async def test_a_picture_without_a_face_gives_none(engine: EmbeddedEngine, without_face: Pixels) -> None:
    assert await FaceDetector(engine).detect(without_face) == []


@pytest.mark.parametrize("shape", [(1, 1), (5, 300), (300, 5), (12, 12), (100, 4000)])
async def test_a_blank_picture_of_any_shape_gives_none(engine: EmbeddedEngine, shape: tuple[int, int]) -> None:
    assert await FaceDetector(engine).detect(np.full((*shape, 3), 90, np.uint8)) == []


@pytest.mark.parametrize("side", [48, 128, 256, 1024])
async def test_the_box_keeps_its_place_whatever_the_size_of_the_picture(
    engine: EmbeddedEngine, photograph: Pixels, side: int
) -> None:
    around = np.array([160, 50, 288, 178])  # the face fills this part as faces fill small pictures
    part = Image.fromarray(photograph).crop(tuple(around)) if side == 48 else Image.fromarray(photograph)
    scale = side / part.width
    (face,) = await FaceDetector(engine).detect(np.asarray(part.resize((side, side), Image.Resampling.LANCZOS)))
    offset = around[:2] if side == 48 else 0
    assert np.abs(face.landmarks / scale + offset - EYES_NOSE_MOUTH).max() < 6


async def test_a_face_cut_by_the_edge_is_found_and_its_box_reaches_outside(
    engine: EmbeddedEngine, photograph: Pixels
) -> None:
    (face,) = await FaceDetector(engine).detect(np.ascontiguousarray(photograph[80:240, 140:320]))
    assert face.box[1] < 0
    assert np.abs(face.landmarks + np.array([140, 80]) - EYES_NOSE_MOUTH).max() < 8


async def test_several_faces_are_all_found_the_most_certain_first(engine: EmbeddedEngine, photograph: Pixels) -> None:
    face = photograph[30:230, 130:330]
    small = np.asarray(Image.fromarray(face).resize((90, 90), Image.Resampling.LANCZOS))
    picture = np.full((260, 420, 3), 120, np.uint8)
    picture[20:220, 20:220] = face
    picture[60:150, 280:370] = small
    found = await FaceDetector(engine).detect(picture)
    assert sorted(round(float(f.box[0]) > 250) for f in found) == [0, 1]
    assert [f.confidence for f in found] == sorted((f.confidence for f in found), reverse=True)


async def test_faces_below_the_smallest_sought_are_left_out(engine: EmbeddedEngine, photograph: Pixels) -> None:
    assert await FaceDetector(engine, DetectorOptions(minimum_face=300)).detect(photograph) == []


async def test_ten_faces_of_forty_pixels_are_all_found(engine: EmbeddedEngine, photograph: Pixels) -> None:
    # The same face, and yet ten: mirrored, turned, lighter, darker, nearly grey.
    portrait = Image.fromarray(photograph)
    canvas = Image.fromarray(photograph[230:]).resize((640, 480), Image.Resampling.LANCZOS)
    centres = []
    for number in range(10):
        around = portrait.rotate(3 * (number - 5), Image.Resampling.BICUBIC, center=(225, 115)).crop(
            (125, 15, 325, 215)
        )
        if number % 2:
            around = around.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        around = ImageEnhance.Brightness(around).enhance(0.7 + 0.05 * number)
        around = ImageEnhance.Color(around).enhance(0.1 + 0.09 * number)
        # The face's box is 108 of these 200 pixels high.
        small = around.resize((74, 74), Image.Resampling.LANCZOS)
        left, top = 20 + 120 * (number % 5) + 3 * number, 60 + 210 * (number // 5) + 5 * number
        canvas.paste(small, (left, top))
        centres.append((left + 37, top + 37))
    found = await FaceDetector(engine).detect(np.asarray(canvas))
    assert len(found) == 10
    for centre in np.array(centres):
        (box,) = [f.box for f in found if np.abs((f.box[:2] + f.box[2:]) / 2 - centre).max() < 10]
        assert 32 < (box[2:] - box[:2]).max() < 48


async def test_of_small_grey_faces_at_least_nineteen_of_twenty_are_found(engine: EmbeddedEngine) -> None:
    pictures = selection_pictures(400)
    detector = FaceDetector(engine)
    found = [bool(await detector.detect(picture)) for picture in pictures]
    assert np.mean(found) >= 0.95


def selection_pictures(count: int) -> list[Pixels]:
    """Pictures of 48 pixels from the part of FER+'s training file that settings may be chosen on."""
    root = Path(__file__).resolve().parents[2]
    path = Path(os.environ.get("SEMFACE_DATASETS", root.parent / "shared" / "datasets")) / "ferplus_train.zip"
    if not path.exists():
        pytest.skip("the shared data sets are not here; SEMFACE_DATASETS names their folder")
    pictures: list[Pixels] = []
    with zipfile.ZipFile(path) as archive:
        for member in archive.namelist():
            data = archive.read(member)
            chosen = member.endswith(".jpg") and int.from_bytes(hashlib.sha256(data).digest()) % 10 == 0
            if chosen and len(pictures) < count:
                with Image.open(io.BytesIO(data)) as image:
                    pictures.append(np.asarray(image.convert("RGB")))
    return pictures


async def test_the_second_look_sees_a_face_that_fills_the_picture_and_invents_none_elsewhere(
    engine: EmbeddedEngine, photograph: Pixels
) -> None:
    # Nearly no contrast is left: the first look does not trust it.
    face = ImageEnhance.Contrast(Image.fromarray(photograph[50:180, 160:290])).enhance(0.2)
    small = np.asarray(face.resize((48, 48), Image.Resampling.LANCZOS))
    (filling,) = await FaceDetector(engine).detect(small)
    assert filling.confidence >= 0.8
    middle = np.full((480, 480, 3), 120, np.uint8)
    middle[200:248, 200:248] = small
    assert await FaceDetector(engine).detect(middle) == []


def test_suppression_keeps_the_best_of_what_overlaps() -> None:
    boxes = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [20, 20, 30, 30], [2, 2, 6, 6]], np.float32)
    scores = np.array([0.8, 0.9, 0.5, 0.7], np.float32)
    assert non_maximum_suppression(boxes, scores, 0.5).tolist() == [1, 3, 2]
    assert non_maximum_suppression(boxes, scores, 0.5, of_smaller=True).tolist() == [1, 2]
    assert non_maximum_suppression(boxes[:0], scores[:0], 0.5).tolist() == []


@pytest.mark.parametrize("of_smaller", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_of_many_boxes_those_are_kept_that_overlap_no_better_one(seed: int, of_smaller: bool) -> None:
    random = np.random.default_rng(seed)
    corner = random.uniform(0, 100, (MATRIX_BOXES + 40, 2))
    boxes = np.concatenate([corner, corner + random.uniform(5, 40, corner.shape)], axis=1).astype(np.float32)
    scores = random.uniform(0, 1, len(boxes)).astype(np.float32)
    kept = non_maximum_suppression(boxes, scores, 0.5, of_smaller=of_smaller).tolist()
    assert (np.diff(scores[kept]) <= 0).all()
    area = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    for place in range(len(boxes)):
        better = [other for other in kept if scores[other] > scores[place]]
        common = np.clip(
            np.minimum(boxes[place, 2:], boxes[better, 2:]) - np.maximum(boxes[place, :2], boxes[better, :2]), 0, None
        ).prod(axis=1)
        whole = np.minimum(area[place], area[better]) if of_smaller else area[place] + area[better] - common
        assert (place in kept) is not bool((common > 0.5 * whole).any())
