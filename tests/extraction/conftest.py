"""A real photograph, and an engine with the real detector."""

import asyncio
import importlib.util
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from semface.inference.embedded import EmbeddedEngine
from semface.rpc.settings import ServerSettings

Pixels = NDArray[np.uint8]


@pytest.fixture(scope="session")
def photograph() -> Pixels:
    """The portrait of an astronaut that scikit-image carries: RGB uint8 (512, 512, 3), one face."""
    package = importlib.util.find_spec("skimage")
    assert package is not None
    assert package.submodule_search_locations
    with Image.open(Path(package.submodule_search_locations[0]) / "data" / "astronaut.png") as image:
        return np.asarray(image.convert("RGB"))


@pytest.fixture(scope="session")
def without_face(photograph: Pixels) -> Pixels:
    """A part of the photograph that shows a suit, a flag and a shuttle, but no face."""
    return np.ascontiguousarray(photograph[230:])


@pytest.fixture(scope="session")
def trained_engine() -> Iterator[EmbeddedEngine]:
    """The networks that are served: those of the checkout, or of SEMFACE_MODEL_REPOSITORY."""
    started = EmbeddedEngine(ServerSettings().model_repository, threads=1)
    yield started
    asyncio.run(started.close())


@pytest.fixture
async def engine(tiny_repository: Path) -> AsyncIterator[EmbeddedEngine]:
    """The real detector and a small describing network."""
    started = EmbeddedEngine(tiny_repository, threads=1)
    yield started
    await started.close()
