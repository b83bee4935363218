"""How `semface eval` prints what it measured."""

import json
from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table


def show_figures(figures: Mapping[str, float | int | None], as_json: bool, note: str | None = None) -> None:
    """Print ``figures`` as JSON or as a table; a ``note`` goes to standard error."""
    if note:
        Console(stderr=True).print(f"note: {note}")
    if as_json:
        print(json.dumps(figures))
        return
    table = Table(show_header=False)
    for name, value in figures.items():
        table.add_row(name, _text(value))
    Console().print(table)


def show_rows(figures: Sequence[Mapping[str, str | float | None]], as_json: bool) -> None:
    """Print ``figures`` as JSON or as a table with a column for each name."""
    if as_json:
        print(json.dumps(figures))
        return
    table = Table(*(name.replace("_", " ") for name in figures[0]))
    for row in figures:
        table.add_row(*(_text(value) for value in row.values()))
    Console().print(table)


def _text(value: str | float | int | None) -> str:
    return "–" if value is None else f"{value:.4f}" if isinstance(value, float) else str(value)
