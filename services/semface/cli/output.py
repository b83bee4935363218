"""How commands answer: one JSON object, or lines for people."""

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

Json = Annotated[bool, typer.Option("--json", help="Answer as JSON.")]


def show(answer: Mapping[str, Any], as_json: bool, *, title: str | None = None) -> None:
    """Print ``answer``: as JSON, or as a table of two columns with nested objects indented."""
    if as_json:
        print(json.dumps(answer))
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, box=box.SIMPLE, show_header=False, title_justify="left")
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in _lines(answer, ""):
        table.add_row(name, value)
    Console().print(table)


def _lines(answer: Mapping[str, Any], indent: str) -> list[tuple[str, str]]:
    lines = []
    for name, value in answer.items():
        label = indent + name.replace("_", " ")
        if isinstance(value, Mapping):
            lines += [(label, ""), *_lines(value, indent + "  ")]
        elif isinstance(value, Sequence) and not isinstance(value, str) and value and isinstance(value[0], Mapping):
            for index, item in enumerate(value, 1):
                lines += [(f"{label} {index}", ""), *_lines(item, indent + "  ")]
        else:
            lines.append((label, _text(value)))
    return lines


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1 else f"{value:.1f}"
    if isinstance(value, list | tuple):
        return ", ".join(map(_text, value)) or "-"
    return "-" if value is None else str(value)
