"""`semface bench ladder|overload|rivals|soak|scale`: the running system under load."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from semface.cli.demonstration import portrait
from semface.evaluation.load.driving import run_quickly
from semface.evaluation.load.ladder import ROUNDS, measure_ladder
from semface.evaluation.load.overload import MEASURED, SHARES, measure_overload
from semface.evaluation.load.rivals import measure_rivals
from semface.evaluation.load.scale import PARTS as SCALE_PARTS
from semface.evaluation.load.scale import Mix, limits, measure_scale, plans
from semface.evaluation.load.soak import PARTS, measure_soak
from semface.rpc.settings import ServerSettings

Portrait = Annotated[
    Path | None,
    typer.Option(
        "--image", exists=True, dir_okay=False, help="A photograph of one face. [the demonstration's]", metavar="FILE"
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Plot = Annotated[Path | None, typer.Option(help="Also draw a plot (SVG, PNG or PDF).", metavar="FILE")]


def ladder(
    image: Portrait = None,
    seconds: Annotated[float, typer.Option(min=0.1, help="Time for each step in each round.")] = 1.5,
    triton: Annotated[bool, typer.Option(help="Also through a Triton server on this CPU (`make triton`).")] = False,
    plot: Plot = None,
    as_json: AsJson = False,
) -> None:
    """From bare networks to the gateway: medians, 99th percentiles, rates, bytes, each step over the one below."""
    picture, repository = image or portrait(), ServerSettings().model_repository
    with _progress("rounds", ROUNDS * (1 + triton)) as told:
        rungs = run_quickly(measure_ladder(picture, repository, "embedded", seconds, told))
        if triton:
            from semface.evaluation.load.triton_server import running_triton

            with running_triton(repository) as url:
                rungs += run_quickly(
                    measure_ladder(picture, repository, url, seconds, lambda done: told(ROUNDS + done))
                )
    if plot is not None:
        from semface.evaluation.load.plots import plot_ladder

        plot_ladder(rungs, plot)
    _show([rung.as_dict() for rung in rungs], as_json)


def overload(
    image: Portrait = None,
    seconds: Annotated[float, typer.Option(min=0.5, help="Length of each run.")] = 6.0,
    plot: Plot = None,
    as_json: AsJson = False,
) -> None:
    """Calls at a fixed rate, from half to three times what the system can bear: what is answered, and how soon."""
    with _progress("runs", len(SHARES) * len(MEASURED)) as told:
        points = run_quickly(measure_overload(image or portrait(), seconds, told))
    if plot is not None:
        from semface.evaluation.load.plots import plot_overload

        plot_overload(points, plot)
    _show([point.as_dict() for point in points], as_json)


def soak(
    image: Portrait = None,
    share: Annotated[float, typer.Option(min=0.001, help="Of 95,000 receiver calls and 5,000 extractions.")] = 1.0,
    most_growth: Annotated[
        float | None, typer.Option(help="Growth beyond which the command fails; 0.02 is two per cent.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Many calls after a warm-up: start time, memory idle and under load, and whether it grows."""
    with _progress("tenths", PARTS) as told:
        figures = run_quickly(measure_soak(image or portrait(), share, told))
    _show([figures.as_dict()], as_json)
    if most_growth is not None and figures.growth > most_growth:
        message = f"memory grew by {100 * figures.growth:.2f} %, {100 * most_growth:g} % are allowed"
        print(message)
        raise typer.Exit(1)


def rivals(
    image: Portrait = None,
    seconds: Annotated[float, typer.Option(min=0.5, help="Time for each step.")] = 6.0,
    environment: Annotated[Path, typer.Option(help="Where `make peers` installed dlib.", metavar="DIR")] = Path(
        "build/peers-venv"
    ),
    as_json: AsJson = False,
) -> None:
    """Beside dlib behind plain FastAPI, and our own networks behind plain FastAPI: requests a second, p99."""
    with _progress("systems", 3) as told:
        figures = run_quickly(measure_rivals(image or portrait(), environment, seconds, told))
    _show([figure.as_dict() for figure in figures], as_json)


def scale(
    image: Portrait = None,
    p99: Annotated[float, typer.Option(help="Milliseconds within which 99 of 100 calls are to be answered.")] = 100.0,
    photographs: Annotated[float, typer.Option(min=0, max=100, help="Of 100 calls, photographs analysed.")] = 2.0,
    verifications: Annotated[float, typer.Option(min=0, max=100, help="Of 100 calls, faces verified.")] = 18.0,
    triton: Annotated[bool, typer.Option(help="Networks on Triton, a station of their own.")] = False,
    seconds: Annotated[float, typer.Option(min=0.5, help="Length of each run that is measured.")] = 4.0,
    as_json: AsJson = False,
) -> None:
    """How many replicas hold 10 to 10,000 faces a second, and which part is the limit: simulated, checked, told."""
    mix, repository = Mix(photographs, verifications), ServerSettings().model_repository
    with _progress("measured", SCALE_PARTS) as told:
        measured, checked = run_quickly(measure_scale(image or portrait(), repository, seconds, told))
    rows = [
        {
            "faces a second": found.rate,
            "held": found.held,
            "p99_ms": found.simulated.p99_ms,
            **dict(found.replicas),
            "limit": found.limit,
        }
        for found in plans(measured, mix, p99, triton=triton)
    ]
    one = limits(measured, mix, triton=triton)
    if as_json:
        checks = [check.as_dict() for check in checked]
        print(json.dumps({"service_ms": measured.as_dict(), "check": checks, "one_replica_holds": one, "plan": rows}))
        return
    _show([measured.as_dict()], as_json)
    _show([check.as_dict() for check in checked], as_json)
    _show([{f"faces a second that one {name} can take": rate for name, rate in one.items()}], as_json)
    _show(rows, as_json)


class _progress:
    """A bar on standard error; gives the function that sets how much is done."""

    def __init__(self, name: str, total: int) -> None:
        self._bar = Progress(console=Console(stderr=True))
        self._task = self._bar.add_task(name, total=total)

    def __enter__(self) -> Any:
        self._bar.start()
        return lambda done: self._bar.update(self._task, completed=done)

    def __exit__(self, *_: object) -> None:
        self._bar.stop()


def _show(rows: Sequence[Mapping[str, Any]], as_json: bool) -> None:
    if as_json:
        print(json.dumps(rows[0] if len(rows) == 1 else rows))
        return
    if len(rows) == 1:
        table = Table(show_header=False)
        for name, value in rows[0].items():
            table.add_row(name, _text(value))
    else:
        table = Table(*rows[0])
        for row in rows:
            table.add_row(*map(_text, row.values()))
    # A table that is read by a program or in a log keeps its columns.
    Console(width=None if Console().is_terminal else 200).print(table)


def _text(value: object) -> str:
    return "–" if value is None else f"{value:.3f}" if isinstance(value, float) else str(value)
