"""Commands that speak to a running gateway: `enroll`, `identify`."""

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from semface.cli.output import Json, show
from semface.meaning import DEFAULT_OPERATING_POINT, OperatingPoint
from semface.media_types import BITSTREAM_TYPE, PHOTOGRAPH_SIGNATURES

app = typer.Typer(rich_markup_mode=None)

Source = Annotated[Path, typer.Argument(help="A photograph or a bitstream file.", exists=True, dir_okay=False)]
Url = Annotated[str, typer.Option(envvar="SEMFACE_URL", help="Where the gateway is.")]
Choice = Annotated[str, typer.Option("--face", help="Which face of several: 'only' refuses them, 'largest' takes one.")]

DEFAULT_URL = "http://127.0.0.1:8080"
TIMEOUT_SECONDS = 30.0


@app.command()
def enroll(
    subject: Annotated[str, typer.Argument(help="Id of the subject; it should say nothing of the person.")],
    source: Source,
    url: Url = DEFAULT_URL,
    face: Choice = "only",
    as_json: Json = False,
) -> None:
    """Enrol a face as a subject; only its embedding is kept."""
    from urllib.parse import quote

    show(_send("PUT", url, f"/v1/subjects/{quote(subject, safe='')}", source, {"face": face}), as_json)


@app.command()
def identify(
    source: Source,
    url: Url = DEFAULT_URL,
    top: Annotated[int, typer.Option(min=1, max=100, help="How many candidates at most.")] = 5,
    operating_point: Annotated[OperatingPoint, typer.Option(help="Which threshold decides.")] = DEFAULT_OPERATING_POINT,
    face: Choice = "only",
    as_json: Json = False,
) -> None:
    """Tell which enrolled subject a face is."""
    asked = {"top": top, "operating_point": operating_point, "face": face}
    show(_send("POST", url, "/v1/identify", source, asked), as_json)


def _send(method: str, url: str, path: str, source: Path, asked: dict[str, Any]) -> dict[str, Any]:
    import httpx

    from semface.errors import Reason, SemfaceError

    body = source.read_bytes()
    headers = {"Content-Type": _media_type(body)}
    if key := os.environ.get("SEMFACE_API_KEY"):
        headers["Authorization"] = f"Bearer {key}"
    try:
        answer = httpx.request(method, url + path, params=asked, content=body, headers=headers, timeout=TIMEOUT_SECONDS)
        told: dict[str, Any] = answer.json()
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        raise SemfaceError(Reason.BACKEND_AWAY, f"no gateway answers at {url}") from error
    if answer.is_error:
        reason = told.get("reason", "")
        raise SemfaceError(Reason[reason] if reason in Reason.__members__ else Reason.INTERNAL, str(told.get("detail")))
    return told


def _media_type(body: bytes) -> str:
    known = PHOTOGRAPH_SIGNATURES.items()
    return next((kind for signature, kind in known if body.startswith(signature)), BITSTREAM_TYPE)
