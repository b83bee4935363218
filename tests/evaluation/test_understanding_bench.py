"""`semface bench understanding`: what it asks and what it counts."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np

from semface.evaluation.understanding_bench import draw_faces


def test_the_same_faces_are_asked_about_every_time() -> None:
    np.testing.assert_array_equal(draw_faces(4), draw_faces(4))
    assert draw_faces(4).shape == (4, 257)


def test_both_networks_and_the_decision_are_timed(tiny_repository: Path) -> None:
    options = ["--rounds", "20", "--batch", "64", "--models", str(tiny_repository), "--json"]
    command = [sys.executable, "-m", "semface.cli", "bench", "understanding", *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    figures = json.loads(done.stdout)
    for network in ("expression", "verification"):
        assert 0 < figures[f"{network}_p50_ms"] <= figures[f"{network}_p99_ms"]
        assert figures[f"{network}_faces_per_second_batched"] > 1e3 / figures[f"{network}_p99_ms"]
    assert figures["comparison_p50_ms"] > 0
