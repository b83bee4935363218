"""How `semface eval` measures: work on the networks of a repository, under a bar on standard error."""

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from semface.evaluation.serving_path import ServingPath
from semface.inference import open_engine
from semface.rpc.settings import ServerSettings

Result = TypeVar("Result")

Models = Annotated[Path | None, typer.Option(help="Another model repository.", metavar="DIR")]


def measure(
    work: Callable[[ServingPath, Callable[[int], None]], Coroutine[Any, Any, Result]],
    models: Path | None,
    total: int,
    counted: str = "pictures",
) -> Result:
    """Run ``work`` on the networks of ``models`` (None: the configured repository); it tells how many of ``total``."""
    settings = ServerSettings() if models is None else ServerSettings(model_repository=models)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    bar = Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=Console(stderr=True))

    async def guarded() -> Result:
        engine = open_engine(settings)
        try:
            task = bar.add_task(counted, total=total)
            return await work(
                ServingPath(engine, settings.model_repository), lambda done: bar.update(task, advance=done)
            )
        finally:
            await engine.close()

    with bar:
        return asyncio.run(guarded())
