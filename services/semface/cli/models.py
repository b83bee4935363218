"""`semface models`: build, list, check and serve the networks."""

import asyncio
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from semface.errors import Reason, SemfaceError
from semface.inference.target import Target

if TYPE_CHECKING:
    from semface.inference.repository import ModelRepository
    from semface.inference.tensorrt_plans import PlanBuilder

app = typer.Typer(rich_markup_mode=None, no_args_is_help=True)

Repository = Annotated[
    Path | None, typer.Option("--repository", help="Folder of the networks (default: SEMFACE_MODEL_REPOSITORY).")
]
Json = Annotated[bool, typer.Option("--json", help="Answer as JSON.")]
Instances = Annotated[
    int, typer.Option(min=1, help="On a CPU, how many of each network that looks at pictures run at once.")
]


@app.command()
def build(
    repository: Repository = None,
    target: Annotated[
        Target | None, typer.Option(help="Derive a repository for a Triton server that runs networks so.")
    ] = None,
    output: Annotated[Path | None, typer.Option(help="Folder that the derived repository is written into.")] = None,
    instances: Instances = 2,
) -> None:
    """Make the networks that come unchanged from a package (the face detector); derive a repository for Triton."""
    source = repository or _default_repository()
    if (target is None) != (output is None):
        raise SemfaceError(Reason.FIELD_INVALID, "a derived repository needs both --target and --output")
    if target is None or output is None:
        for path in build_detector(source):
            print(path)
        return
    from semface.inference.derived_repository import build_repository

    for path in build_repository(_open(source), output, target, instances):
        print(path)


@app.command()
def engines(
    images: Annotated[Path, typer.Option(help="Zip of face pictures that plans are checked on.", metavar="ZIP")],
    output: Annotated[Path, typer.Option(help="Folder that the repository is written into.")],
    repository: Repository = None,
    cache: Annotated[Path, typer.Option(help="Folder that keeps plans by GPU and TensorRT version.")] = Path(
        "build/plans"
    ),
    limit: Annotated[int, typer.Option(min=16, help="Pictures to check on.")] = 1000,
    as_json: Json = False,
) -> None:
    """Build TensorRT plans on a machine with a GPU; one whose answers do not hold is served from its ONNX file."""
    from semface.inference.tensorrt_plans import TensorRTBuilder

    found = _open(repository)
    builder = TensorRTBuilder()
    published = asyncio.run(_publish(found, builder, images, output, cache, limit))
    if as_json:
        print(json.dumps(published))
        return
    for name, told in published.items():
        faults = [fault for tried in told["tried"].values() for fault in tried["faults"]]
        print(f"{name}: {told['served']}{''.join(f'; {fault}' for fault in faults)}")


async def _publish(
    repository: "ModelRepository", builder: "PlanBuilder", images: Path, output: Path, cache: Path, limit: int
) -> dict[str, Any]:
    from semface.evaluation.pictures import PictureArchive, crop_pictures
    from semface.evaluation.plan_checks import PlanChecks
    from semface.evaluation.plan_publishing import publish_plans
    from semface.inference.embedded import EmbeddedEngine

    engine = EmbeddedEngine(repository.root)
    try:
        archive = PictureArchive(images)
        crops = await crop_pictures(engine, archive, archive.stems[:limit])
        checks = PlanChecks(engine, repository.root, crops)
        published = await publish_plans(repository, output, cache, builder, checks)
    finally:
        await engine.close()
    return {name: publication.as_dict() for name, publication in published.items()}


@app.command()
def serve(
    repository: Repository = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port on loopback; 0 takes a free one.")] = 8001,
    output: Annotated[Path, typer.Option(help="Folder for the derived repository and the log.")] = Path("build/triton"),
    environment: Annotated[
        Path | None, typer.Option(help="Where `make triton` installed the server.", metavar="DIR")
    ] = None,
    instances: Instances = 2,
) -> None:
    """Serve the networks on a real Triton server on this machine's CPU until interrupted; for tests, not production."""
    from semface.cli.running import run_loop, wait_for_signal
    from semface.inference.cpu_server import ENVIRONMENT, CpuServer
    from semface.inference.derived_repository import build_repository

    build_repository(_open(repository), output / "repository", Target.PYTHON, instances)
    server = CpuServer(output / "repository", output / "triton.log", environment or ENVIRONMENT, port=port)
    with server:
        print(f"SEMFACE_INFERENCE={server.url}", flush=True)
        print(f"the log is {output / 'triton.log'}; Ctrl-C stops it.", flush=True)
        run_loop(wait_for_signal())


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
    """List the networks with version, hash, tensors and what their cards say of purpose and provenance."""
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
    console = Console()
    console.print(table)
    for model in models:
        if "problem" not in model:
            told = f"{model['purpose']} {model['provenance']}" if model["purpose"] is not None else "has no card"
            console.print(f"{model['name']}: {told}\n", markup=False, highlight=False)


@app.command()
def check(
    repository: Repository = None,
    inference: Annotated[
        str | None, typer.Option(help="A Triton server (grpc://host:port) whose answers must equal those made here.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Load and run every network and compare it with its configuration; exit code 1 when one is not as it says."""
    problems = asyncio.run(_check(_open(repository), inference))
    if as_json:
        print(json.dumps({"ok": not any(problems.values()), "problems": problems}))
    else:
        for name, found in problems.items():
            print(f"{name}: {'; '.join(found) or 'ok'}")
    if any(problems.values()):
        raise typer.Exit(1)


async def _check(repository: "ModelRepository", inference: str | None) -> dict[str, list[str]]:
    from semface.inference.checking import check_model, compare_engines, compare_ensemble
    from semface.inference.embedded import EmbeddedEngine
    from semface.inference.engine import open_engine
    from semface.inference.ensembles import ENSEMBLES
    from semface.rpc.settings import ServerSettings

    engine = EmbeddedEngine(repository.root)
    settings = ServerSettings(inference=inference or "embedded", model_repository=repository.root)
    other = None if inference is None else open_engine(settings)
    problems = {}
    try:
        for name in repository.names():
            problems[name] = await check_model(engine, repository, name)
            if other is not None and not problems[name]:
                problems[name] = [said for said in [await compare_engines(engine, other, name)] if said]
        for name in ENSEMBLES:
            if other is not None and await other.offers(name):
                problems[name] = [said for said in [await compare_ensemble(engine, other, name)] if said]
    finally:
        await engine.close()
        if other is not None:
            await other.close()
    return problems


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
    from semface.inference.cards import read_card

    try:
        model = repository.model(name).metadata
    except SemfaceError as error:
        return {"name": name, "problem": error.message}
    tensors = {
        side: [{"name": t.name, "type": t.dtype.name, "shape": list(t.shape)} for t in getattr(model, side)]
        for side in ("inputs", "outputs")
    }
    card = read_card(repository, name)
    return {
        "name": name,
        "version": model.version,
        "hash": model.hash,
        **tensors,
        "max_batch_size": model.max_batch_size,
        "parameters": dict(model.parameters),
        "purpose": None if card is None else card.purpose,
        "provenance": None if card is None else card.provenance,
    }


def _tensor_text(tensor: dict[str, Any]) -> str:
    return f"{tensor['name']} {'×'.join('?' if side == -1 else str(side) for side in tensor['shape'])}"
