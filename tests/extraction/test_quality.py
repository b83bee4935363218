import numpy as np
import pytest
from PIL import Image, ImageFilter

from semface.extraction.alignment import crop_face, face_square
from semface.extraction.detection import FaceDetector
from semface.extraction.quality import face_quality, frontality
from semface.inference.embedded import EmbeddedEngine
from tests.extraction.conftest import Pixels


async def quality_of(engine: EmbeddedEngine, picture: Image.Image) -> float:
    rgb = np.asarray(picture)
    (face,) = await FaceDetector(engine).detect(rgb)
    return face_quality(crop_face(rgb, face_square(face.box)), face.box, face.landmarks)


async def test_quality_falls_with_blur_and_with_size(engine: EmbeddedEngine, photograph: Pixels) -> None:
    sharp = Image.fromarray(photograph)
    blurred = [sharp.filter(ImageFilter.GaussianBlur(radius)) for radius in (2, 4)]
    shrunk = [sharp.resize((side, side), Image.Resampling.LANCZOS) for side in (256, 160)]
    best = await quality_of(engine, sharp)
    assert best > 0.5
    for worse in (blurred, shrunk):
        qualities = [best] + [await quality_of(engine, picture) for picture in worse]
        assert qualities == sorted(qualities, reverse=True)
        assert qualities[-1] < 0.6 * best


@pytest.mark.parametrize(("nose", "expected"), [(5.0, 1.0), (7.5, 0.75), (10.0, 0.5), (14.0, 0.5), (-3.0, 0.5)])
def test_a_turned_face_is_told_by_the_nose_between_the_eyes(nose: float, expected: float) -> None:
    landmarks = np.array([[0, 0], [10, 0], [nose, 6], [2, 10], [8, 10]], np.float32)
    turned = landmarks @ np.array([[0.8, 0.6], [-0.6, 0.8]], np.float32)
    assert frontality(landmarks) == pytest.approx(expected)
    assert frontality(turned) == pytest.approx(expected, abs=1e-6)


def test_a_crop_without_any_contrast_has_no_quality() -> None:
    box, landmarks = np.array([0, 0, 100, 100], np.float32), np.zeros((5, 2), np.float32)
    assert face_quality(np.full((112, 112, 3), 80, np.uint8), box, landmarks) == 0.0
