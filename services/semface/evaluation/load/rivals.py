"""What a user would build instead, in the same run on the same photograph: requests a second and 99th percentiles.

dlib's recognition network behind plain FastAPI, in the environment of `make peers`; and our own ONNX files behind plain
FastAPI, written the naive way. Each is on the core that our system is on, while the others rest.
"""

import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import httpx

from semface.errors import Reason, SemfaceError
from semface.evaluation.load.asking import SECONDS, photograph
from semface.evaluation.load.driving import OK, Call, closed_loop
from semface.evaluation.load.ladder import CONCURRENCY
from semface.evaluation.load.running import pinned, running_system, split_cores, staying_on

FOLDER: Final = Path(__file__).parent
START_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class RivalFigures:
    """One system on the same photograph. Ratios are ours over theirs."""

    system: str
    per_second: float
    """Photographs a second, 16 callers."""
    p50_alone_ms: float
    p99_ms: float
    """Of 16 callers."""
    our_rate_over_theirs: float
    our_p99_over_theirs: float

    def as_dict(self) -> dict[str, Any]:
        """Return the figures by name."""
        return asdict(self)


async def measure_rivals(
    portrait: Path, environment: Path, seconds: float, told: Callable[[int], None]
) -> list[RivalFigures]:
    """Measure ours, then each rival; ``environment`` is that of the peers. Each step takes ``seconds``.

    Ours does more: it also codes the face and reads its expression from the decoded numbers. Raises MODEL_UNKNOWN
    where the peers are not installed.
    """
    ours, theirs = split_cores()
    # Not resolved: the link is what makes it an environment.
    python = Path.cwd() / environment / "bin" / "python"
    if not python.exists():
        raise SemfaceError(Reason.MODEL_UNKNOWN, f"the peers are not installed in {environment}; run `make peers`")
    picture = photograph(portrait)
    apps = {
        "dlib behind FastAPI": ([str(python), "-m", "uvicorn", "rival_dlib:app"], FOLDER),
        "our networks behind FastAPI, naively": (
            [sys.executable, "-m", "uvicorn", "semface.evaluation.load.rival_naive:app"],
            None,
        ),
    }
    found: dict[str, tuple[float, float, float]] = {}
    with staying_on(theirs):
        with running_system(ours) as system:
            async with _upload(f"{system.gateway}/v1/analyze", "photograph", picture) as call:
                found["semface, /v1/analyze"] = await _measure(call, seconds)
        told(1)
        for name, (command, folder) in apps.items():
            with _running(command, folder, ours) as url:
                async with _upload(f"{url}/faces", "file", picture) as call:
                    found[name] = await _measure(call, seconds)
            told(len(found))
    rate, _, late = found["semface, /v1/analyze"]
    return [
        RivalFigures(name, theirs_rate, alone, theirs_late, rate / theirs_rate, late / theirs_late)
        for name, (theirs_rate, alone, theirs_late) in found.items()
    ]


async def _measure(call: Call, seconds: float) -> tuple[float, float, float]:
    """Return requests a second and the 99th percentile of 16 callers, between them the median of one."""
    await closed_loop(call, 1, seconds=1.0)
    alone = await closed_loop(call, 1, seconds=seconds)
    many = await closed_loop(call, CONCURRENCY, seconds=seconds)
    if alone.failed or many.failed or many.shed:
        codes = {code: len(times) for code, times in many.times.items()}
        raise SemfaceError(Reason.BACKEND_AWAY, f"calls failed, so there is no figure: {codes}")
    return many.rate, alone.percentile(0.5), many.percentile(0.99)


@asynccontextmanager
async def _upload(url: str, field: str, picture: bytes) -> AsyncIterator[Call]:
    """Give the call that posts ``picture`` as ``field`` of a form, and finds one face in the answer."""
    async with httpx.AsyncClient(timeout=SECONDS) as client:

        async def call() -> str:
            try:
                answer = await client.post(url, files={field: ("photo.jpg", picture, "image/jpeg")})
            except httpx.HTTPError as error:
                return type(error).__name__
            if not answer.is_success:
                return str(answer.status_code)
            content = answer.json()
            faces = content["faces"] if isinstance(content, dict) else content
            return OK if len(faces) == 1 else f"{len(faces)} faces"

        yield call


@contextmanager
def _running(command: list[str], folder: Path | None, cores: list[int]) -> Iterator[str]:
    """Run an ASGI app on a free port while the block lasts and give its URL."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    options = ["--host", "127.0.0.1", "--port", str(port), "--log-level", "warning"]
    with subprocess.Popen(pinned([*command, *options], cores), cwd=folder) as process:
        url = f"http://127.0.0.1:{port}"
        try:
            _wait_for(url, process)
            yield url
        finally:
            process.terminate()


def _wait_for(url: str, process: "subprocess.Popen[bytes]") -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        try:
            httpx.get(f"{url}/openapi.json")
        except httpx.HTTPError:
            time.sleep(0.1)
        else:
            return
    raise SemfaceError(Reason.BACKEND_AWAY, "a rival did not come up; what it said stands above")
