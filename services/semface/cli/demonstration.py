"""`semface demonstrate`: a real photograph through the running system, a table of what came out, and a picture."""

import asyncio
import base64
import io
import json
import statistics
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import httpx
import numpy as np
from PIL import Image, ImageEnhance

from semface.cli.running import wait_for_signal
from semface.cli.stack import Stack, StackSettings, running_stack
from semface.descriptors import DESCRIPTOR_SIZE, GROUPS, PORTION_SLICES, Descriptors, Portion
from semface.errors import Reason, SemfaceError
from semface.media_types import BITSTREAM_TYPE
from semface.rpc.telemetry import configure_logging

SUBJECT: Final = "demonstration"
REPEATS: Final = 5
STRANGER_SEED: Final = 7
STRANGER_SIZE: Final = 256
TIMEOUT_SECONDS: Final = 60.0
PANEL_SIZE: Final = 640
MARGIN: Final = 0.15
"""Of the face square, on each side of it."""
PICTURE: Final = "demonstration.png"


@dataclass(frozen=True, slots=True)
class Findings:
    """What the demonstration shows. Scores are cosines; milliseconds are medians over ``REPEATS`` requests."""

    photograph_bytes: int
    faces: int
    confidence: float
    bits: dict[str, int]
    expression: dict[str, float]
    threshold: float
    operating_point: str
    score_of_changed_copy: float
    score_of_other_identity: float
    milliseconds: dict[str, float]
    picture: str
    documentation: str


async def demonstrate_system(output: Path, *, once: bool, as_json: bool) -> None:
    """Start the system, show what it makes of the portrait, and unless ``once`` stay up until interrupted."""
    settings = StackSettings()
    quiet = "log_level" not in settings.model_fields_set
    configure_logging("warning" if quiet else settings.log_level, settings.log_format)
    photograph = await asyncio.to_thread(portrait().read_bytes)
    async with running_stack(settings) as stack:
        findings = await _find(stack, photograph, output / PICTURE)
        if as_json:
            print(json.dumps(asdict(findings)), flush=True)
        else:
            _show(findings)
        if not once:
            print(f"Still running at {stack.gateway_url}; Ctrl-C stops it.", flush=True)
            await wait_for_signal()


def portrait() -> Path:
    """Return the NASA portrait that scikit-image carries, without importing the package."""
    package = find_spec("skimage")
    if package is None or package.origin is None:
        message = "the demonstration's photograph comes with scikit-image; run `pip install 'semface[demonstration]'`"
        raise SemfaceError(Reason.FIELD_INVALID, message)
    return Path(package.origin).parent / "data" / "astronaut.png"


async def _find(stack: Stack, photograph: bytes, picture: Path) -> Findings:
    async with httpx.AsyncClient(base_url=stack.gateway_url, timeout=TIMEOUT_SECONDS) as client:
        analyses = [(await _ask(client, "POST", "/v1/analyze", photograph)).json() for _ in range(REPEATS)]
        face = analyses[-1]["faces"][0]
        frame = base64.b64decode(face["bitstream"])
        decoded = _numbers((await _ask(client, "POST", "/v1/decode", frame, BITSTREAM_TYPE)).json()["descriptors"])
        copy, stranger = await _compare(client, photograph)
    square = face["square"]
    await asyncio.to_thread(_draw, photograph, (square["x0"], square["y0"], square["side"]), decoded, picture)
    return Findings(
        photograph_bytes=len(photograph),
        faces=len(analyses[-1]["faces"]),
        confidence=face["confidence"],
        bits=face["bits"],
        expression=face["expression"]["confidences"],
        threshold=copy["threshold"],
        operating_point=copy["operating_point"],
        score_of_changed_copy=copy["score"],
        score_of_other_identity=stranger["score"],
        milliseconds={
            stage: statistics.median(analysis["milliseconds"][stage] for analysis in analyses)
            for stage in analyses[-1]["milliseconds"]
        },
        picture=str(picture),
        documentation=f"{stack.gateway_url}/docs",
    )


async def _compare(client: httpx.AsyncClient, photograph: bytes) -> tuple[dict[str, Any], dict[str, Any]]:
    """Enrol a changed copy; return how the photograph, and a drawing of another identity, compare with it."""
    copy = await asyncio.to_thread(changed_copy, photograph)
    body = json.dumps({"descriptors": other_identity().tolist()}).encode()
    drawing = await _ask(client, "POST", f"/v1/render?size={STRANGER_SIZE}", body, "application/json")
    await _ask(client, "PUT", f"/v1/subjects/{SUBJECT}", copy, "image/jpeg")
    try:
        verify = f"/v1/subjects/{SUBJECT}/verify"
        own = await _ask(client, "POST", verify, photograph)
        other = await _ask(client, "POST", verify, drawing.content)
    finally:
        await client.delete(f"/v1/subjects/{SUBJECT}")
    return own.json(), other.json()


def changed_copy(photograph: bytes) -> bytes:
    """Return ``photograph`` cropped by some 5 %, brightened by 15 % and saved as a JPEG of quality 60."""
    picture = Image.open(io.BytesIO(photograph)).convert("RGB")
    width, height = picture.size
    cropped = picture.crop((width // 20, 0, width - width // 30, height - height // 20))
    file = io.BytesIO()
    ImageEnhance.Brightness(cropped).enhance(1.15).save(file, "JPEG", quality=60)
    return file.getvalue()


def other_identity() -> Descriptors:
    """Return a neutral frontal face (257,) with the shape and texture of a random person, drawn from N(0, 1)."""
    values = np.zeros(DESCRIPTOR_SIZE, np.float32)
    identity = PORTION_SLICES[Portion.IDENTITY]
    values[identity] = np.random.default_rng(STRANGER_SEED).normal(size=identity.stop - identity.start)
    return values


def _numbers(groups: dict[str, list[float]]) -> Descriptors:
    values = np.zeros(DESCRIPTOR_SIZE, np.float32)
    for name, numbers in groups.items():
        values[GROUPS[name]] = numbers
    return values


async def _ask(
    client: httpx.AsyncClient, method: str, path: str, body: bytes, content_type: str = "image/png"
) -> httpx.Response:
    answer = await client.request(method, path, content=body, headers={"Content-Type": content_type})
    if answer.is_error:
        told = answer.json()
        raise SemfaceError(Reason[told["reason"]], f"{method} {path.partition('?')[0]}: {told['detail']}")
    return answer


def _draw(photograph: bytes, square: tuple[float, float, float], decoded: Descriptors, target: Path) -> None:
    """Write the part of the photograph around the face, and beside it the same with the decoded mesh over it."""
    from semface.morphable import overlay

    left, top, side = square
    margin = MARGIN * side
    scale = PANEL_SIZE / (side + 2 * margin)
    region = (left - margin, top - margin, left + side + margin, top + side + margin)
    # Enlarged first: the lines of the mesh stay thin.
    panel = Image.open(io.BytesIO(photograph)).convert("RGB")
    panel = panel.transform((PANEL_SIZE, PANEL_SIZE), Image.Transform.EXTENT, region, Image.Resampling.BICUBIC)
    pixels = np.asarray(panel)
    drawn = overlay(pixels, (margin * scale, margin * scale, side * scale), decoded)
    target.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.concatenate([pixels, drawn], axis=1)).save(target, "PNG")


def _show(findings: Findings) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(title="A face through semface, there and back", box=box.SIMPLE_HEAD, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(style="dim", overflow="fold")
    for rows in (_rows_of_bits(findings), _rows_of_meaning(findings), _rows_of_time(findings)):
        for row in rows:
            table.add_row(*row)
        table.add_section()
    table.add_row("picture", "", findings.picture)
    table.add_row("API documentation", "", findings.documentation)
    Console().print(table)


def _rows_of_bits(findings: Findings) -> list[tuple[str, str, str]]:
    bits = findings.bits
    ratio = 8 * findings.photograph_bytes / bits["total"]
    parts = [(f"  {name}", f"{bits[name]:,} bits", "") for name in ("header", "identity", "expression", "illumination")]
    return [
        ("photograph", f"{findings.photograph_bytes:,} bytes", "NASA portrait, PNG"),
        ("faces found", str(findings.faces), f"confidence {findings.confidence:.3f}"),
        ("bitstream", f"{bits['total']:,} bits", f"1/{ratio:,.0f} of the photograph's"),
        *parts,
    ]


def _rows_of_meaning(findings: Findings) -> list[tuple[str, str, str]]:
    best = max(findings.expression, key=findings.expression.__getitem__)
    confidences = [
        (f"  {name}", f"{confidence:.3f}", "◀" if name == best else "")
        for name, confidence in findings.expression.items()
    ]
    compared = [
        ("  changed copy, enrolled", findings.score_of_changed_copy, "crop, brightness, JPEG"),
        ("  other identity, rendered", findings.score_of_other_identity, "a 3-D model, no photograph"),
    ]
    verdicts = [
        (name, f"{score:.3f}", f"{'same person' if score >= findings.threshold else 'another person'}; {remark}")
        for name, score, remark in compared
    ]
    return [
        ("expression", "", "from the decoded numbers"),
        *confidences,
        ("verification", "", f"threshold {findings.threshold:.3f} ({findings.operating_point})"),
        *verdicts,
    ]


def _rows_of_time(findings: Findings) -> list[tuple[str, str, str]]:
    stages = [(f"  {stage}", f"{spent:.1f} ms", "") for stage, spent in findings.milliseconds.items()]
    return [("time of one analysis", "", f"median of {REPEATS}"), *stages]
