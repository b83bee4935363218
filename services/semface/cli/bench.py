"""`semface bench`: times, rates and ratios of the parts."""

import asyncio
import json
import signal
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from PIL import Image
from rich.console import Console
from rich.progress import Progress, TaskID
from rich.table import Table

from semface.cli import load_bench
from semface.cli.demonstration import portrait
from semface.codec.core import Codec
from semface.errors import Reason, SemfaceError
from semface.evaluation.codec_bench import measure_codec
from semface.evaluation.extract_bench import measure_extraction
from semface.evaluation.peers import Figures, PairedPictures, PeerProcess, compare_accuracies, compare_times
from semface.evaluation.pictures import PictureArchive
from semface.evaluation.serving_path import ServingPath
from semface.evaluation.understanding_bench import measure_understanding
from semface.evaluation.verification import even_pairs, read_pairs
from semface.extraction.image import decode_image
from semface.inference import Engine, open_engine
from semface.rpc.settings import ServerSettings
from semface.understanding.core import Understanding

app = typer.Typer(no_args_is_help=True, help="Measure times.", rich_markup_mode=None)

for measurement in (load_bench.ladder, load_bench.overload, load_bench.rivals, load_bench.soak, load_bench.scale):
    app.command()(measurement)

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
    # As Ctrl-C does, so that a measurement that is ended also ends the system that it started.
    signal.signal(signal.SIGTERM, signal.default_int_handler)


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


@app.command()
def understanding(
    rounds: Annotated[int, typer.Option(min=1, help="Faces asked about one by one.")] = 2000,
    batch: Annotated[int, typer.Option(min=1, help="Faces asked about at once.")] = 256,
    models: Models = None,
    as_json: AsJson = False,
) -> None:
    """The expression and the verification network on one face's numbers, and the decision on two embeddings."""
    figures = _run(lambda engine, _: measure_understanding(Understanding(engine), rounds=rounds, batch=batch), models)
    _print(figures.as_dict(), as_json)


@app.command()
def identify(
    subjects: Annotated[int, typer.Option(min=100, help="How many are enrolled.")] = 100_000,
    exact_limit: Annotated[int, typer.Option(min=1, help="Up to how many every template is compared whole.")] = 100_000,
    rounds: Annotated[int, typer.Option(min=1, help="How often each time is taken.")] = 300,
    images: Annotated[
        Path | None, typer.Option(help="Zip of pictures to fit templates and probes to.", metavar="ZIP")
    ] = None,
    pairs: Annotated[
        Path | None, typer.Option(help="CSV with fold, same, image_a, image_b: the people.", metavar="CSV")
    ] = None,
    same_cosine: Annotated[
        float, typer.Option(min=0, max=1, help="Without pictures: about the cosine of two pictures of one person.")
    ] = 0.6,
    as_json: AsJson = False,
) -> None:
    """Enrol drawn templates in an embedded Valkey: identify, verify, an index after a restart, memory."""
    from semface.cli.identify_bench import BenchOptions, measure_identification
    from semface.cli.running import loop_factory
    from semface.rpc.telemetry import configure_logging

    if (images is None) != (pairs is None):
        raise SemfaceError(Reason.FIELD_INVALID, "to fit to people needs both --images ZIP and --pairs CSV")
    fitted = None if images is None or pairs is None else (PictureArchive(images), read_pairs(pairs))
    options = BenchOptions(subjects, exact_limit, rounds, same_cosine, fitted)
    configure_logging("error", "console")
    with Progress(console=Console(stderr=True)) as bar, asyncio.Runner(loop_factory=loop_factory()) as runner:
        pictures = bar.add_task("pictures", total=len(fitted[1].stems)) if fitted else None
        enrolled = bar.add_task("enrolled", total=subjects)

        def advance(task: TaskID | None) -> Callable[[int], None]:
            return lambda count: None if task is None else bar.update(task, advance=count)

        figures = runner.run(measure_identification(options, advance(pictures), advance(enrolled)))
    _print(figures.as_dict(), as_json)


@app.command()
def peers(
    images: Annotated[Path | None, typer.Option(help="Zip of pictures, to compare accuracies.", metavar="ZIP")] = None,
    pairs: Annotated[Path | None, typer.Option(help="CSV with fold, same, image_a, image_b.", metavar="CSV")] = None,
    limit: Annotated[int | None, typer.Option(min=2, help="Only this many pairs, as many of each fold.")] = None,
    image: Portrait = None,
    rounds: Annotated[int, typer.Option(min=1, help="How often each time is taken.")] = 100,
    environment: Annotated[Path, typer.Option(help="Where `make peers` installed them.", metavar="DIR")] = Path(
        "build/peers-venv"
    ),
    models: Models = None,
    as_json: AsJson = False,
) -> None:
    """Side by side with dlib's recognition network and MediaPipe's face mesh: times, and accuracies on pairs."""
    if (images is None) != (pairs is None):
        raise SemfaceError(Reason.FIELD_INVALID, "accuracies need both --images ZIP and --pairs CSV")
    judged = None
    if images is not None and pairs is not None:
        judged = PairedPictures(PictureArchive(images), even_pairs(read_pairs(pairs), limit))
    figures = _run(
        lambda engine, repository: _compare(
            ServingPath(engine, repository), environment, _photograph(image), rounds, judged
        ),
        models,
    )
    if as_json:
        print(json.dumps(figures))
        return
    table = Table("", *figures)
    for name in dict.fromkeys(key for system in figures.values() for key in system):
        table.add_row(name, *(_text(system.get(name)) for system in figures.values()))
    Console().print(table)


@app.command()
def triton(
    concurrency: Annotated[int, typer.Option(min=1, help="Requests at once.")] = 16,
    requests: Annotated[int, typer.Option(min=32, help="Requests of each turn.")] = 400,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds, of which the medians are told.")] = 5,
    threads: Annotated[int, typer.Option(min=1, help="Threads here, and instances on the server.")] = 2,
    environment: Annotated[
        Path | None, typer.Option(help="Where `make triton` installed the server.", metavar="DIR")
    ] = None,
    output: Annotated[Path, typer.Option(help="Folder for the server's repository and log.")] = Path(
        "build/triton-bench"
    ),
    models: Models = None,
    as_json: AsJson = False,
) -> None:
    """A real Triton server on this CPU beside networks in this process: answers, throughput, batches, client."""
    from semface.evaluation.triton_bench import measure_triton
    from semface.inference.cpu_server import ENVIRONMENT

    repository = models or ServerSettings().model_repository
    with Progress(console=Console(stderr=True)) as bar:
        task = bar.add_task("rounds", total=rounds)
        figures = asyncio.run(
            measure_triton(
                repository,
                output,
                environment or ENVIRONMENT,
                concurrency=concurrency,
                requests=requests,
                rounds=rounds,
                threads=threads,
                told=lambda done: bar.update(task, completed=done),
            )
        )
    _print(figures.as_dict(), as_json)


async def _compare(
    path: ServingPath, environment: Path, photograph: Image.Image, rounds: int, judged: PairedPictures | None
) -> dict[str, Figures]:
    with PeerProcess.started(environment) as running:
        figures = await compare_times(path, running, photograph, rounds)
        if judged is not None:
            # Once by us, once by the peers.
            with Progress(console=Console(stderr=True)) as bar:
                task = bar.add_task("pictures", total=2 * len(judged.pairs.stems))
                accuracies = await compare_accuracies(
                    path, running, judged, lambda done: bar.update(task, advance=done)
                )
            figures = {name: {**figures[name], **accuracies[name]} for name in figures}
    return figures


def _text(value: float | int | None) -> str:
    return "–" if value is None else f"{value:.4f}" if isinstance(value, float) else str(value)


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
