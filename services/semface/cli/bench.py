"""`semface bench`: times, rates and ratios of the parts."""

import asyncio
import json
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from PIL import Image
from rich.console import Console
from rich.table import Table

from semface.cli.demonstration import portrait
from semface.codec.core import Codec
from semface.evaluation.codec_bench import measure_codec
from semface.evaluation.extract_bench import measure_extraction
from semface.extraction.image import decode_image
from semface.inference import Engine, open_engine
from semface.rpc.settings import ServerSettings

app = typer.Typer(no_args_is_help=True, help="Measure times.", rich_markup_mode=None)

Models = Annotated[Path | None, typer.Option(help="Another model repository.", metavar="DIR")]
Portrait = Annotated[
    Path | None,
    typer.Option(
        "--image", exists=True, dir_okay=False, help="A photograph of one face. [the demonstration's]", metavar="FILE"
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]

Result = TypeVar("Result")


@app.callback()
def bench() -> None:
    """Measure times, rates and ratios of the parts."""


@app.command()
def codec(
    quality: Annotated[
        str | None, typer.Option(help="Name or number of the codec's quality. [the one nearest to 900 bits]")
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Faces coded one by one.")] = 500,
    batch: Annotated[int, typer.Option(min=1, help="Faces coded at once.")] = 2000,
    models: Models = None,
    as_json: AsJson = False,
) -> None:
    """Encode and decode faces drawn from the codec's own prior: time, rate, and bits against entropy."""
    figures = _run(
        lambda engine, repository: measure_codec(
            engine, Codec(engine, repository), quality, rounds=rounds, batch=batch
        ),
        models,
    )
    _print(figures.as_dict(), as_json)


@app.command()
def extract(
    image: Portrait = None,
    rounds: Annotated[int, typer.Option(min=1, help="How often each time is taken.")] = 200,
    batch: Annotated[int, typer.Option(min=1, help="Faces described at once.")] = 256,
    models: Models = None,
    as_json: AsJson = False,
) -> None:
    """Detection and extraction on a 640 x 480 photograph: each stage, the whole, what one more face costs."""
    picture = _photograph(image)
    figures = _run(
        lambda engine, repository: measure_extraction(engine, repository, picture, rounds=rounds, batch=batch), models
    )
    _print(figures.as_dict(), as_json)


def _photograph(path: Path | None) -> Image.Image:
    return Image.fromarray(decode_image((path or portrait()).read_bytes()))


def _run(work: Callable[[Engine, Path], Coroutine[Any, Any, Result]], models: Path | None) -> Result:
    """Run ``work`` on the networks of ``models`` (None: the configured repository)."""
    settings = ServerSettings() if models is None else ServerSettings(model_repository=models)

    async def guarded() -> Result:
        engine = open_engine(settings)
        try:
            return await work(engine, settings.model_repository)
        finally:
            await engine.close()

    return asyncio.run(guarded())


def _print(figures: Mapping[str, str | float | None], as_json: bool) -> None:
    if as_json:
        print(json.dumps(figures))
        return
    table = Table(show_header=False)
    for name, value in figures.items():
        table.add_row(name, f"{value:.4f}" if isinstance(value, float) else str(value))
    Console().print(table)
