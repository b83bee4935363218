"""Pictures coded, decoded and recognised: what the recogniser is shown, and how a run stops and goes on."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from threading import Event

import numpy as np
import pytest
from numpy.typing import NDArray

from semface.evaluation.pictures import PictureArchive, view_pictures
from semface.evaluation.rate_accuracy import pixels
from semface.evaluation.rate_accuracy.image_codecs import IMAGE_CODECS
from semface.evaluation.rate_accuracy.kept_answers import KeptAnswers
from semface.evaluation.rate_accuracy.measurement import opened
from semface.evaluation.rate_accuracy.pixels import (
    FramedPictures,
    PictureRecogniser,
    PixelPass,
    expression_recogniser,
    frame_pictures,
    recognise_pixels,
)
from semface.extraction.alignment import Square
from semface.recognisers import RECOGNISERS
from semface.understanding.core import Understanding

STEMS = ("Ada_0001", "Ada_0002", "Bea_0001", "Cee_0001", "Dee_0001")
SQUARE = (40.0, 30.0, 80.0)

Look = Callable[[NDArray[np.uint8], Square], NDArray[np.floating]]


@pytest.fixture
def framed(pictures: Path) -> FramedPictures:
    """Four pictures with a square, and a broken one without."""
    squares = np.array([SQUARE, SQUARE, SQUARE, (0, 0, 48), (np.nan,) * 3], np.float32)
    return FramedPictures(PictureArchive(pictures), STEMS, squares)


def recogniser(look: Look) -> PictureRecogniser:
    return PictureRecogniser("what it is shown", "0", 5, lambda picture, view: view.square, look)


def shown(picture: NDArray[np.uint8], square: Square) -> NDArray[np.floating]:
    return np.array([*picture.shape[:2], *square])


def nothing(done: int) -> None:
    """Progress that nobody watches."""


def test_the_square_follows_a_picture_that_is_enlarged(framed: FramedPictures) -> None:
    own = recognise_pixels(framed, PixelPass(None, 0), recogniser(shown), KeptAnswers(None), nothing)
    np.testing.assert_array_equal(own.answers[0], [160, 160, *SQUARE])
    large = recognise_pixels(framed, PixelPass(None, 0, 320), recogniser(shown), KeptAnswers(None), nothing)
    np.testing.assert_array_equal(large.answers[0], [320, 320, *(2 * np.array(SQUARE))])
    np.testing.assert_array_equal(large.answers[3], [320, 320, 0, 0, 320])
    assert np.isnan(large.answers[4]).all()


def test_an_enlarged_picture_keeps_its_shape() -> None:
    (enlarged,) = PixelPass(None, 0, 320).code([np.zeros((80, 160, 3), np.uint8)])
    assert enlarged.decoded.shape == (160, 320, 3)


async def test_dan_is_shown_the_crop_that_extraction_cuts(pictures: Path, tiny_repository: Path) -> None:
    async with opened(tiny_repository) as path:
        archive, stems = PictureArchive(pictures), ["Ada_0001", "Cee_0001"]
        dan = expression_recogniser(path.engine, asyncio.get_running_loop())
        framed = await frame_pictures(path.engine, archive, stems, dan, KeptAnswers(None), nothing)
        found = await asyncio.to_thread(recognise_pixels, framed, PixelPass(None, 0), dan, KeptAnswers(None), nothing)
        (views,) = [views async for views in view_pictures(path.engine, archive, stems, nothing)]
        crops = np.stack([view.crop for view in views.values()])
        told = await Understanding(path.engine).recognitions(RECOGNISERS["dan"], crops)
    np.testing.assert_allclose(found.answers, told["confidences"], atol=1e-3)
    assert np.ptp(found.answers, axis=0).max() > 0.01


def test_the_recogniser_sees_what_was_decoded_and_bits_are_those_of_the_codec(framed: FramedPictures) -> None:
    def detail(picture: NDArray[np.uint8], square: Square) -> NDArray[np.floating]:
        # How much neighbours differ: a coarse picture is flat.
        return np.full(5, np.abs(np.diff(picture.astype(int), axis=0)).mean())

    way = PixelPass(IMAGE_CODECS["jpeg"], 1)
    coarse = recognise_pixels(framed, way, recogniser(detail), KeptAnswers(None), nothing)
    plain = recognise_pixels(framed, PixelPass(None, 0), recogniser(detail), KeptAnswers(None), nothing)
    assert coarse.answers[0, 0] < plain.answers[0, 0]
    picture = framed.archive.pixels("Ada_0001")
    assert picture is not None
    (coded,) = IMAGE_CODECS["jpeg"].code([picture], 1)
    assert (coarse.total_bits[0], coarse.data_bits[0]) == (coded.total_bits, coded.data_bits)
    # The broken picture counts nowhere.
    total, data = coarse.bits_mean
    assert total == pytest.approx(coarse.total_bits[:4].mean())
    assert data < total


def test_a_stopped_run_keeps_what_is_done_and_the_next_does_the_rest(
    framed: FramedPictures, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pixels, "CHUNK", 1)
    asked: list[int] = []

    def look(picture: NDArray[np.uint8], square: Square) -> NDArray[np.floating]:
        asked.append(1)
        return shown(picture, square)

    stopped = Event()
    stopped.set()
    way, kept = PixelPass(None, 0), KeptAnswers(tmp_path)
    with pytest.raises(InterruptedError):
        recognise_pixels(framed, way, recogniser(look), kept, nothing, stopped=stopped)
    done = len(STEMS) - 1 - len(KeptAnswers(tmp_path).missing(framed.readable))
    assert done == 1
    asked.clear()
    found = recognise_pixels(framed, way, recogniser(look), KeptAnswers(tmp_path), nothing, workers=2)
    assert len(asked) == 3
    whole = recognise_pixels(framed, way, recogniser(shown), KeptAnswers(None), nothing)
    np.testing.assert_array_equal(found.answers, whole.answers)
