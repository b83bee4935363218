"""The `semface` command: finds each subcommand in its group's file, imported only when it is called."""

import importlib
import os
import sys
from typing import Annotated, Any

import typer
from pydantic import ValidationError
from typer.core import TyperGroup

from semface import __version__
from semface.errors import Reason, SemfaceError

COMMANDS = {
    "up": ("running", "Run the whole system in one process."),
    "serve": ("running", "Run one deployable: extraction, codec, understanding, gateway or the canary of a Triton."),
    "demonstrate": ("running", "Start the system, send a photograph through it and show what comes out."),
    "analyze": ("coding", "Tell the faces of a photograph: bits, expression, quality."),
    "encode": ("coding", "Code the face of a photograph into a bitstream."),
    "decode": ("coding", "Decode a bitstream into the numbers of the face."),
    "render": ("drawing", "Draw the face of a photograph or a bitstream, or the face model."),
    "expression": ("coding", "Recognise the expression of a photograph, a bitstream or a 3-D scan."),
    "verify": ("coding", "Tell whether two photographs or bitstreams show one person."),
    "enroll": ("enrolling", "Enrol a face as a subject, through a running gateway."),
    "identify": ("enrolling", "Tell which enrolled subject a face is, through a running gateway."),
    "keys": ("keys", "Make, list and revoke API keys."),
    "tenants": ("tenants", "Make and erase tenants, rotate their keys, show their audit trail."),
    "models": ("models", "Build, check and list the networks."),
    "ops": ("ops", "Look after an installation in Kubernetes: preflight, status, rollout, engines."),
    "eval": ("eval", "Measure the whole chain on pictures."),
    "bench": ("bench", "Measure times."),
}
"""Each command to the module of semface.cli that holds it, and what `semface --help` says of it."""

GROUPS = frozenset({"render", "keys", "tenants", "models", "ops", "eval", "bench"})
"""Commands that are the whole typer app of their module, not one command of it."""

HINTS = {
    Reason.NO_FACE: "use a photograph that shows a face, upright and at least some 40 pixels wide",
    Reason.SEVERAL_FACES: "crop the photograph to one face, or add --face largest",
    Reason.MODEL_UNKNOWN: "run `semface models build`, or point SEMFACE_MODEL_REPOSITORY at the repository",
    Reason.BACKEND_AWAY: "start the system with `semface up` or point --url at a running gateway; a Triton server is "
    "looked for where SEMFACE_INFERENCE says",
    Reason.KEY_INVALID: "set SEMFACE_API_KEY to a key of the gateway",
    Reason.SCOPE_MISSING: "set SEMFACE_API_KEY to a key with this scope; `semface keys create --scope`",
}
"""What to do about an error whose message does not say so."""


USAGE_ERROR: Any = typer.BadParameter.__base__
"""Typer carries a click of its own, whose usage error has no public name."""


class _LazyCommands(TyperGroup):
    """Knows the names of its commands without importing them."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        return _named_only(cmd_name) if cmd_name in COMMANDS else None

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        name, found, rest = super().resolve_command(ctx, args)
        return name, _load(name) if name is not None and found is not None else found, rest


def _named_only(name: str) -> Any:
    """Return a command that is only listed, never called."""
    listed = typer.Typer(add_completion=False)
    listed.command(name, help=COMMANDS[name][1])(lambda: None)
    return typer.main.get_command(listed)


def _load(name: str) -> Any:
    module = importlib.import_module(f"semface.cli.{COMMANDS[name][0]}")
    command: Any = typer.main.get_command(module.app)
    return command if name in GROUPS else command.commands[name]


app = typer.Typer(
    cls=_LazyCommands,
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"semface {__version__}")
        raise typer.Exit


@app.callback()
def semface(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", is_eager=True, callback=_show_version)
    ] = False,
) -> None:
    """Send a face as meaning instead of pixels."""


def main() -> None:
    """Run the command; every failure is one line on standard error with what to do, and an exit code other than 0."""
    try:
        result = typer.main.get_command(app)(prog_name="semface", standalone_mode=False)
    except SemfaceError as error:
        # What is wrong with a scan says itself what to do; a hint would speak of photographs.
        _fail(f"{error.message} ({error.reason.name})", None if error.field == "scan" else HINTS.get(error.reason))
    except ValidationError as error:
        first = error.errors()[0]
        name = "_".join(str(part) for part in first["loc"]).upper()
        _fail(f"the setting SEMFACE_{name} is not valid: {first['msg']}", "correct the environment variable")
    except typer.Exit as leaving:
        sys.exit(leaving.exit_code)
    except (typer.Abort, KeyboardInterrupt):
        sys.exit(130)
    except USAGE_ERROR as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            print(error.format_message(), file=sys.stderr)
            sys.exit(error.exit_code)
        path = error.ctx.command_path if error.ctx else "semface"
        _fail(error.format_message().rstrip("."), f"see `{path} --help`", code=error.exit_code)
    except OSError as error:
        # A time-out has no text of its own.
        _fail(f"{error.filename}: {error.strerror}" if error.filename else str(error) or type(error).__name__, None)
    except Exception as error:
        if os.environ.get("SEMFACE_DEBUG"):
            raise
        _fail(f"a defect of ours ({type(error).__name__}: {error})", "set SEMFACE_DEBUG=1 to see where, and report it")
    sys.exit(result if isinstance(result, int) else 0)


def _fail(message: str, hint: str | None, code: int = 1) -> None:
    line = " ".join(f"semface: {message}{f'; {hint}' if hint else ''}".split())
    print(line, file=sys.stderr)
    sys.exit(code)
