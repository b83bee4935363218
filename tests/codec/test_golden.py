"""Golden vectors: streams made by this format must decode for ever, whatever codec model comes later."""

import json
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from semface.codec.bitstream import drop, pack, unpack
from semface.codec.entropy import FREQUENCY_TOTAL
from semface.codec.prior import Prior
from semface.descriptors import Portion
from tests.codec.plain_decoder import NAMES, read_frame, read_symbols

VECTORS = Path(__file__).with_name("golden_vectors.json")
HASH = bytes.fromhex("5e3fface00c0dec0") + bytes(24)
SYMBOLS, MINIMUM = 33, -16


def integer_prior() -> Prior:
    """Three qualities whose tables come from whole-number arithmetic alone; latents 5, 12, … are not coded."""
    distance = np.abs(np.arange(SYMBOLS) + MINIMUM)
    frequencies = np.empty((3, 256, SYMBOLS), np.uint32)
    for quality, latent in product(range(3), range(256)):
        # A peak that falls off as the square of the distance, sharper for later latents and lower qualities.
        weights = 10**6 // (1 + (1 + latent % 7) * (3 - quality) * distance**2)
        table = 1 + (FREQUENCY_TOTAL - SYMBOLS) * weights // weights.sum()
        table[-MINIMUM] += FREQUENCY_TOTAL - table.sum()
        frequencies[quality, latent] = table
    gains = np.tile(np.array([[0.5], [1], [4]], np.float32), (1, 256))
    gains[:, 5::7] = 0
    return Prior(
        {
            "gains": gains,
            "minimum": np.full((3, 256), MINIMUM, np.int32),
            "frequencies": frequencies,
            "quality_names": np.array(["low", "medium", "high"]),
            "default_quality": np.int32(1),
        }
    )


def latents_of(case: int) -> NDArray[np.float32]:
    """Return latents (1, 256) by a rule in whole numbers: silence, a ramp, clamped extremes, then ever wilder ones."""
    index = np.arange(256, dtype=np.int64)
    rules = [
        0 * index,
        index % 9 - 4,
        np.where(index % 2, 1000, -1000),
        (index * index * 7 + index) % 13 - 6,
        (index * 48271 % 65537) % 31 - 15,
    ]
    return (rules[case] / 4).astype(np.float32)[None]


def encode(case: int, quality: int, portions: Portion) -> bytes:
    """Return the frame of a golden case."""
    chosen = integer_prior().qualities[quality]
    payloads = {
        portion: chosen.portions[portion].tables.encode(chosen.portions[portion].quantise(latents_of(case))[0])
        for portion in portions
    }
    return pack(quality, payloads, HASH)


def make_vectors() -> list[dict[str, Any]]:
    """Return all cases with their frames; written to the file once, by hand, when the format was fixed."""
    subsets = [Portion.ALL, Portion.IDENTITY, Portion.EXPRESSION | Portion.ILLUMINATION, Portion.ILLUMINATION]
    return [
        {"case": case, "quality": quality, "portions": portions.value, "frame": encode(case, quality, portions).hex()}
        for case, quality, portions in product(range(5), range(3), subsets)
    ]


GOLDEN: list[dict[str, Any]] = json.loads(VECTORS.read_text(encoding="utf-8"))


def test_all_cases_are_there() -> None:
    assert len(GOLDEN) == 60


@pytest.mark.parametrize(
    "vector", GOLDEN, ids=lambda vector: f"{vector['case']}-{vector['quality']}-{vector['portions']}"
)
def test_a_golden_stream_is_made_and_read_as_ever(vector: dict[str, Any]) -> None:
    frame, portions = bytes.fromhex(vector["frame"]), Portion(vector["portions"])
    assert encode(vector["case"], vector["quality"], portions) == frame
    quality, payloads = unpack(frame, HASH)
    assert (quality, set(payloads)) == (vector["quality"], set(portions))
    prior = integer_prior().qualities[quality]
    for portion, payload in payloads.items():
        symbols = prior.portions[portion].tables.decode(payload)
        np.testing.assert_array_equal(symbols, prior.portions[portion].quantise(latents_of(vector["case"]))[0])


@pytest.mark.parametrize("vector", GOLDEN[::7], ids=lambda vector: f"{vector['case']}-{vector['quality']}")
def test_a_decoder_written_from_the_document_reads_the_golden_streams(vector: dict[str, Any]) -> None:
    quality, payloads = read_frame(bytes.fromhex(vector["frame"]), HASH)
    prior = integer_prior().qualities[quality]
    for portion in Portion(vector["portions"]):
        one = prior.portions[portion]
        symbols = read_symbols(payloads[NAMES[portion.value]], one.tables.frequencies.tolist())
        np.testing.assert_array_equal(symbols, one.quantise(latents_of(vector["case"]))[0])


def test_the_example_of_the_document_is_golden() -> None:
    text = (Path(__file__).parents[2] / "docs" / "bitstream.md").read_text(encoding="utf-8")
    assert "03 55 01 80 2b 80 96" in text
    frame = bytes.fromhex("03 55 01 80 2b 80 96")
    assert frame == encode(0, 0, Portion.EXPRESSION | Portion.ILLUMINATION)
    assert drop(frame, Portion.EXPRESSION) == bytes.fromhex("02 60 80 2b")
    assert not any(integer_prior().qualities[0].portions[Portion.EXPRESSION].quantise(latents_of(0))[0] + MINIMUM)
