import json
import subprocess
import sys

import pytest


@pytest.mark.slow
def test_every_figure_comes_of_one_run_and_a_screened_search_is_judged_by_a_whole_one() -> None:
    command = [
        sys.executable,
        "-m",
        "semface.cli",
        "bench",
        "identify",
        "--subjects",
        "600",
        "--rounds",
        "10",
        "--json",
    ]
    told = subprocess.run([*command, "--exact-limit", "500"], capture_output=True, text=True, check=True, timeout=120)
    figures = json.loads(told.stdout)
    assert figures["screened"] is True
    assert figures["recall_at_1"] == 1
    assert 500 < figures["redis_bytes_per_subject"] < 2500
    assert figures["verify_p50_ms"] > figures["bare_p50_ms"] > 0
    assert abs(figures["same_cosine_mean"] - 0.6) < 0.05


def test_pictures_need_their_pairs() -> None:
    command = [sys.executable, "-m", "semface.cli", "bench", "identify", "--images", "faces.zip"]
    told = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert told.returncode != 0
    assert "both --images ZIP and --pairs CSV" in told.stderr
