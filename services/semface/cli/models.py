"""`semface models`: build, list and check the networks."""

import asyncio
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from semface.errors import Reason, SemfaceError

if TYPE_CHECKING:
    from semface.inference.repository import ModelRepository

app = typer.Typer(rich_markup_mode=None, no_args_is_help=True)

Repository = Annotated[
    Path | None, typer.Option("--repository", help="Folder of the networks (default: SEMFACE_MODEL_REPOSITORY).")
]
Json = Annotated[bool, typer.Option("--json", help="Answer as JSON.")]


@app.command()
def build(repository: Repository = None) -> None:
    """Make the networks that come unchanged from a package: the face detector."""
    for path in build_detector(repository or _default_repository()):
        print(path)


def build_detector(repository: Path) -> list[Path]:
    """Write the face detection networks, with configuration and card, into ``repository``; return the files.

    Raises MODEL_UNKNOWN when the package that carries the weights is not installed.
    """
    from semface.inference.detection_networks import NETWORKS, build_detection_networks

    source = _default_repository()
    if repository.resolve() != source.resolve():
        for name in NETWORKS:
            for file in ("config.pbtxt", "card.md"):
                (repository / name).mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source / name / file, repository / name / file)
    return build_detection_networks(repository)


@app.command("list")
def list_models(repository: Repository = None, as_json: Json = False) -> None:
    """List the networks with version, hash and tensors."""
    found = _open(repository)
    models = [_described(found, name) for name in found.names()]
    if as_json:
        print(json.dumps(models))
        return
    from rich import box
    from rich.console import Console
    from rich.table import Column, Table

    name = Column("model", no_wrap=True)
    table = Table(name, "version", "hash", "inputs", "outputs", "batch", box=box.SIMPLE)
    for model in models:
        if "problem" in model:
            table.add_row(model["name"], "", "", model["problem"])
        else:
            sides = ("\n".join(map(_tensor_text, model[side])) for side in ("inputs", "outputs"))
            table.add_row(model["name"], model["version"], model["hash"][:8], *sides, str(model["max_batch_size"]))
    Console().print(table)


@app.command()
def check(repository: Repository = None, as_json: Json = False) -> None:
    """Load and run every network and compare it with its configuration; exit code 1 when one is not as it says."""
    problems = asyncio.run(_check(_open(repository)))
    if as_json:
        print(json.dumps({"ok": not any(problems.values()), "problems": problems}))
    else:
        for name, found in problems.items():
            print(f"{name}: {'; '.join(found) or 'ok'}")
    if any(problems.values()):
        raise typer.Exit(1)


async def _check(repository: "ModelRepository") -> dict[str, list[str]]:
    from semface.inference.checking import check_model
    from semface.inference.embedded import EmbeddedEngine

    engine = EmbeddedEngine(repository.root)
    try:
        return {name: await check_model(engine, repository, name) for name in repository.names()}
    finally:
        await engine.close()


def _default_repository() -> Path:
    from semface.rpc.settings import ServerSettings

    return ServerSettings().model_repository


def _open(repository: Path | None) -> "ModelRepository":
    from semface.inference.repository import ModelRepository

    found = ModelRepository(repository or _default_repository())
    if not found.names():
        raise SemfaceError(Reason.MODEL_UNKNOWN, f"{found.root} holds no networks")
    return found


def _described(repository: "ModelRepository", name: str) -> dict[str, Any]:
    try:
        model = repository.model(name).metadata
    except SemfaceError as error:
        return {"name": name, "problem": error.message}
    tensors = {
        side: [{"name": t.name, "type": t.dtype.name, "shape": list(t.shape)} for t in getattr(model, side)]
        for side in ("inputs", "outputs")
    }
    return {
        "name": name,
        "version": model.version,
        "hash": model.hash,
        **tensors,
        "max_batch_size": model.max_batch_size,
        "parameters": dict(model.parameters),
    }


def _tensor_text(tensor: dict[str, Any]) -> str:
    return f"{tensor['name']} {'×'.join('?' if side == -1 else str(side) for side in tensor['shape'])}"
