from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from semface.errors import Reason, SemfaceError
from semface.extraction.alignment import crop_face, face_square
from semface.extraction.core import MODELS, Extractor
from semface.extraction.detection import FaceDetector
from semface.inference.embedded import EmbeddedEngine
from semface.inference.engine import Arrays
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


class Counting(EmbeddedEngine):
    """The engine, which notes how many crops each call of the describing network has."""

    def __init__(self, repository: Path) -> None:
        super().__init__(repository, threads=1)
        self.rows: list[int] = []

    async def infer(self, model: str, inputs: Arrays) -> dict[str, NDArray[Any]]:
        if model == "descriptor_extraction":
            self.rows.append(len(inputs["crops"]))
        return await super().infer(model, inputs)


async def test_all_faces_are_described_in_one_call_each_with_its_own_numbers(
    tiny_repository: Path, photograph: Pixels
) -> None:
    engine, picture = Counting(tiny_repository), collage(photograph)
    small, large = await Extractor(engine).extract(picture)
    assert engine.rows == [2]
    assert large.size > 1.5 * small.size
    for face in (large, small):
        expected = await engine.infer("descriptor_extraction", {"crops": crop_face(picture, face.square)[None]})
        np.testing.assert_allclose(face.descriptors, expected["descriptors"][0], atol=1e-6)
    await engine.close()


@pytest.mark.parametrize("seed", range(4))
async def test_a_group_is_told_row_by_row_however_its_faces_waver(
    engine: EmbeddedEngine, photograph: Pixels, seed: int
) -> None:
    face = Image.fromarray(photograph[30:230, 130:330])
    random, picture = np.random.default_rng(seed), Image.new("RGB", (640, 360), (120, 120, 120))
    places = [(x, y) for y in (20, 190) for x in (10, 170, 330, 490)]
    for x, y in random.permutation(places).tolist():
        side = int(random.integers(110, 140))
        picture.paste(face.resize((side, side)), (x + int(random.integers(8)), y + int(random.integers(-15, 15))))
    found = await Extractor(engine).extract(np.asarray(picture))
    centres = np.array([face.landmarks[2] for face in found])
    assert [(int(x) // 160, int(y) // 180) for x, y in centres] == [(x, y) for y in (0, 1) for x in range(4)]


async def test_of_a_crowd_the_largest_are_described(engine: EmbeddedEngine, photograph: Pixels) -> None:
    picture = collage(photograph)
    (face,) = await Extractor(engine, maximum_faces=1).extract(picture)
    assert face.square == max(await Extractor(engine).extract(picture), key=lambda found: found.size).square


async def test_a_picture_without_a_face_gives_none(engine: EmbeddedEngine, without_face: Pixels) -> None:
    assert await Extractor(engine).extract(without_face) == []


async def test_every_face_is_told_with_its_quality_and_refused_only_where_none_is_good(
    engine: EmbeddedEngine, photograph: Pixels
) -> None:
    picture = collage(photograph)
    small, large = await Extractor(engine).extract(picture)
    assert small.quality < large.quality
    between = Extractor(engine, minimum_quality=(small.quality + large.quality) / 2)
    assert len(await between.extract_some(picture)) == 2
    none_is_good = Extractor(engine, minimum_quality=1.0)
    assert len(await none_is_good.extract(picture)) == 2
    with pytest.raises(SemfaceError, match=f"{large.quality:.2f}") as caught:
        await none_is_good.extract_some(picture)
    assert caught.value.reason is Reason.LOW_QUALITY


async def test_where_one_face_is_wanted_the_only_good_one_is_taken_or_the_largest(
    engine: EmbeddedEngine, photograph: Pixels
) -> None:
    picture = collage(photograph)
    extractor = Extractor(engine)
    small, large = await extractor.extract(picture)
    with pytest.raises(SemfaceError) as caught:
        await extractor.extract_only(picture)
    assert caught.value.reason is Reason.SEVERAL_FACES
    assert (await extractor.extract_only(picture, largest=True)).square == large.square
    between = Extractor(engine, minimum_quality=(small.quality + large.quality) / 2)
    assert (await between.extract_only(picture)).square == large.square


FAULTS = {
    "too small": lambda picture: picture.resize((128, 128)),
    "blurred": lambda picture: picture.filter(ImageFilter.GaussianBlur(5)),
    "cut off": lambda picture: picture.crop((0, 0, 222, 512)),
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_refusal_says_what_is_wrong_with_the_face(
    engine: EmbeddedEngine, photograph: Pixels, fault: str
) -> None:
    picture = np.asarray(FAULTS[fault](Image.fromarray(photograph)))
    with pytest.raises(SemfaceError, match=fault) as caught:
        await Extractor(engine, minimum_quality=1.0).extract_some(picture)
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


class Infinite(EmbeddedEngine):
    """The engine, of which one network answers with infinity."""

    def __init__(self, repository: Path, broken: str) -> None:
        super().__init__(repository, threads=1)
        self.broken = broken

    async def infer(self, model: str, inputs: Arrays) -> dict[str, NDArray[Any]]:
        answers = await super().infer(model, inputs)
        return {name: array * np.inf for name, array in answers.items()} if model == self.broken else answers


@pytest.mark.parametrize("name", MODELS)
async def test_the_probe_fails_when_a_network_answers_with_infinity(tiny_repository: Path, name: str) -> None:
    engine = Infinite(tiny_repository, name)
    with pytest.raises(RuntimeError, match=name):
        await Extractor(engine).probe()
    await engine.close()


async def test_a_square_that_is_known_is_described_without_looking_for_a_face(
    engine: EmbeddedEngine, photograph: Pixels
) -> None:
    extractor = Extractor(engine)
    (face,) = await extractor.extract(photograph)
    crop = crop_face(photograph, face.square)
    described = await extractor.describe([crop, crop])
    np.testing.assert_allclose(described, np.stack([face.descriptors] * 2), atol=1e-6)
    assert (await extractor.describe([])).shape == (0, 257)
