"""`semface keys`: make, list and revoke API keys."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from semface.access.callers import DEFAULT_TENANT, Scope
from semface.access.keys import KeyFile
from semface.cli.output import Json, show

app = typer.Typer(no_args_is_help=True, help="Make, list and revoke API keys.", rich_markup_mode=None)

File = Annotated[
    Path, typer.Option(envvar="SEMFACE_KEYS_FILE", help="The file that gateway and services read.", metavar="FILE")
]


@app.callback()
def keys() -> None:
    """Make, list and revoke API keys."""


@app.command()
def create(
    file: File,
    tenant: Annotated[str, typer.Option(help="Whose subjects the key reaches.")] = DEFAULT_TENANT,
    scope: Annotated[list[Scope] | None, typer.Option(help="What it may do; all where none is named.")] = None,
    calls_per_minute: Annotated[int | None, typer.Option(min=1, help="How often it may call.")] = None,
    days: Annotated[float | None, typer.Option(min=0, help="How long it is valid; for ever where absent.")] = None,
    as_json: Json = False,
) -> None:
    """Make a key and show it, this once: only its digest is kept."""
    key_id, key = KeyFile(file).create(tenant, scope or list(Scope), calls_per_minute, days)
    show({"id": key_id, "key": key}, as_json)


@app.command("list")
def list_keys(file: File, as_json: Json = False) -> None:
    """List the keys, without the keys themselves."""
    listed = [{name: value for name, value in entry.items() if name != "digest"} for entry in KeyFile(file).entries()]
    if not as_json:
        for entry in listed:
            for name in ("created_at", "expires_at"):
                entry[name] = _day(entry.get(name))
    show({"keys": listed}, as_json)


@app.command()
def revoke(file: File, key_id: Annotated[str, typer.Argument(metavar="ID")], as_json: Json = False) -> None:
    """Revoke a key; whoever reads the file refuses it within a second."""
    KeyFile(file).revoke(key_id)
    show({"revoked": key_id}, as_json)


def _day(seconds: float | None) -> str | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d")
