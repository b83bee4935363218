"""Plots of the ladder, of overload and of growth, by matplotlib (the extra ``plots``)."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from semface.evaluation.load.ladder import ORDER, Rung
from semface.evaluation.load.overload import OverloadPoint
from semface.evaluation.rate_plot import require_matplotlib


def plot_ladder(rungs: Sequence[Rung], path: Path) -> None:
    """Draw the median of every step, a panel for each call, into ``path`` (SVG, PNG or PDF by suffix)."""
    calls = list(dict.fromkeys(rung.call for rung in rungs))
    figure, panels = _panels(len(calls))
    engines = list(dict.fromkeys(rung.engine for rung in rungs))
    for panel, call in zip(panels, calls, strict=True):
        steps = [step for step in ORDER if any((rung.call, rung.step) == (call, step) for rung in rungs)]
        for offset, engine in enumerate(engines):
            mine = [rung for rung in rungs if (rung.call, rung.engine) == (call, engine)]
            places = [steps.index(rung.step) + 0.4 * offset for rung in mine]
            panel.barh(places, [rung.p50_ms for rung in mine], height=0.38, label=engine)
        panel.set(title=call, xlabel="median, ms", yticks=range(len(steps)), yticklabels=steps)
    if len(engines) > 1:
        panels[0].legend(fontsize=7)
    _save(figure, path)


def plot_overload(points: Sequence[OverloadPoint], path: Path) -> None:
    """Draw answered and refused calls and the 99th percentile over the arrival rate into ``path``.

    Runs that were given up are left out: what would have been answered is not known.
    """
    names = list(dict.fromkeys(point.what for point in points))
    figure, panels = _panels(len(names))
    for panel, name in zip(panels, names, strict=True):
        mine = [point for point in points if point.what == name and not point.unanswered]
        arrivals = [point.arrivals for point in mine]
        lines = panel.plot(arrivals, [point.answered for point in mine], "o-", label="answered a second")
        lines += panel.plot(arrivals, [point.shed * point.arrivals for point in mine], "x--", label="refused a second")
        panel.set(title=name, xlabel="arrivals a second", ylabel="calls a second")
        beside = panel.twinx()
        lines += beside.plot(arrivals, [point.p99_ms for point in mine], "s:", color="C3", label="99 % within, ms")
        beside.set(ylabel="ms", ylim=(0, None))
    figure.legend(handles=lines, loc="outside lower center", ncols=len(lines), fontsize=7)
    _save(figure, path)


def _panels(count: int) -> tuple[Any, Any]:
    pyplot = require_matplotlib()
    # The same figures give the same file.
    pyplot.rcParams.update({"svg.hashsalt": "semface", "font.size": 8})
    figure, panels = pyplot.subplots(1, count, figsize=(3.2 * count, 3), squeeze=False, layout="constrained")
    return figure, panels[0]


def _save(figure: Any, path: Path) -> None:
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None, dpi=150)
    require_matplotlib().close(figure)
