"""Pictures to evaluate on: a zip of the astronaut's photograph, and the shared data sets where they are."""

import io
import os
import zipfile
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
FACE = (150, 10, 310, 170)
"""A square of the astronaut's photograph with the face in its middle."""


@pytest.fixture(scope="session")
def astronaut() -> Image.Image:
    """The portrait that scikit-image carries, 512 x 512."""
    package = find_spec("skimage")
    assert package is not None
    assert package.origin is not None
    return Image.open(Path(package.origin).parent / "data" / "astronaut.png").convert("RGB")


def jpeg(image: Image.Image) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=92)
    return stream.getvalue()


@pytest.fixture(scope="session")
def pictures(astronaut: Image.Image, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A zip: the face twice and mirrored, in and out of folders; a field without a face; a JPEG that ends too early."""
    path = tmp_path_factory.mktemp("evaluation") / "pictures.zip"
    face = astronaut.crop(FACE)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("Ada/Ada_0001.jpg", jpeg(face))
        archive.writestr("Ada_0002.jpg", jpeg(face.point(lambda value: min(255, int(value * 1.05)))))
        archive.writestr("deep/er/Bea_0001.jpg", jpeg(face.transpose(Image.Transpose.FLIP_LEFT_RIGHT)))
        archive.writestr("Cee_0001.jpg", jpeg(Image.fromarray(np.full((48, 48, 3), 120, np.uint8))))
        archive.writestr("Dee_0001.jpg", jpeg(face)[:400])
        archive.writestr("__MACOSX/._Ada_0001.jpg", b"a resource fork")
        archive.writestr(
            "votes.csv",
            "image,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,no_face\n"
            "Ada_0001.jpg,1,9,0,0,0,0,0,0,0,0\n"
            "Ada_0002.jpg,0,8,2,0,0,0,0,0,0,0\n"
            "Bea_0001.jpg,5,5,0,0,0,0,0,0,0,0\n"
            "Cee_0001.jpg,8,0,0,0,0,0,0,0,1,1\n"
            "Dee_0001.jpg,0,0,0,9,0,0,0,0,0,1\n",
        )
    return path


@pytest.fixture(scope="session")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six pairs in two folds; those with Dee cannot be judged."""
    path = tmp_path_factory.mktemp("evaluation") / "pairs.csv"
    path.write_text(
        "fold,same,image_a,image_b\n"
        "1,1,Ada_0001,Ada_0002\n1,0,Ada_0001,Cee_0001\n1,0,Ada_0001,Dee_0001\n"
        "2,1,Ada_0002,Ada_0001\n2,0,Bea_0001,Cee_0001\n2,1,Dee_0001,Ada_0002\n"
    )
    return path


@pytest.fixture(scope="session")
def datasets() -> Path:
    """The shared data sets."""
    path = Path(os.environ.get("SEMFACE_DATASETS", ROOT.parent / "shared" / "datasets"))
    if not (path / "lfw_pairs.csv").exists():
        pytest.skip("the shared data sets are not here; SEMFACE_DATASETS names their folder")
    return path


@pytest.fixture(scope="session")
def trained_repository() -> Path:
    """The repository of trained networks."""
    return ROOT / "model_repository"
