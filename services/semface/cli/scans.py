"""`semface eval scans`, `eval scan` (writes one that it judges), `eval attributes` (draws what is seen of some).

And `eval recognisers`, all of them on the faces of such scans.
"""

import asyncio
import json
from pathlib import Path
from typing import Annotated, Any, Final

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from semface.cli.figures import show_rows
from semface.cli.measuring import Models, measure
from semface.cli.output import Json, show
from semface.errors import Reason, SemfaceError
from semface.evaluation.attribute_sheet import attribute_sheet
from semface.evaluation.recogniser_comparison import SHOWN_BY_BOTH, compare_recognisers
from semface.evaluation.scan_recognition import TEST_PEOPLE, evaluate_scans, ply
from semface.evaluation.sheets import save_sheet
from semface.evaluation.synthetic_faces import IctModel
from semface.evaluation.synthetic_scans import PEOPLE, ScanGenerator
from semface.extraction.core import Extractor
from semface.extraction.scans.core import ScanReader
from semface.inference import open_engine
from semface.meaning import SCAN_EXPRESSIONS
from semface.morphable.model import MorphableModel
from semface.rpc.settings import ServerSettings

SHOWN: Final = ("neutral", "smile", "jaw_left", "anger")

IctFile = Annotated[Path, typer.Option(help="The ICT face model.", metavar="NPZ")]
People = Annotated[int, typer.Option(min=1, max=TEST_PEOPLE, help="Only the first people.")]


def scans(
    model: IctFile,
    limit: People = TEST_PEOPLE,
    models: Models = None,
    as_json: Json = False,
) -> None:
    """Expression recognition on synthetic 3-D scans of people whom training did not see, sixteen of each."""
    generator = _generator(model)
    figures: dict[str, Any] = measure(
        lambda path, progress: evaluate_scans(path.engine, generator, limit, progress),
        models,
        limit * len(SCAN_EXPRESSIONS),
        "scans",
    ).as_json()
    if as_json:
        print(json.dumps(figures))
        return
    recognised = figures.pop("recognised")
    show(figures, as_json)
    table = Table("expression", "recognised")
    for name, share in recognised.items():
        table.add_row(name, f"{share:.3f}")
    Console().print(table)


def recognisers(
    model: IctFile,
    limit: People = TEST_PEOPLE,
    models: Models = None,
    as_json: Json = False,
) -> None:
    """All recognisers on the same faces, of synthetic scans in four expressions: parameters, time and accuracy."""
    generator = _generator(model)

    rows = measure(
        lambda path, progress: compare_recognisers(path.engine, path.repository, generator.scan, limit, progress),
        models,
        limit * len(SHOWN_BY_BOTH),
        "scans",
    )
    show_rows([row.as_dict() for row in rows], as_json)


def scan(
    model: IctFile,
    output: Annotated[Path, typer.Option("-o", "--output", help="The scan, a PLY file.", metavar="FILE")],
    person: Annotated[int, typer.Option(min=0, max=PEOPLE - 1, help="Who; training saw the first 200.")] = PEOPLE - 1,
    expression: Annotated[str, typer.Option(help=f"One of {', '.join(SCAN_EXPRESSIONS)}.")] = "smile",
    as_json: Json = False,
) -> None:
    """Write one of the synthetic 3-D scans."""
    made = _generator(model).scan(person, _number(expression))
    output.write_bytes(ply(made))
    show({"scan": str(output), "vertices": len(made.vertices), "triangles": len(made.triangles)}, as_json)


def attributes(
    model: IctFile,
    output: Annotated[Path, typer.Option("-o", "--output", help="The picture: PNG, JPEG or WebP.", metavar="FILE")],
    person: Annotated[int, typer.Option(min=0, max=PEOPLE - 1, help="Who; training saw the first 200.")] = PEOPLE - 1,
    expressions: Annotated[
        list[str] | None, typer.Option("--expression", help="May be repeated. [neutral, smile, jaw_left, anger]")
    ] = None,
) -> None:
    """Draw the attribute images of synthetic 3-D scans of one person, a row for each expression."""
    numbers = [_number(name) for name in expressions or SHOWN]
    generator = _generator(model)

    async def work() -> list[NDArray[np.float32]]:
        engine = open_engine(ServerSettings())
        try:
            reader = ScanReader(Extractor(engine))
            return [(await reader.attribute_images(generator.scan(person, number))).images for number in numbers]
        finally:
            await engine.close()

    save_sheet(attribute_sheet(asyncio.run(work())), output)


def _generator(model: Path) -> ScanGenerator:
    return ScanGenerator(IctModel.load(model), MorphableModel.shipped())


def _number(expression: str) -> int:
    """Return the number of an expression by name. Raises FIELD_INVALID."""
    names: list[str] = list(SCAN_EXPRESSIONS)
    if expression not in names:
        raise SemfaceError(Reason.FIELD_INVALID, f"choose an expression from {', '.join(names)}", field="expression")
    return names.index(expression)
