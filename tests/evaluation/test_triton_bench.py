from pathlib import Path

import pytest

from semface.evaluation.triton_bench import measure_triton
from semface.inference.cpu_server import ENVIRONMENT


@pytest.mark.slow
async def test_answers_are_equal_and_every_figure_is_taken(tiny_repository: Path, tmp_path: Path) -> None:
    heard: list[int] = []
    figures = await measure_triton(
        tiny_repository, tmp_path, ENVIRONMENT, concurrency=4, requests=40, rounds=2, threads=1, told=heard.append
    )
    assert figures.answers_equal
    assert heard == [1, 2]
    assert 1 <= figures.mean_batch <= 4
    assert all(value > 0 for value in figures.as_dict().values())
