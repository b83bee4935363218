"""The plots hold every call, step and rate; the same figures give the same file."""

from pathlib import Path

from semface.evaluation.load.ladder import ORDER, Rung
from semface.evaluation.load.overload import OverloadPoint
from semface.evaluation.load.plots import plot_ladder, plot_overload


def test_the_ladder_is_drawn_with_a_panel_for_each_call(tmp_path: Path) -> None:
    rungs = [
        Rung(engine, call, step, 1.0 + place, 2.0 + place, 100.0, None, None, None, None, None)
        for engine in ("embedded", "triton")
        for call in ("extract", "encode")
        for place, step in enumerate(ORDER[:4])
    ]
    plot_ladder(rungs, tmp_path / "first.svg")
    plot_ladder(rungs, tmp_path / "second.svg")
    drawn = (tmp_path / "first.svg").read_text()
    assert drawn == (tmp_path / "second.svg").read_text()
    assert all(f"<!-- {text} -->" in drawn for text in ("extract", "encode", "networks", "gRPC", "triton"))
    # No call of these has that step.
    assert "<!-- gateway -->" not in drawn


def test_overload_is_drawn_with_answers_refusals_and_times(tmp_path: Path) -> None:
    points = [
        OverloadPoint("extract", share, 40 * share, 40.0, 0.1, 0, 0, 10.0, 20.0, 1.0, 0.1) for share in (1.0, 2.0)
    ]
    plot_overload(points, tmp_path / "curve.svg")
    drawn = (tmp_path / "curve.svg").read_text()
    assert all(f"<!-- {text} -->" in drawn for text in ("extract", "answered a second", "refused a second"))
    given_up = OverloadPoint("extract", 3.0, 120.0, 1.0, 1.0, 0, 8001, 10.0, 20.0, 1.0, 0.1)
    plot_overload([*points, given_up], tmp_path / "given-up.svg")
    assert (tmp_path / "given-up.svg").read_text() == drawn
