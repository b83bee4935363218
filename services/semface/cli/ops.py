"""`semface ops`: what a cluster lacks, its Secrets, how an installation is, new networks step by step, checks."""

import asyncio
import json
import os
import signal
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from semface.cli.output import Json, show
from semface.errors import Reason, SemfaceError

if TYPE_CHECKING:
    from semface.access.certificates import TlsFiles
    from semface.operations.cluster import Namespace

app = typer.Typer(rich_markup_mode=None, no_args_is_help=True)

Place = Annotated[str, typer.Option("--namespace", help="Namespace of the installation.")]
Release = Annotated[str, typer.Option(help="Name of the Helm release.")]
Context = Annotated[str | None, typer.Option(help="Context of the kubeconfig (default: the current one).")]
ADMIN_KEY = "TRITON_ADMIN_KEY"


@app.command()
def preflight(
    manifest: Annotated[
        Path, typer.Argument(help="What `helm template` printed; - reads standard input.", metavar="FILE")
    ],
    namespace: Place = "default",
    context: Context = None,
    as_json: Json = False,
) -> None:
    """Tell what a cluster lacks for a rendered chart, before installing; exit code 1 where something is missing."""
    from semface.operations.cluster import Cluster
    from semface.operations.preflight import preflight as look

    yaml = _yaml()
    text = sys.stdin.read() if str(manifest) == "-" else manifest.read_text(encoding="utf-8")
    try:
        documents = [document for document in yaml.safe_load_all(text) if document]
    except yaml.YAMLError as error:
        raise SemfaceError(Reason.FIELD_INVALID, f"{manifest} is no YAML", field="manifest") from error
    if not documents or not all(isinstance(one, dict) and "kind" in one for one in documents):
        message = f"{manifest} holds no objects; pipe `helm template` into it"
        raise SemfaceError(Reason.FIELD_INVALID, message, field="manifest")
    findings = look(Cluster.connect(context), namespace, documents)
    missing = [one for one in findings if one.missing]
    if as_json:
        print(json.dumps({"ok": not missing, "findings": [asdict(one) for one in findings]}))
    else:
        for one in findings:
            print(f"missing  {one.what}: {one.missing}" if one.missing else f"ok       {one.what}")
    if missing:
        raise typer.Exit(1)


@app.command()
def secrets(namespace: Place = "default") -> None:
    """Print the Secrets that the chart names, made anew, for `kubectl apply -f -`."""
    from semface.operations.secrets import chart_secrets

    print(_yaml().safe_dump_all(chart_secrets(namespace), sort_keys=False), end="")


@app.command()
def status(
    namespace: Place = "default", release: Release = "semface", context: Context = None, as_json: Json = False
) -> None:
    """Show an installation on one screen: deployments, pods, networks, engines, queue times."""
    from semface.operations.status import status as look

    told = look(_namespace(namespace, context), release)
    if not told["deployments"]:
        message = f"there is no release {release} in the namespace {namespace}"
        raise SemfaceError(Reason.FIELD_INVALID, message, field="release")
    if as_json:
        print(json.dumps(told))
    else:
        _print_status(told)


@app.command()
def rollout(
    image: Annotated[str | None, typer.Option(help="New image of the services, with its tag or digest.")] = None,
    triton_image: Annotated[str | None, typer.Option(help="New image of Triton.")] = None,
    models_folder: Annotated[
        str | None, typer.Option(help="New folder of the networks in their claim (models.source: claim).")
    ] = None,
    shares: Annotated[str, typer.Option(help="Percent of the calls for the candidate, in turn.")] = "5,25,50",
    watch_seconds: Annotated[float, typer.Option(min=0, help="How long each share is watched.")] = 300,
    ready_seconds: Annotated[float, typer.Option(min=1, help="How long pods and engines may take.")] = 1800,
    errors: Annotated[float, typer.Option(min=0, max=1, help="Share of failed calls it may be worse by.")] = 0.01,
    agreement: Annotated[float, typer.Option(min=0, max=1, help="Least agreement on made-up faces.")] = 0.95,
    back: Annotated[bool, typer.Option("--back", help="Take away what a killed rollout has left, and stop.")] = False,
    namespace: Place = "default",
    release: Release = "semface",
    context: Context = None,
    as_json: Json = False,
) -> None:
    """Bring new networks in by steps, in the cluster; exit code 1 where it went back to what served before."""
    from semface.operations.candidate import Change
    from semface.operations.rollout import Limits, Rollout, take_away_candidates

    place = _namespace(namespace, context)
    if back:
        take_away_candidates(place, release)
        return
    if image is None and triton_image is None and models_folder is None:
        raise SemfaceError(Reason.FIELD_INVALID, "name what is new: --image, --triton-image or --models-folder")
    limits = Limits(
        shares=_shares(shares),
        watch_seconds=watch_seconds,
        ready_seconds=ready_seconds,
        errors=errors,
        agreement=agreement,
    )
    work = Rollout(
        place,
        release,
        Change(image, triton_image, models_folder),
        limits,
        key=os.environ.get("SEMFACE_API_KEY"),
        tls=_tls(),
        told=lambda line: print(line, file=sys.stderr, flush=True),
    )
    _go_back_when_stopped()
    report = asyncio.run(work.run())
    show(asdict(report), as_json)
    if report.outcome != "promoted":
        raise typer.Exit(1)


def _go_back_when_stopped() -> None:
    """Let SIGTERM end the work in order as SIGINT does, which a shell tells its background jobs to ignore."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))


@app.command()
def engines(
    built: Annotated[Path, typer.Option(help="Repository that `semface models engines` wrote.")],
    serving: Annotated[Path, typer.Option(help="Repository that the servers serve.")],
    server: Annotated[str, typer.Option(help="host:port; every address behind the name is a server.")],
    repository: Annotated[Path | None, typer.Option(help="The networks (default: SEMFACE_MODEL_REPOSITORY).")] = None,
    as_json: Json = False,
) -> None:
    """Put built plans into what Triton servers serve, one network at a time; one that does not answer goes back."""
    from semface.inference.repository import ModelRepository
    from semface.operations.engines import addresses, install_networks
    from semface.rpc.settings import ServerSettings

    key = os.environ.get(ADMIN_KEY)
    if not key:
        raise SemfaceError(Reason.FIELD_INVALID, f"set {ADMIN_KEY} to the key of the repository API", field="key")
    source = ModelRepository(repository or ServerSettings().model_repository)
    outcomes = install_networks(source, built, serving, addresses(server), key)
    if as_json:
        print(json.dumps(outcomes))
    else:
        for name, outcome in outcomes.items():
            print(f"{name}: {outcome}")


@app.command()
def check(
    name: Annotated[str, typer.Argument(help="extraction, codec, understanding, triton, gateway or face.")],
    address: Annotated[str, typer.Argument(help="host:port, or for gateway and face the URL.")],
) -> None:
    """Ask whether one part serves, or send a made-up face all the way round; `helm test` runs it."""
    from semface.operations.checks import check as ask

    print(asyncio.run(ask(name, address, os.environ.get("SEMFACE_API_KEY"), _tls())))


def _yaml() -> Any:
    """Return PyYAML, which only the extra brings."""
    try:
        import yaml
    except ImportError as error:
        raise SemfaceError(Reason.FIELD_INVALID, "install the extra: pip install 'semface[ops]'") from error
    return yaml


def _namespace(name: str, context: str | None) -> "Namespace":
    from semface.operations.cluster import Cluster, Namespace

    return Namespace(Cluster.connect(context), name)


def _tls() -> "TlsFiles | None":
    from semface.access.certificates import configured_tls
    from semface.access.settings import AccessSettings

    return configured_tls(AccessSettings())


def _shares(text: str) -> tuple[int, ...]:
    try:
        shares = tuple(int(part) for part in text.split(","))
    except ValueError:
        shares = ()
    if not shares or any(not 1 <= share <= 99 for share in shares) or list(shares) != sorted(set(shares)):
        message = "the shares are whole percents from 1 to 99 that grow, such as 5,25,50"
        raise SemfaceError(Reason.FIELD_INVALID, message, field="shares")
    return shares


def _print_status(told: dict[str, Any]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    console = Console()
    for title in ("deployments", "pods", "models", "engines"):
        rows = told[title]
        if not rows:
            continue
        table = Table(*(name.replace("_", " ") for name in rows[0]), title=title, box=box.SIMPLE, title_justify="left")
        for row in rows:
            table.add_row(*("-" if value is None else str(value) for value in row.values()))
        console.print(table)
