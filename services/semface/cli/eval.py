"""`semface eval`: accuracy against rate on the path that serves."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from itertools import islice
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from semface.cli.figures import show_figures, show_rows
from semface.cli.measuring import Models, measure
from semface.cli.rate_accuracy import rate_accuracy
from semface.cli.scans import attributes, recognisers, scan, scans
from semface.codec.core import Codec
from semface.errors import Reason, SemfaceError
from semface.evaluation.coding import UNCODED, portions_of
from semface.evaluation.expression import ExpressionResult, evaluate_views, read_labels
from semface.evaluation.geometry import (
    DEFAULT_COUNT,
    PhotographFigures,
    RenderFigures,
    evaluate_photographs,
    evaluate_renders,
    pictures_judged,
)
from semface.evaluation.identity_teacher import IDENTITY_FILE, IdentityTeacher
from semface.evaluation.landmark_teacher import TEACHER_FILE, LandmarkTeacher, teacher_folder
from semface.evaluation.layers import LayerPoint, compare_layers
from semface.evaluation.moving_faces import moving_descriptors, moving_pictures
from semface.evaluation.pictures import PictureArchive, Pixels
from semface.evaluation.rate import RatePoint, RateSets, measure_rate
from semface.evaluation.rate_plot import plot_rate, require_matplotlib
from semface.evaluation.redraws import RedrawResult, evaluate_redraws, redrawn_groups
from semface.evaluation.serving_path import RunOptions, ServingPath
from semface.evaluation.sheets import face_sheet, random_heads, read_pictures, redraw_faces, save_sheet
from semface.evaluation.stream import StreamFigures, describe_motion, evaluate_stream
from semface.evaluation.synthetic_faces import IctModel
from semface.evaluation.verification import parse_folds, read_pairs
from semface.extraction.video import Video
from semface.inference import open_engine
from semface.meaning import EXPRESSIONS
from semface.recognisers import DEFAULT_RECOGNISER, RECOGNISERS, Seen, find_recogniser
from semface.rpc.settings import ServerSettings

app = typer.Typer(no_args_is_help=True, help="Measure accuracy against rate.", rich_markup_mode=None)
app.command()(rate_accuracy)
app.command()(scan)
app.command()(scans)
app.command()(recognisers)
app.command()(attributes)

Images = Annotated[Path, typer.Option(help="Zip of pictures, in folders or flat.", metavar="ZIP")]
PairTable = Annotated[Path, typer.Option(help="CSV with fold, same, image_a, image_b.", metavar="CSV")]
Folds = Annotated[str | None, typer.Option(help="Only these folds, such as 1-4. [all]")]
PairLimit = Annotated[int | None, typer.Option(min=1, help="Only the first pairs.")]
Quality = Annotated[
    str | None, typer.Option(help="Name or number of the codec's quality, or none to code nothing. [codec's default]")
]
Bits = Annotated[
    int | None, typer.Option(min=1, help="In place of a quality: each face at the finest that takes no more bits.")
]
Groups = Annotated[
    str | None, typer.Option(help="Code and count these payloads only: identity or expression. [everything]")
]
Cache = Annotated[
    Path | None, typer.Option(help="Keep the descriptors here, for further runs on the same pictures.", metavar="FILE")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


@app.command()
def verification(
    images: Images,
    pairs: PairTable,
    quality: Quality = None,
    bits: Bits = None,
    groups: Groups = None,
    models: Models = None,
    folds: Folds = None,
    limit: PairLimit = None,
    cache: Cache = None,
    as_json: AsJson = False,
) -> None:
    """Face verification on pairs, after coding: accuracy over folds, and TAR at FAR 1e-2."""
    archive = PictureArchive(images)
    judged = read_pairs(pairs, None if folds is None else parse_folds(folds), limit)
    options = RunOptions(quality, portions_of(groups), cache, bits)
    result = measure(
        lambda path, progress: path.verification(archive, judged, options, progress), models, len(judged.stems)
    )
    note = "one fold only: the model's own threshold decided" if result.own_threshold else None
    show_figures(result.as_json(), as_json, note)


@app.command()
def expression(
    images: Images,
    quality: Quality = None,
    bits: Bits = None,
    groups: Groups = None,
    models: Models = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first pictures.")] = None,
    cache: Cache = None,
    model: Annotated[str, typer.Option(help=f"What recognises: {', '.join(RECOGNISERS)}.")] = DEFAULT_RECOGNISER.name,
    as_json: AsJson = False,
) -> None:
    """Expression recognition on pictures with votes.csv in their zip, after coding: accuracy and calibration.

    dan and slfer look at the pixels: nothing is coded then.
    """
    archive, recogniser = PictureArchive(images), find_recogniser(model)
    options = RunOptions(quality, portions_of(groups), cache, bits)
    if recogniser.sees is not Seen.DESCRIPTORS and (quality not in (None, UNCODED) or groups or bits or cache):
        message = f"{recogniser.name} looks at pixels: --quality, --bits, --groups and --cache say nothing to it"
        raise SemfaceError(Reason.FIELD_INVALID, message, field="model")

    async def work(path: ServingPath, progress: Callable[[int], None]) -> ExpressionResult:
        if recogniser.sees is Seen.DESCRIPTORS:
            return await path.expression(archive, limit, options, progress)
        return await evaluate_views(path.engine, recogniser, archive, limit, progress)

    result = measure(work, models, len(read_labels(archive, limit)))
    figures = result.as_json()
    if as_json:
        show_figures(figures, as_json)
        return
    show_figures({name: value for name, value in figures.items() if not isinstance(value, list)}, as_json)
    # Ten columns do not fit a terminal with their names in full.
    columns = (name[:4] for name in EXPRESSIONS)
    table = Table("", *columns, "recognised", title="pictures by vote (row) and answer (column)")
    for name, counts, share in zip(EXPRESSIONS, result.confusion, result.class_accuracy, strict=True):
        table.add_row(name, *map(str, counts), "–" if share is None else f"{share:.3f}")
    Console().print(table)


@app.command()
def redraws(
    images: Images,
    pairs: PairTable,
    groups: Annotated[str, typer.Option(help="What is redrawn: identity, shape or texture.")] = "identity",
    teacher: Annotated[
        Path | None,
        typer.Option(help=f"The identity teacher. [{IDENTITY_FILE} in SEMFACE_TEACHERS, or build/teachers]"),
    ] = None,
    models: Models = None,
    folds: Folds = None,
    limit: PairLimit = None,
    cache: Cache = None,
    as_json: AsJson = False,
) -> None:
    """Verification by the identity teacher on redraws of uncoded shape and texture, frontal and evenly lit."""
    archive, kept = PictureArchive(images), redrawn_groups(groups)
    judged = read_pairs(pairs, None if folds is None else parse_folds(folds), limit)
    archive.require(judged.stems)
    network = IdentityTeacher(teacher or teacher_folder() / IDENTITY_FILE)

    async def work(path: ServingPath, progress: Callable[[int], None]) -> RedrawResult:
        described = await path.describe(archive, judged.stems, cache, progress)
        return await asyncio.to_thread(evaluate_redraws, described, judged, kept, network, progress)

    # Each picture is met twice: described, then redrawn.
    result = measure(work, models, 2 * len(judged.stems))
    note = "one fold only: odd and even pairs chose each other's threshold" if result.one_fold else None
    show_figures(result.as_json(), as_json, note)


@app.command()
def sheet(
    output: Annotated[Path, typer.Option("-o", "--output", help="The sheet: PNG, JPEG or WebP.")],
    images: Annotated[
        list[Path] | None,
        typer.Option(help="A photograph or a zip; may be repeated. [the demonstration's]", metavar="FILE|ZIP"),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="Only the first photographs.")] = 20,
    heads: Annotated[int, typer.Option(min=0, help="Renders of random heads after them.")] = 0,
    models: Models = None,
) -> None:
    """Draw faces side by side: as photographed, redrawn over the photograph, frontal in even light; uncoded."""
    from semface.cli.demonstration import portrait

    pictures = [*read_pictures(images or [portrait()], limit), *random_heads(heads)]
    if not pictures:
        raise SemfaceError(Reason.FIELD_INVALID, "the zip holds no picture that can be decoded; name another")
    faces = measure(lambda path, progress: redraw_faces(path.engine, pictures, progress), models, len(pictures))
    save_sheet(face_sheet(faces), output)


@app.command()
def geometry(
    model: Annotated[Path | None, typer.Option(help="The ICT face model, to judge renders.", metavar="NPZ")] = None,
    images: Annotated[Path | None, typer.Option(help="Zip of pictures, in folders or flat.", metavar="ZIP")] = None,
    count: Annotated[int, typer.Option(min=1, help="Renders to judge.")] = DEFAULT_COUNT,
    teacher: Annotated[
        Path | None,
        typer.Option(help=f"The landmark teacher. [{TEACHER_FILE} in SEMFACE_TEACHERS, or build/teachers]"),
    ] = None,
    models: Models = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first renders or pictures.")] = None,
    as_json: AsJson = False,
) -> None:
    """Geometry of uncoded descriptors: against known heads (--model), or a landmark teacher on pictures (--images)."""
    result: RenderFigures | PhotographFigures
    if model is not None and images is None:
        ict, faces = IctModel.load(model), min(count, limit or count)
        result = measure(
            lambda path, progress: evaluate_renders(path.engine, ict, faces, progress), models, pictures_judged(faces)
        )
    elif images is not None and model is None:
        archive, marks = PictureArchive(images), LandmarkTeacher(teacher or teacher_folder() / TEACHER_FILE)
        result = measure(
            lambda path, progress: evaluate_photographs(path.engine, archive, marks, limit, progress),
            models,
            len(archive.stems[:limit]),
        )
    else:
        raise SemfaceError(Reason.FIELD_INVALID, "name either --model ict_face.npz or --images ZIP")
    note = f"{result.fallback} faces were not found; the whole picture stood for each" if result.fallback else None
    show_figures(result.as_json(), as_json, note)


@app.command()
def rate(
    output: Annotated[Path, typer.Option("-o", "--output", help="The plot: SVG, PNG or PDF.", metavar="FILE")],
    images: Annotated[Path | None, typer.Option(help="Zip of pictures to verify.", metavar="ZIP")] = None,
    pairs: Annotated[Path | None, typer.Option(help="CSV with fold, same, image_a, image_b.", metavar="CSV")] = None,
    expressions: Annotated[Path | None, typer.Option(help="Zip of pictures with votes.csv.", metavar="ZIP")] = None,
    others: Annotated[
        list[Path] | None,
        typer.Option("--codec", help="Repository with another codec, such as the paper's; repeatable.", metavar="DIR"),
    ] = None,
    ppm: Annotated[bool, typer.Option("--ppm", help="Code with PPMd too (the extra `paper`).")] = False,
    models: Models = None,
    folds: Folds = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first pairs and pictures.")] = None,
    cache: Annotated[Path | None, typer.Option(help="Keep the descriptors in this folder.", metavar="DIR")] = None,
    as_json: AsJson = False,
) -> None:
    """Plot accuracy against bits: every quality, entropy bound, the paper's coder; the figures beside it as JSON."""
    if (images is None) != (pairs is None) or (images is None and expressions is None):
        raise SemfaceError(Reason.FIELD_INVALID, "name --images ZIP with --pairs CSV, or --expressions ZIP, or all")
    require_matplotlib()
    sets = RateSets(images, pairs, expressions, None if folds is None else parse_folds(folds), limit, cache)

    async def work(path: ServingPath, progress: Callable[[int], None]) -> list[RatePoint]:
        async with _codecs(others or []) as found:
            codecs = [("semface", Codec(path.engine, path.repository)), *found]
            return await measure_rate(await sets.tasks(path, progress), codecs, progress, ppm=ppm)

    points = measure(work, models, sets.pictures())
    figures = [point.as_dict() for point in points]
    output.with_suffix(".json").write_text(json.dumps(figures, indent=1) + "\n")
    plot_rate(points, output)
    show_rows(figures, as_json)


@app.command()
def layers(
    padded: Annotated[
        list[Path] | None,
        typer.Option(
            "--zero-padded", help="Repository with the paper's codec of all numbers; repeatable.", metavar="DIR"
        ),
    ] = None,
    retrained: Annotated[
        list[Path] | None,
        typer.Option(help="Repository with the paper's codec, trained for this portion; repeatable.", metavar="DIR"),
    ] = None,
    images: Annotated[
        Path | None, typer.Option(help="Zip of pictures to verify: identity alone.", metavar="ZIP")
    ] = None,
    pairs: Annotated[Path | None, typer.Option(help="CSV with fold, same, image_a, image_b.", metavar="CSV")] = None,
    expressions: Annotated[
        Path | None, typer.Option(help="Zip of pictures with votes.csv: expression alone.", metavar="ZIP")
    ] = None,
    models: Models = None,
    folds: Folds = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first pairs or pictures.")] = None,
    cache: Annotated[Path | None, typer.Option(help="Keep the descriptors in this folder.", metavar="DIR")] = None,
    as_json: AsJson = False,
) -> None:
    """One portion alone: our layers against zero-padding and against retraining, the paper's two ways."""
    if (images is None) != (pairs is None) or (images is None) == (expressions is None):
        raise SemfaceError(Reason.FIELD_INVALID, "name either --images ZIP with --pairs CSV, or --expressions ZIP")
    sets = RateSets(images, pairs, expressions, None if folds is None else parse_folds(folds), limit, cache)

    async def work(path: ServingPath, progress: Callable[[int], None]) -> list[LayerPoint]:
        (task,) = await sets.tasks(path, progress)
        async with _codecs(padded or []) as zero_padded, _codecs(retrained or []) as again:
            return await compare_layers(task, Codec(path.engine, path.repository), zero_padded, again)

    show_rows([point.as_dict() for point in measure(work, models, sets.pictures())], as_json)


@app.command()
def stream(
    video: Annotated[Path | None, typer.Option(help="A video of one face.", metavar="FILE", dir_okay=False)] = None,
    images: Annotated[Path | None, typer.Option(help="Zip of pictures, its frames in order.", metavar="ZIP")] = None,
    synthetic: Annotated[
        int | None, typer.Option(min=1, help="So many frames of a made-up face in motion instead.", metavar="FRAMES")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the made-up face.")] = 0,
    quality: Annotated[
        str | None, typer.Option(help="Name or number of the codec's quality. [the session's own]")
    ] = None,
    groups: Annotated[str, typer.Option(help="What travels: expression (with pose) or all.")] = "expression",
    models: Models = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first frames.")] = None,
    as_json: AsJson = False,
) -> None:
    """A session of one moving face, 25 frames a second, a key every 250: bits, and what coding does to the face."""
    portions = portions_of(None if groups == "all" else groups)

    async def work(path: ServingPath, progress: Callable[[int], None]) -> StreamFigures:
        codec = Codec(path.engine, path.repository)
        with _frames(video, images, synthetic, seed) as (pictures, _):
            described = await describe_motion(path.engine, islice(pictures, limit), progress)
        return await evaluate_stream(codec, described, quality, portions)

    with _frames(video, images, synthetic, seed) as (_, count):
        total = min(count or 0, limit or count or 0)
    result = measure(work, models, total)
    show_figures(result.as_json(), as_json, "a made-up face: no measurement of how people move" if synthetic else None)


@contextmanager
def _frames(
    video: Path | None, images: Path | None, synthetic: int | None, seed: int
) -> Iterator[tuple[Iterator[Pixels], int | None]]:
    """Open the one source of frames that is named; tell how many it has where it is known."""
    if sum(source is not None for source in (video, images, synthetic)) != 1:
        raise SemfaceError(Reason.FIELD_INVALID, "name one of --video FILE, --images ZIP and --synthetic FRAMES")
    if video is not None:
        with Video(video) as opened:
            yield opened.frames(), opened.length
    elif images is not None:
        archive = PictureArchive(images)
        readable = (archive.pixels(stem) for stem in archive.stems)
        yield (picture for picture in readable if picture is not None), len(archive.stems)
    else:
        count = synthetic or 0
        yield moving_pictures(moving_descriptors(count, seed), seed), count


@asynccontextmanager
async def _codecs(folders: Sequence[Path]) -> AsyncIterator[list[tuple[str, Codec]]]:
    """Open the codec of each repository, under the folder's name."""
    engines = [open_engine(ServerSettings(model_repository=folder)) for folder in folders]
    try:
        yield [(folder.name, Codec(engine, folder)) for folder, engine in zip(folders, engines, strict=True)]
    finally:
        for engine in engines:
            await engine.close()
