"""The plot of accuracy against rate, by matplotlib (the extra ``plots``)."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from semface.errors import Reason, SemfaceError
from semface.evaluation.rate import RatePoint

_CURVES: Final = (
    ("portion_bits", "o-", "frame with what the task needs"),
    ("frame_bits", "s-", "frame with everything"),
    ("entropy_bits", ":", "entropy of the tables, everything"),
    ("paper_bits", "^--", "the paper's entropy coder, everything"),
)


def plot_rate(points: Sequence[RatePoint], path: Path) -> None:
    """Draw one panel for each task into ``path`` (SVG, PNG or PDF by suffix).

    The first codec is drawn as curves; of each other one only what the paper's coder makes of it, as a star. Raises
    MODEL_UNKNOWN when matplotlib is not installed.
    """
    figures = require_matplotlib()
    tasks = list(dict.fromkeys(point.task for point in points))
    # The same points give the same file.
    figures.rcParams.update({"svg.hashsalt": "semface", "font.size": 9})
    figure, panels = figures.subplots(1, len(tasks), figsize=(5.2 * len(tasks), 4), squeeze=False, layout="constrained")
    for panel, task in zip(panels[0], tasks, strict=True):
        _draw(panel, [point for point in points if point.task == task])
        panel.set(title=task, xlabel="bits for a face", ylabel="accuracy, %", xscale="log")
        panel.grid(alpha=0.3, which="both")
    panels[0][-1].legend(loc="lower right", fontsize=7)
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None, dpi=150)
    figures.close(figure)


def _draw(panel: Any, points: Sequence[RatePoint]) -> None:
    uncoded = next(point for point in points if point.codec == "none")
    panel.axhline(100 * uncoded.accuracy, color="0.5", linewidth=1, label="not coded")
    names = list(dict.fromkeys(point.codec for point in points if point.codec != "none"))
    own = [point for point in points if point.codec == names[0]]
    for field, style, label in _CURVES:
        panel.plot([getattr(p, field) for p in own], [100 * p.accuracy for p in own], style, markersize=4, label=label)
    for name in names[1:]:
        others = [point for point in points if point.codec == name]
        panel.plot([p.paper_bits for p in others], [100 * p.accuracy for p in others], "*", markersize=9, label=name)


def require_matplotlib() -> Any:
    """Return matplotlib's interface for plots; raises MODEL_UNKNOWN when it is not installed."""
    try:
        import matplotlib as mpl

        mpl.use("Agg")
        from matplotlib import pyplot
    except ImportError:
        message = "plots need matplotlib; run `pip install 'semface[plots]'`"
        raise SemfaceError(Reason.MODEL_UNKNOWN, message) from None
    return pyplot
