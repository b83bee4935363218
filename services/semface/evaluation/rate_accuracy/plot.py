"""The plots of the report, by matplotlib (the extra ``plots``)."""

import io
from collections.abc import Sequence
from typing import Any, Final

from semface.evaluation.rate_accuracy.points import RateAccuracyPoint
from semface.evaluation.rate_accuracy.savings import series_of
from semface.evaluation.rate_accuracy.ways import SYSTEM, UNCODED, WHOLE
from semface.evaluation.rate_plot import require_matplotlib

PANELS: Final = (
    ("data_bits", "bits of a face (baselines: picture data alone)"),
    ("bits", "bits of a face, everything"),
)
OURS: Final = ("tab:red", "tab:orange", "tab:pink")
BASELINES: Final = ("tab:blue", "tab:green", "tab:purple", "tab:brown", "tab:cyan", "tab:gray")
MARKERS: Final = "os^Dv*"


def plot_task(points: Sequence[RateAccuracyPoint], task: str) -> str:
    """Return one figure of ``task`` as SVG text: accuracy against picture data, and against all bits.

    Raises MODEL_UNKNOWN when matplotlib is not installed.
    """
    figures = require_matplotlib()
    # The same points give the same text.
    figures.rcParams.update({"svg.hashsalt": "semface", "font.size": 9, "svg.fonttype": "none"})
    figure, panels = figures.subplots(1, len(PANELS), figsize=(12, 5), sharex=True, sharey=True, layout="constrained")
    for panel, (counted, label) in zip(panels, PANELS, strict=True):
        _draw(panel, points, task, counted)
        panel.set(xlabel=label, xscale="log")
        panel.grid(alpha=0.3, which="both")
    panels[0].set(ylabel="accuracy, %", title=task)
    panels[1].legend(loc="center left", bbox_to_anchor=(1.01, 0.5), fontsize=7)
    stream = io.StringIO()
    figure.savefig(stream, format="svg", metadata={"Date": None})
    figures.close(figure)
    text = stream.getvalue()
    return text[text.index("<svg") :]


def _draw(panel: Any, points: Sequence[RateAccuracyPoint], task: str, counted: str) -> None:
    series = series_of(points, task)
    systems = list(dict.fromkeys(system for system, _ in series if system != SYSTEM))
    variants = list(dict.fromkeys(variant for system, variant in series if system != SYSTEM))
    own = [variant for system, variant in series if system == SYSTEM]
    for (system, variant), members in series.items():
        if system == SYSTEM:
            colour, style = OURS[own.index(variant) % len(OURS)], "-" if variant == WHOLE else "--"
            marker, width = MARKERS[own.index(variant) % len(MARKERS)], 2.0
        else:
            colour, style = BASELINES[systems.index(system) % len(BASELINES)], ("-", ":")[variants.index(variant) % 2]
            marker, width = MARKERS[systems.index(system) % len(MARKERS)], 1.0
        bits = [getattr(point, counted) for point in members]
        shares = [100 * point.accuracy for point in members]
        label = f"{system}: {variant}"
        panel.plot(bits, shares, style, color=colour, marker=marker, markersize=4, linewidth=width, label=label)
    ceilings = [point for point in points if point.task == task and point.parameter == UNCODED]
    for place, point in enumerate(ceilings):
        colour = OURS[0] if point.system == SYSTEM else "0.4"
        label = f"uncoded {point.system}: {point.variant}"
        panel.axhline(100 * point.accuracy, color=colour, linewidth=0.8, linestyle=(0, (1 + 3 * place, 2)), label=label)
