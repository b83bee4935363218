"""The real image codecs on a real face."""

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from semface.errors import Reason, SemfaceError
from semface.evaluation.rate_accuracy import image_codecs
from semface.evaluation.rate_accuracy.image_codecs import IMAGE_CODECS, ImageCodec
from tests.evaluation.conftest import FACE

NEEDED = {"vvc": "imageio_ffmpeg", "hevc": "av"}
FINE_TO_COARSE = {"vvc": (37, 49, 61), "hevc": (30, 40, 50), "av1": (50, 20, 2), "jpeg": (60, 20, 4)}


@pytest.fixture(params=list(IMAGE_CODECS))
def codec(request: pytest.FixtureRequest) -> ImageCodec:
    if request.param in NEEDED:
        pytest.importorskip(NEEDED[request.param], reason="image codecs are of the extra `baselines`")
    return IMAGE_CODECS[request.param]


def parameters(codec: ImageCodec) -> tuple[int, ...]:
    return next(FINE_TO_COARSE[name] for name, known in IMAGE_CODECS.items() if known is codec)


@pytest.fixture
def face(astronaut: Image.Image) -> NDArray[np.uint8]:
    return np.asarray(astronaut.crop(FACE).resize((96, 96)))


@pytest.mark.slow
def test_coarser_takes_fewer_bits_and_errs_more(codec: ImageCodec, face: NDArray[np.uint8]) -> None:
    coded = [codec.code([face], parameter)[0] for parameter in parameters(codec)]
    data = [one.data_bits for one in coded]
    assert data == sorted(data, reverse=True)
    errors = [np.abs(one.decoded.astype(int) - face).mean() for one in coded]
    assert errors == sorted(errors)
    assert errors[0] < 8
    for one in coded:
        assert 0 < one.data_bits < one.total_bits


@pytest.mark.slow
def test_pictures_do_not_help_each_other(codec: ImageCodec, face: NDArray[np.uint8]) -> None:
    mirrored, parameter = np.ascontiguousarray(face[:, ::-1]), parameters(codec)[1]
    together = codec.code([face, mirrored, face], parameter)
    assert len(together) == 3
    (alone,) = codec.code([face], parameter)
    for one in (together[0], together[2]):
        assert (one.total_bits, one.data_bits) == (alone.total_bits, alone.data_bits)
        np.testing.assert_array_equal(one.decoded, alone.decoded)
    errors = np.abs(together[1].decoded.astype(int) - mirrored).mean()
    assert errors < np.abs(together[1].decoded.astype(int) - face).mean()


@pytest.mark.slow
def test_a_picture_of_odd_size_keeps_it(codec: ImageCodec, face: NDArray[np.uint8]) -> None:
    odd = face[:51, :37]
    (coded,) = codec.code([odd], parameters(codec)[0])
    assert coded.decoded.shape == odd.shape
    assert np.abs(coded.decoded.astype(int) - odd).mean() < 10


def test_a_grey_picture_costs_no_colour(face: NDArray[np.uint8]) -> None:
    grey = np.repeat(face.mean(axis=2, keepdims=True).astype(np.uint8), 3, axis=2)
    nearly = grey.copy()
    nearly[0, 0, 0] ^= 1
    for name in ("av1", "jpeg"):
        (plain,), (colour,) = (IMAGE_CODECS[name].code([one], 20) for one in (grey, nearly))
        assert plain.total_bits < colour.total_bits
        assert (plain.decoded == plain.decoded[..., :1]).all()


def test_a_codec_that_is_not_installed_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "imageio_ffmpeg", None)
    monkeypatch.setitem(__import__("sys").modules, "av", None)
    for name in ("vvc", "hevc"):
        with pytest.raises(SemfaceError, match="baselines") as refused:
            _ = IMAGE_CODECS[name].version
        assert refused.value.reason is Reason.MODEL_UNKNOWN


@pytest.mark.slow
def test_slices_of_vvc_at_qp_51_are_near_what_the_paper_tells(astronaut: Image.Image) -> None:
    pytest.importorskip("imageio_ffmpeg", reason="image codecs are of the extra `baselines`")
    picture = np.asarray(astronaut.crop((100, 0, 350, 250)).resize((160, 160)))
    (coded,) = IMAGE_CODECS["vvc"].code([picture], 51)
    # 1,426 bits over LFW at this size; parameter sets add about 1,500.
    assert 500 < coded.data_bits < 4000
    assert 1200 < coded.total_bits - coded.data_bits < 1800
    assert image_codecs.VvcCodec().version.startswith("libvvenc")
