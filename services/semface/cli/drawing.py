"""`semface render`: the face of a photograph, a bitstream or a file of numbers, and the face model itself."""

import json
from math import radians
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from semface.cli.coding import Largest, is_largest
from semface.cli.output import Json, show
from semface.descriptors import DESCRIPTOR_SIZE, GROUPS, Descriptors
from semface.errors import Reason, SemfaceError

app = typer.Typer(rich_markup_mode=None)

MEAN_HEAD = Path("head.render.png")
MODES_SHEET = Path("modes.png")


@app.command()
def render(
    source: Annotated[
        Path | None,
        typer.Argument(
            help="A photograph, a bitstream, or numbers that `semface decode --json` prints. [the mean head]",
            exists=True,
            dir_okay=False,
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", help="By suffix a picture, PNG, JPEG or WebP, or the mesh, GLB (SOURCE.render.png)."
        ),
    ] = None,
    size: Annotated[int, typer.Option(min=32, max=1024, help="Side of the picture, in pixels.")] = 256,
    yaw: Annotated[
        float | None,
        typer.Option(min=-90, max=90, help="Look from another side: turned so many degrees to the subject's left."),
    ] = None,
    modes: Annotated[bool, typer.Option("--modes", help="Draw the first modes of the face model instead.")] = False,
    face: Largest = "only",
    as_json: Json = False,
) -> None:
    """Draw the face of a photograph or a bitstream as a receiver would, or the face model."""
    from PIL import Image

    from semface.evaluation.sheets import mode_sheet, save_sheet
    from semface.morphable import render as draw
    from semface.morphable.gltf import head_glb

    if modes:
        target, picture = output or MODES_SHEET, mode_sheet()
    else:
        values = _numbers(source, largest=is_largest(face))
        if yaw is not None:
            values[GROUPS["rotation"]] = 0.0, radians(yaw), 0.0
        if output is not None and output.suffix.lower() == ".glb":
            output.write_bytes(head_glb(values))
            show({"mesh": str(output), "bytes": output.stat().st_size}, as_json)
            return
        target = output or (MEAN_HEAD if source is None else source.with_suffix(".render.png"))
        picture = Image.fromarray(draw(values, size))
    save_sheet(picture, target)
    show({"picture": str(target), "width": picture.width, "height": picture.height}, as_json)


def _numbers(source: Path | None, *, largest: bool) -> Descriptors:
    """Return the 257 numbers that a receiver has of ``source``; without one, those of the mean head."""
    if source is None:
        return np.zeros(DESCRIPTOR_SIZE, np.float32)
    if source.suffix.lower() == ".json":
        return _read_numbers(source)
    from semface.cli.chain import Chain, read_input, with_chain

    given = read_input(source)

    async def work(chain: Chain) -> Descriptors:
        return (await chain.decoded(given, largest=largest)).descriptors

    return with_chain(work)


def _read_numbers(path: Path) -> Descriptors:
    """Return the numbers (257,) of a JSON file with groups by name under ``descriptors``; a group left out is zero."""
    values = np.zeros(DESCRIPTOR_SIZE, np.float32)
    try:
        for group, numbers in json.loads(path.read_bytes())["descriptors"].items():
            values[GROUPS[group]] = np.asarray(numbers, np.float32)
    except (ValueError, KeyError, TypeError, AttributeError):
        message = f"{path} holds no numbers of a face; write them with `semface decode FACE --json`"
        raise SemfaceError(Reason.DESCRIPTOR_SHAPE, message) from None
    return values
