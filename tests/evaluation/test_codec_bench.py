"""`semface bench codec`: what it draws and what it counts."""

import json
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest

from semface.codec.core import Codec
from semface.codec.entropy import FrequencyTables
from semface.errors import Reason, SemfaceError
from semface.evaluation.codec_bench import draw_faces, draw_symbols, measure_codec
from semface.inference.embedded import EmbeddedEngine
from semface.inference.engine import Engine

FIGURES = {"encode_decode_p50_ms", "encode_decode_p99_ms", "faces_per_second_batched", "bits_over_entropy"}


@pytest.fixture
async def engine(tiny_repository: Path) -> AsyncIterator[Engine]:
    opened = EmbeddedEngine(tiny_repository)
    yield opened
    await opened.close()


def test_symbols_are_drawn_by_their_frequencies() -> None:
    tables = FrequencyTables(np.array([[2**15, 2**14, 2**14], [1, 2**16 - 2, 1]]))
    drawn = draw_symbols(tables, 20_000, np.random.default_rng(0))
    shares = np.bincount(drawn[:, 0], minlength=3) / len(drawn)
    np.testing.assert_allclose(shares, [0.5, 0.25, 0.25], atol=0.02)
    assert (drawn[:, 1] == 1).mean() > 0.999


async def test_the_same_faces_are_drawn_every_time(engine: Engine, tiny_repository: Path) -> None:
    quality = Codec(engine, tiny_repository).default_quality
    first, again = await draw_faces(engine, quality, 5, seed=3), await draw_faces(engine, quality, 5, seed=3)
    np.testing.assert_array_equal(first, again)
    assert first.shape == (5, 257)
    assert np.ptp(first, axis=0).min() > 0


async def test_figures_are_measured_and_bits_stay_above_the_entropy(engine: Engine, tiny_repository: Path) -> None:
    figures = await measure_codec(engine, Codec(engine, tiny_repository), rounds=20, batch=40)
    assert figures.quality == "medium"  # of the tiny codec's three the one nearest to 900 bits
    assert 0 < figures.encode_decode_p50_ms <= figures.encode_decode_p99_ms
    assert figures.faces_per_second_batched > 0
    assert 1 <= figures.bits_over_entropy < 1.04


async def test_an_unknown_quality_is_refused(engine: Engine, tiny_repository: Path) -> None:
    with pytest.raises(SemfaceError) as refused:
        await measure_codec(engine, Codec(engine, tiny_repository), "best", rounds=1, batch=1)
    assert refused.value.reason is Reason.FIELD_INVALID


def test_the_command_prints_the_figures_as_json(tiny_repository: Path) -> None:
    command = [sys.executable, "-m", "semface.cli", "bench", "codec", "--json", "--rounds", "5", "--batch", "20"]
    done = subprocess.run([*command, "--models", str(tiny_repository)], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout).keys() >= FIGURES
