"""Golden predicted frames: sessions made by this format must decode for ever, whatever codec model comes later."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from semface.codec.bitstream import pack_predicted, unpack, unpack_predicted
from semface.codec.prediction import Motion, difference_tables
from semface.descriptors import Portion
from tests.codec.plain_decoder import (
    DECAYS,
    THRESHOLDS,
    difference_table,
    follow,
    read_frame,
    read_predicted,
    read_symbols,
)
from tests.codec.test_golden import HASH, encode, integer_prior

VECTORS = Path(__file__).with_name("golden_sessions.json")
FRAMES = 12


def differences(case: int, number: int, symbols: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return differences by a rule in whole numbers: stillness, a wave, one latent alone, ever wilder ones."""
    index = np.arange(len(symbols), dtype=np.int64)
    rules = [
        0 * index,
        (index + number) % 3 - 1,
        np.where(index == 5 * number, 9, 0),
        (index * 48271 * number % 65537) % (2 * number + 1) - number,
    ]
    return np.clip(symbols + rules[case], 0, 32) - symbols


def reference(quality: int, payload: bytes, number: int) -> bytes:
    return HASH[:8] + hashlib.sha256(bytes((quality,)) + payload).digest()[:1] + bytes((number,))


def make_vectors() -> list[dict[str, Any]]:
    """Return all sessions with their frames; written to the file once, by hand, when the format was fixed."""
    vectors = []
    for case in range(4):
        quality = case % 3
        key = encode(case, quality, Portion.ALL)
        payload = unpack(key, HASH)[1][Portion.EXPRESSION]
        motion = Motion.after_key(
            integer_prior().qualities[quality].portions[Portion.EXPRESSION].tables.decode(payload)
        )
        frames = [key.hex()]
        for number in range(1, FRAMES):
            moved = differences(case, number, motion.latents)
            frames.append(pack_predicted(case % 2, motion.encode(moved), reference(quality, payload, number)).hex())
            motion = motion.moved(moved)
        vectors.append({"case": case, "quality": quality, "series": case % 2, "frames": frames})
    return vectors


GOLDEN: list[dict[str, Any]] = json.loads(VECTORS.read_text(encoding="utf-8"))


@pytest.mark.parametrize("vector", GOLDEN, ids=lambda vector: str(vector["case"]))
def test_a_golden_session_is_read_as_ever(vector: dict[str, Any]) -> None:
    key, *predicted = map(bytes.fromhex, vector["frames"])
    quality, payloads = unpack(key, HASH)
    assert (quality, len(predicted)) == (vector["quality"], FRAMES - 1)
    payload = payloads[Portion.EXPRESSION]
    motion = Motion.after_key(integer_prior().qualities[quality].portions[Portion.EXPRESSION].tables.decode(payload))
    for number, frame in enumerate(predicted, 1):
        series, message = unpack_predicted(frame, reference(quality, payload, number))
        moved = motion.decode(message)
        assert series == vector["series"]
        np.testing.assert_array_equal(moved, differences(vector["case"], number, motion.latents))
        assert len(motion.encode(moved)) == len(message)
        motion = motion.moved(moved)


@pytest.mark.parametrize("vector", GOLDEN, ids=lambda vector: str(vector["case"]))
def test_a_decoder_written_from_the_document_reads_the_golden_sessions(vector: dict[str, Any]) -> None:
    key, *predicted = map(bytes.fromhex, vector["frames"])
    quality, payloads = read_frame(key, HASH)
    tables = integer_prior().qualities[quality].portions[Portion.EXPRESSION].tables.frequencies.tolist()
    symbols = read_symbols(payloads["expression"], tables)
    means = [1024] * len(symbols)
    for number, frame in enumerate(predicted, 1):
        series, message = read_predicted(frame, reference(quality, payloads["expression"], number))
        expected = np.array(symbols) + differences(vector["case"], number, np.array(symbols))
        follow(symbols, means, message)
        assert series == vector["series"]
        assert symbols == expected.tolist()


def test_the_tables_of_differences_are_those_of_the_document() -> None:
    assert difference_tables().tolist() == [difference_table(scale) for scale in range(16)]
    document = (Path(__file__).parents[2] / "docs" / "bitstream.md").read_text(encoding="utf-8")
    for numbers in (DECAYS, THRESHOLDS):
        assert " ".join(map(str, numbers)) in document
