"""The report of a run: one JSON file with every figure, and one HTML page of the same with plots, whole in itself."""

import json
from collections.abc import Iterable, Sequence
from html import escape
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from semface.evaluation.rate_accuracy.measurement import Measured
from semface.evaluation.rate_accuracy.paper_figures import PAPER_DATA, PAPER_FIGURES
from semface.evaluation.rate_accuracy.plot import plot_task
from semface.evaluation.rate_accuracy.points import VERIFICATION, RateAccuracyPoint
from semface.evaluation.rate_accuracy.savings import COUNTED, Saving, rate_savings
from semface.meaning import EXPRESSIONS

STYLE: Final = (
    "body{font:15px/1.5 sans-serif;max-width:1200px;margin:2em auto;padding:0 1em;color:#222}"
    "table{border-collapse:collapse;margin:1em 0}td,th{padding:.2em .7em;border-bottom:1px solid #ddd;text-align:right}"
    "td:first-child,th:first-child,td:nth-child(2),th:nth-child(2){text-align:left}svg{max-width:100%;height:auto}"
    ".other{background:#f4f0e4;font-style:italic}pre{overflow-x:auto;background:#f6f6f6;padding:1em}"
)
Cell = str | float | int | None


def report_figures(measured: Measured) -> dict[str, Any]:
    """Return every figure of a run, ready for JSON."""
    expression = measured.expression
    return {
        "semface": version("semface"),
        "protocol": measured.protocol,
        "points": [point.as_dict() for point in measured.points],
        "rate_savings": [saving.as_dict() for saving in rate_savings(measured.points)],
        "leaks": [leak.as_dict() for leak in measured.leaks],
        "expression_at_default_quality": None if expression is None else expression.as_json(),
        "paper_on_other_data": {
            task: {
                "data": PAPER_DATA[task],
                "figures": [{"system": name, "bits": bits, "accuracy": share} for name, bits, share in rows],
            }
            for task, rows in PAPER_FIGURES.items()
        },
    }


def write_report(measured: Measured, path: Path) -> dict[str, Any]:
    """Write the page to ``path`` and the figures beside it as JSON; return the figures."""
    figures = report_figures(measured)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.with_suffix(".json").write_text(json.dumps(figures, indent=1) + "\n")
    path.write_text(report_page(measured, figures))
    return figures


def report_page(measured: Measured, figures: dict[str, Any]) -> str:
    """Return the page, HTML that fetches nothing."""
    parts = ["<h1>Accuracy against rate</h1>", _introduction(figures)]
    savings = rate_savings(measured.points)
    for task in dict.fromkeys(point.task for point in measured.points):
        parts.append(f"<h2>{task.capitalize()}</h2>")
        parts.append(plot_task(measured.points, task))
        parts.append(_points_table([point for point in measured.points if point.task == task], task))
        parts.append(_savings_table([saving for saving in savings if saving.task == task]))
    parts += [_leaks_table(measured), _confusion_table(measured)]
    parts.append(f"<h2>Protocol</h2><pre>{escape(json.dumps(figures['protocol'], indent=1))}</pre>")
    head = f'<meta charset="utf-8"><title>Accuracy against rate</title><style>{STYLE}</style>'
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{"".join(parts)}</body></html>\n'


def _introduction(figures: dict[str, Any]) -> str:
    limit = figures["protocol"].get("limit")
    kept = f" <strong>Only about {limit} pairs and pictures were judged (--limit).</strong>" if limit else ""
    return (
        "<p>The same pictures and the same protocol for all. Bits of ours are whole frames, header and checks "
        "included. Of baselines two counts are told: everything, and the picture data alone (slices of VVC and HEVC, "
        "media data of AV1, scans of JPEG), since heads could be sent once. The recogniser of decoded pictures is told "
        f"where the face is, from the uncoded picture, at no cost.{kept}</p>"
    )


def _points_table(points: Sequence[RateAccuracyPoint], task: str) -> str:
    verifying = task == VERIFICATION
    last = ["TAR at FAR 1e-2, %"] if verifying else ["mean per class, %", "calibration error"]
    head = ["system", "what", "quality or QP", "bits", "picture data", "accuracy, %", "± standard error", *last]
    rows: list[list[Cell]] = []
    for point in points:
        more = [point.tar_at_far] if verifying else [point.mean_class_accuracy]
        values = [point.accuracy, point.standard_error, *more]
        rows.append([point.system, point.variant, point.parameter, _bits(point.bits), _bits(point.data_bits)])
        rows[-1] += [_percent(value) for value in values]
        rows[-1] += [] if verifying else [_number(point.calibration_error)]
    paper: list[list[Cell]] = [
        [name, f"other data: {PAPER_DATA[task]}", None, _bits(bits), None, _percent(share), None, *[None] * len(last)]
        for name, bits, share in PAPER_FIGURES[task]
    ]
    return _table(head, rows, paper)


def _savings_table(savings: Sequence[Saving]) -> str:
    if not savings:
        return ""
    ours = list(dict.fromkeys(saving.ours for saving in savings))
    counts = {"data_bits": "picture data", "bits": "everything"}
    head = ["baseline", "recognised by", *(f"{name}, against {counts[count]}" for name in ours for count in COUNTED)]
    told = {(s.system, s.variant, s.ours, s.counted): s for s in savings}
    rows: list[list[Cell]] = [
        [system, variant, *(_saving(told[system, variant, name, count]) for name in ours for count in COUNTED)]
        for system, variant in dict.fromkeys((s.system, s.variant) for s in savings)
    ]
    note = (
        "<p>Bjøntegaard mean over the accuracies in brackets, which both curves reach. Ours counts everything in "
        "either column. A dash: no accuracy is reached by both.</p>"
    )
    return f"<h3>Bits saved at equal accuracy, %</h3>{_table(head, rows)}{note}"


def _saving(saving: Saving) -> str:
    if saving.saving is None:
        return "–"
    return f"{_percent(saving.saving)} ({_percent(saving.lowest)} to {_percent(saving.highest)})"


def _leaks_table(measured: Measured) -> str:
    if not measured.leaks:
        return ""
    head = ["asked", "sent", "quality", "bits", "accuracy, %", "chance", "mean per class, %", "chance", "learned from"]
    rows: list[list[Cell]] = [
        [
            leak.asked + ("" if not leak.meant else " (meant to be told)"),
            leak.sent,
            leak.quality,
            _bits(leak.bits),
            *map(_percent, (leak.accuracy, leak.chance, leak.mean_class_accuracy, leak.mean_class_chance)),
            leak.learned_from,
        ]
        for leak in measured.leaks
    ]
    note = (
        "<p>A linear probe, fitted to people and pictures of the training side. The rows that are meant to be told "
        "show what the same probe finds where it should. A stronger probe may find more.</p>"
    )
    return f"<h2>What leaks</h2>{_table(head, rows)}{note}"


def _confusion_table(measured: Measured) -> str:
    result = measured.expression
    if result is None:
        return ""
    rows: list[list[Cell]] = [
        [name, _percent(share), *counts.tolist()]
        for name, share, counts in zip(EXPRESSIONS, result.class_accuracy, result.confusion, strict=True)
    ]
    note = f"<p>Mean per-class accuracy {_percent(result.mean_class_accuracy)} %.</p>"
    title = "<h2>Confusion of expressions, default quality</h2>"
    return f"{title}{_table(['voted', 'recognised, %', *EXPRESSIONS], rows)}{note}"


def _table(head: Sequence[str], rows: Iterable[Sequence[Cell]], other: Iterable[Sequence[Cell]] = ()) -> str:
    lines = ["<tr>" + "".join(f"<th>{escape(cell)}</th>" for cell in head) + "</tr>"]
    for kind, group in (("", rows), (' class="other"', other)):
        for row in group:
            cells = "".join(f"<td>{escape('–' if cell is None else str(cell))}</td>" for cell in row)
            lines.append(f"<tr{kind}>{cells}</tr>")
    return f"<table>{''.join(lines)}</table>"


def _bits(value: float | None) -> str | None:
    return None if value is None else f"{value:,.0f}"


def _percent(value: float | None) -> str | None:
    return None if value is None else f"{100 * value:.1f}"


def _number(value: float | None) -> str | None:
    return None if value is None else f"{value:.3f}"
