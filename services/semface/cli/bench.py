"""`semface bench`: times, rates and ratios of the parts."""

import asyncio
import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from semface.codec.core import Codec
from semface.evaluation.codec_bench import CodecFigures, measure_codec
from semface.inference import open_engine
from semface.rpc.settings import ServerSettings

app = typer.Typer(no_args_is_help=True, help="Measure times.", rich_markup_mode=None)


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
    models: Annotated[Path | None, typer.Option(help="Another model repository.", metavar="DIR")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Encode and decode faces drawn from the codec's own prior: time, rate, and bits against entropy."""
    settings = ServerSettings() if models is None else ServerSettings(model_repository=models)
    figures = asyncio.run(_measure(settings, quality, rounds, batch)).as_dict()
    if as_json:
        print(json.dumps(figures))
        return
    table = Table(show_header=False)
    for name, value in figures.items():
        table.add_row(name, f"{value:.4f}" if isinstance(value, float) else value)
    Console().print(table)


async def _measure(settings: ServerSettings, quality: str | None, rounds: int, batch: int) -> CodecFigures:
    engine = open_engine(settings)
    try:
        return await measure_codec(
            engine, Codec(engine, settings.model_repository), quality, rounds=rounds, batch=batch
        )
    finally:
        await engine.close()
