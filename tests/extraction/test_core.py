from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from semface.errors import Reason, SemfaceError
from semface.extraction.alignment import crop_face, face_square
from semface.extraction.core import MODELS, Extractor
from semface.extraction.detection import FaceDetector
from semface.inference.embedded import EmbeddedEngine
from tests.extraction.conftest import Pixels
from tests.tiny_models import build_tiny_repository


def collage(photograph: Pixels) -> Pixels:
    """Return a picture with the same face large and small."""
    face = photograph[30:230, 130:330]
    picture = np.full((260, 420, 3), 120, np.uint8)
    picture[60:150, 20:110] = np.asarray(Image.fromarray(face).resize((90, 90), Image.Resampling.LANCZOS))
    picture[20:220, 180:380] = face
    return picture


async def test_a_face_comes_with_the_numbers_of_its_square(engine: EmbeddedEngine, photograph: Pixels) -> None:
    (face,) = await Extractor(engine).extract(photograph)
    (detection,) = await FaceDetector(engine).detect(photograph)
    np.testing.assert_array_equal(face.box, detection.box)
    assert face.square == face_square(detection.box)
    crop = crop_face(photograph, face.square)
    expected = await engine.infer("descriptor_extraction", {"crops": crop[None]})
    np.testing.assert_array_equal(face.descriptors, expected["descriptors"][0])
    assert 0 < face.quality <= 1


async def test_several_faces_come_the_largest_first_each_with_its_own_numbers(
    engine: EmbeddedEngine, photograph: Pixels
) -> None:
    picture = collage(photograph)
    large, small = await Extractor(engine).extract(picture)
    assert large.square[2] > 1.5 * small.square[2]
    for face in (large, small):
        expected = await engine.infer("descriptor_extraction", {"crops": crop_face(picture, face.square)[None]})
        np.testing.assert_array_equal(face.descriptors, expected["descriptors"][0])


async def test_of_a_crowd_the_largest_are_described(engine: EmbeddedEngine, photograph: Pixels) -> None:
    picture = collage(photograph)
    (face,) = await Extractor(engine, maximum_faces=1).extract(picture)
    assert face.square == (await Extractor(engine).extract(picture))[0].square


async def test_a_picture_without_a_face_gives_none(engine: EmbeddedEngine, without_face: Pixels) -> None:
    assert await Extractor(engine).extract(without_face) == []


async def test_faces_of_less_than_the_minimum_quality_are_left_out(engine: EmbeddedEngine, photograph: Pixels) -> None:
    picture = collage(photograph)
    large, small = await Extractor(engine).extract(picture)
    lower, higher = sorted([large.quality, small.quality])
    (kept,) = await Extractor(engine, minimum_quality=(lower + higher) / 2).extract_some(picture)
    assert kept.quality == higher
    none_is_good = Extractor(engine, minimum_quality=1.0)
    assert await none_is_good.extract(picture) == []
    with pytest.raises(SemfaceError, match=f"{higher:.2f}") as caught:
        await none_is_good.extract_some(picture)
    assert caught.value.reason is Reason.LOW_QUALITY


async def test_where_a_face_is_wanted_a_picture_without_one_is_refused(
    engine: EmbeddedEngine, without_face: Pixels
) -> None:
    with pytest.raises(SemfaceError) as caught:
        await Extractor(engine).extract_some(without_face)
    assert caught.value.reason is Reason.NO_FACE


async def test_the_models_are_those_of_the_repository(engine: EmbeddedEngine) -> None:
    assert [model.name for model in Extractor(engine).models()] == list(MODELS)


@pytest.mark.parametrize("name", MODELS)
async def test_the_probe_fails_when_a_network_is_missing(tmp_path: Path, name: str) -> None:
    (build_tiny_repository(tmp_path) / name / "1" / "model.onnx").unlink()
    engine = EmbeddedEngine(tmp_path, threads=1)
    with pytest.raises(SemfaceError) as caught:
        await Extractor(engine).probe()
    assert caught.value.reason is Reason.MODEL_LOADING
    await engine.close()


async def test_the_probe_passes_when_all_is_there(engine: EmbeddedEngine) -> None:
    await Extractor(engine).probe()
