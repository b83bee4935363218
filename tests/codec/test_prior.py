"""The frozen prior: what is valid, how latents become symbols, and what the codec model's hash covers."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from semface.codec.prior import PORTION_LATENTS, Prior, codec_model_hash, prior_path
from semface.descriptors import Portion
from semface.errors import Reason, SemfaceError

Arrays = dict[str, NDArray[np.generic]]


def flat_prior() -> Arrays:
    """Two qualities over eight equally likely integers, -4…3; of the second, every other latent is not coded."""
    gains = np.ones((2, 256), np.float32)
    gains[1, 1::2] = 0
    return {
        "gains": gains,
        "minimum": np.full((2, 256), -4, np.int32),
        "frequencies": np.full((2, 256, 8), 2**13, np.uint32),
        "quality_names": np.array(["coarse", "fine"]),
        "default_quality": np.int32(1),
    }


def test_qualities_are_found_by_name_number_and_default() -> None:
    prior = Prior(flat_prior())
    assert prior.find("coarse") is prior.find(0) is prior.find("0") is prior.qualities[0]
    assert prior.find(None).name == "fine"


@pytest.mark.parametrize("quality", ["finest", 2, -1, ""])
def test_an_unknown_quality_is_refused(quality: str | int) -> None:
    with pytest.raises(SemfaceError) as refused:
        Prior(flat_prior()).find(quality)
    assert refused.value.reason is Reason.FIELD_INVALID


def test_latents_are_rounded_and_kept_within_the_tables() -> None:
    prior = Prior(flat_prior()).qualities[0].portions[Portion.ILLUMINATION]
    latents = np.zeros((1, 256), np.float32)
    latents[0, 232:238] = [0.4, 0.6, -1.2, 3.0, 1e30, -1e30]
    integers = prior.quantise(latents)[0] + prior.minimum
    np.testing.assert_array_equal(integers[:6], [0, 1, -1, 3, 3, -4])


def test_a_latent_without_gain_is_not_coded() -> None:
    quality = Prior(flat_prior()).qualities[1]
    assert [len(quality.portions[portion].tables) for portion in PORTION_LATENTS] == [80, 36, 12]
    np.testing.assert_array_equal(quality.portions[Portion.EXPRESSION].latents[:3], [160, 162, 164])


def test_zeros_that_fill_the_tables_of_a_portion_are_no_symbols() -> None:
    arrays = flat_prior()
    filled = np.concatenate([arrays["frequencies"], np.zeros((2, 256, 3), np.uint32)], axis=2)
    filled[0, 160:232] = [*[2**12] * 10, 6 * 2**12]
    prior = Prior(arrays | {"frequencies": filled})
    symbols = [prior.qualities[0].portions[portion].tables.symbols for portion in PORTION_LATENTS]
    assert symbols == [8, 11, 8]
    filled[0, 165, 3:5] = [0, 2**13]
    with pytest.raises(ValueError, match="frequency"):
        Prior(arrays | {"frequencies": filled})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("gains", np.ones((2, 255), np.float32)),
        ("gains", np.full((2, 256), np.nan, np.float32)),
        ("gains", np.full((2, 256), -1, np.float32)),
        ("gains", np.ones((2, 256))),
        ("minimum", np.full((2, 256), 2**20, np.int32)),
        ("frequencies", np.full((2, 256, 8), 2**12, np.uint32)),
        ("quality_names", np.array(["one", "one"])),
        ("quality_names", np.array([f"q{index}" for index in range(9)])),
        ("default_quality", np.int32(2)),
    ],
)
def test_arrays_that_do_not_hold_together_are_refused(name: str, value: NDArray[np.generic]) -> None:
    with pytest.raises(ValueError, match=r"gains|minimum|frequenc|qualit"):
        Prior(flat_prior() | {name: value})


@pytest.mark.parametrize("content", [None, b"", b"no archive", b"PK\x03\x04 cut short"])
def test_a_repository_without_a_whole_prior_is_refused_by_name(tmp_path: Path, content: bytes | None) -> None:
    path = prior_path(tmp_path)
    path.parent.mkdir(parents=True)
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SemfaceError) as refused:
        Prior.load(tmp_path)
    assert refused.value.reason is Reason.MODEL_UNKNOWN


def test_the_hash_covers_both_networks_and_the_prior(tiny_repository: Path, tmp_path: Path) -> None:
    for model in ("codec_analysis", "codec_synthesis"):
        shutil.copytree(tiny_repository / model, tmp_path / model)
    hashes = {codec_model_hash(tmp_path)}
    for file in ("codec_analysis/1/model.onnx", "codec_synthesis/1/model.onnx", "codec_synthesis/1/prior.npz"):
        with (tmp_path / file).open("ab") as changed:
            changed.write(b"\0")
        hashes.add(codec_model_hash(tmp_path))
    assert len(hashes) == 4
    (tmp_path / file).unlink()
    with pytest.raises(SemfaceError) as refused:
        codec_model_hash(tmp_path)
    assert refused.value.reason is Reason.MODEL_UNKNOWN
