"""`semface eval rate-accuracy`: ours beside pictures that are coded as pixels and then recognised."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from semface.evaluation.landmark_teacher import teacher_folder
from semface.evaluation.rate_accuracy.image_codecs import IMAGE_CODECS
from semface.evaluation.rate_accuracy.measurement import Measured, Measurement, measure_rate_accuracy
from semface.evaluation.rate_accuracy.options import (
    CODEC_KINDS,
    ENLARGED_PARAMETERS,
    RateAccuracyOptions,
    parse_codec,
    parse_names,
    parse_numbers,
    parse_run,
)
from semface.evaluation.rate_accuracy.points import EXPRESSION, VERIFICATION
from semface.evaluation.rate_accuracy.report import write_report
from semface.evaluation.rate_plot import require_matplotlib
from semface.rpc.settings import ServerSettings


def rate_accuracy(
    output: Annotated[
        Path, typer.Option("-o", "--output", help="The page, HTML; figures beside it as JSON.", metavar="FILE")
    ],
    images: Annotated[Path | None, typer.Option(help="Zip of pictures to verify.", metavar="ZIP")] = None,
    pairs: Annotated[Path | None, typer.Option(help="CSV with fold, same, image_a, image_b.", metavar="CSV")] = None,
    expressions: Annotated[Path | None, typer.Option(help="Zip of pictures with votes.csv.", metavar="ZIP")] = None,
    learn: Annotated[
        Path | None,
        typer.Option(help="The same of the training side, from which --leaks learns.", metavar="ZIP"),
    ] = None,
    models: Annotated[Path | None, typer.Option(help="Another model repository.", metavar="DIR")] = None,
    runs: Annotated[
        list[str] | None,
        typer.Option(
            "--run",
            help="Judge these folds with this repository, pooled over all --run. [all with --models]",
            metavar="FOLDS=DIR",
        ),
    ] = None,
    baselines: Annotated[
        str, typer.Option(help="Image codecs to compare with; empty for none.", metavar="NAMES")
    ] = ",".join(IMAGE_CODECS),
    qps: Annotated[str | None, typer.Option(help="QPs of VVC on pictures to verify. [seven, 43 to 61]")] = None,
    expression_qps: Annotated[str | None, typer.Option(help="Of VVC on expressions. [seven, 31 to 57]")] = None,
    enlarged_qps: Annotated[str, typer.Option(help="Of VVC on expressions enlarged to 224 x 224; empty for none.")] = (
        ",".join(map(str, ENLARGED_PARAMETERS))
    ),
    codecs: Annotated[
        list[str] | None,
        typer.Option(
            "--codec",
            help=f"Another codec beside ours: KIND is one of {', '.join(CODEC_KINDS)}; FOLDS those of its --run.",
            metavar="KIND[:FOLDS]=DIR",
        ),
    ] = None,
    leaks: Annotated[
        bool, typer.Option("--leaks", help="Tell what of identity is in expression's bits, and the reverse.")
    ] = False,
    teachers: Annotated[
        Path | None,
        typer.Option(help="Folder of the teachers. [SEMFACE_TEACHERS, or build/teachers]"),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=2, help="About so many pairs, evenly of all folds, and the first pictures.")
    ] = None,
    cache: Annotated[
        Path | None, typer.Option(help="Keep answers in this folder; a run that was cut off goes on.", metavar="DIR")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Pictures coded at the same time.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as one JSON object.")] = False,
) -> None:
    """Every quality, whole and by portion, beside VVC, HEVC, AV1 and JPEG with recognisers of pictures: one report."""
    require_matplotlib()
    chosen = {VERIFICATION: qps, EXPRESSION: expression_qps}
    options = RateAccuracyOptions(
        images,
        pairs,
        expressions,
        learn,
        models or ServerSettings().model_repository,
        tuple(parse_run(text) for text in runs or ()),
        teachers or teacher_folder(),
        baselines=parse_names(baselines),
        qps={task: parse_numbers(text) for task, text in chosen.items() if text is not None},
        enlarged_qps=parse_numbers(enlarged_qps) if enlarged_qps else (),
        codecs=tuple(parse_codec(text) for text in codecs or ()),
        leaks=leaks,
        limit=limit,
        cache=cache,
        workers=workers,
    )
    measurement = Measurement(options)
    figures = write_report(_measured(measurement), output)
    if as_json:
        print(json.dumps(figures))
    else:
        _print(figures)


def _measured(measurement: Measurement) -> Measured:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=Console(stderr=True)) as bar:
        task = bar.add_task("pictures", total=measurement.total)
        return measure_rate_accuracy(measurement, lambda done: bar.update(task, advance=done))


def _print(figures: dict[str, Any]) -> None:
    shown = ("task", "system", "variant", "parameter", "bits", "data_bits", "accuracy")
    table = Table(*(name.replace("_", " ") for name in shown))
    for point in figures["points"]:
        table.add_row(*(_text(name, point[name]) for name in shown))
    Console().print(table)


def _text(name: str, value: str | float | None) -> str:
    if value is None or isinstance(value, str):
        return value or "–"
    return f"{100 * value:.1f} %" if name == "accuracy" else f"{value:,.0f}"
