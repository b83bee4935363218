"""`semface bench extract`: what it measures, and that the stages add up."""

import json
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from semface.errors import Reason, SemfaceError
from semface.evaluation.extract_bench import benchmark_picture, measure_extraction
from semface.inference.embedded import EmbeddedEngine
from semface.inference.engine import Engine


@pytest.fixture
async def engine(tiny_repository: Path) -> AsyncIterator[Engine]:
    opened = EmbeddedEngine(tiny_repository, threads=1)
    yield opened
    await opened.close()


def test_the_picture_is_of_the_promised_size_and_shows_the_portrait(astronaut: Image.Image) -> None:
    picture = benchmark_picture(astronaut)
    assert picture.size == (640, 480)
    small = np.asarray(astronaut.resize((480, 480), Image.Resampling.LANCZOS))
    np.testing.assert_array_equal(np.asarray(picture)[:, :480], small)


async def test_the_stages_stay_below_the_whole_and_a_second_face_costs_less_than_the_first(
    engine: Engine, tiny_repository: Path, astronaut: Image.Image
) -> None:
    figures = await measure_extraction(engine, tiny_repository, astronaut, rounds=15, batch=8)
    assert all(value > 0 for name, value in figures.as_dict().items() if not name.startswith("more_face"))
    assert figures.detect_ms < 1.5 * figures.extract_p50_ms
    assert figures.extract_p50_ms <= figures.extract_p99_ms
    assert figures.more_face_processor_ms < figures.extract_processor_ms < 2 * figures.extract_p99_ms


async def test_the_detector_is_small_enough(tiny_repository: Path, engine: Engine, astronaut: Image.Image) -> None:
    # The describing network of this repository is tiny, so these are the detector's weights.
    figures = await measure_extraction(engine, tiny_repository, astronaut, rounds=1, batch=1)
    assert 1.9 < figures.weights_megabytes < 2.5


async def test_a_portrait_without_a_face_is_refused(engine: Engine, tiny_repository: Path) -> None:
    with pytest.raises(SemfaceError) as refused:
        await measure_extraction(engine, tiny_repository, Image.new("RGB", (480, 480), (90, 90, 90)), rounds=1)
    assert refused.value.reason is Reason.NO_FACE


def test_the_command_prints_the_figures_as_json(tiny_repository: Path) -> None:
    command = [sys.executable, "-m", "semface.cli", "bench", "extract", "--json", "--rounds", "3", "--batch", "4"]
    done = subprocess.run([*command, "--models", str(tiny_repository)], capture_output=True, text=True, check=True)
    assert {"extract_p50_ms", "extract_p99_ms", "more_face_ms"} <= json.loads(done.stdout).keys()
