"""A running system in a process of its own, and photographs to send to it."""

import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance

STOP_SECONDS = 15


@dataclass(frozen=True, slots=True)
class System:
    """Where the parts of a running system are."""

    gateway: str
    grpc: str
    process: "subprocess.Popen[str]"


@contextmanager
def running_system(repository: Path, redis_url: str | None = None, **settings: str) -> Iterator[System]:
    """Run `semface up` on free ports, with further ``settings`` (SEMFACE_…), while the block lasts."""
    environment = (
        os.environ
        | settings
        | {
            "SEMFACE_MODEL_REPOSITORY": str(repository),
            "SEMFACE_PORT": "0",
            "SEMFACE_HTTP_PORT": "0",
            "SEMFACE_LOG_LEVEL": "warning",
            "OMP_NUM_THREADS": "1",
        }
    )
    if redis_url is not None:
        environment["SEMFACE_REDIS_URL"] = redis_url
    command = [sys.executable, "-m", "semface.cli", "up", "--json"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            places = json.loads(process.stdout.readline())
            yield System(places["gateway"], places["grpc"], process)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(STOP_SECONDS)


def astronaut_path() -> Path:
    """Return the NASA portrait that scikit-image carries."""
    package = find_spec("skimage")
    assert package is not None
    assert package.origin is not None
    return Path(package.origin).parent / "data" / "astronaut.png"


def astronaut() -> Image.Image:
    """Return the portrait as a picture."""
    return Image.open(astronaut_path()).convert("RGB")


def jpeg(picture: Image.Image, quality: int = 90) -> bytes:
    """Return ``picture`` as a JPEG file."""
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=quality)
    return file.getvalue()


def changed_copy(picture: Image.Image) -> Image.Image:
    """Return ``picture`` a little cropped and brighter."""
    width, height = picture.size
    cropped = picture.crop((width // 50, height // 60, width - width // 40, height - height // 50))
    return ImageEnhance.Brightness(cropped).enhance(1.08)


def two_faces() -> Image.Image:
    """Return a picture of two faces, the one at the left larger."""
    portrait = astronaut()
    small = portrait.resize((384, 384))
    both = Image.new("RGB", (portrait.width + small.width, portrait.height))
    both.paste(portrait, (0, 0))
    both.paste(small, (portrait.width, 0))
    return both


def noise() -> Image.Image:
    """Return a picture without a face."""
    values = np.random.default_rng(5).integers(100, 140, (200, 200, 3), dtype=np.uint8)
    return Image.fromarray(values)
