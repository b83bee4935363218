"""How the quality of a face falls with what is done to its picture: ``python -m training.quality``.

The default gate (``semface.extraction.quality.DEFAULT_GATE``) was chosen on what this prints. It looks at nothing that
a figure is reported on: LFW people who are in no fold, and the selection part of FER+ training.
"""

import argparse
import asyncio
import io
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from semface.evaluation.pictures import chosen_face
from semface.extraction.core import Extractor
from semface.extraction.detection import FaceDetector
from semface.extraction.quality import DEFAULT_GATE
from semface.inference.embedded import EmbeddedEngine
from training.datasets import REPOSITORY, Picture, ferplus, is_selection, lfw_images, pairs, people_in_folds, person

Box = tuple[float, float, float, float]
Change = Callable[[Image.Image, Box], Image.Image]
"""Makes a picture, whose face has the box given, worse."""

PERCENTILES: Final = (1, 10, 50, 90, 99)


def shrunk_to(side: int) -> Change:
    """Shrink the picture until the face's longer side has ``side`` pixels."""

    def change(picture: Image.Image, box: Box) -> Image.Image:
        scale = side / max(box[2] - box[0], box[3] - box[1])
        size = round(scale * picture.width), round(scale * picture.height)
        return picture.resize(size, Image.Resampling.LANCZOS)

    return change


def blurred(share: float) -> Change:
    """Blur by a Gaussian whose deviation is ``share`` of the face's longer side."""
    return lambda picture, box: picture.filter(ImageFilter.GaussianBlur(share * max(box[2] - box[0], box[3] - box[1])))


def covered(left: float, upper: float, right: float, lower: float) -> Change:
    """Cover a part of the face, in fractions of its box, by dark grey."""

    def change(picture: Image.Image, box: Box) -> Image.Image:
        x0, y0, x1, y1 = box
        width, height = x1 - x0, y1 - y0
        region = (x0 + left * width, y0 + upper * height, x0 + right * width, y0 + lower * height)
        other = picture.copy()
        ImageDraw.Draw(other).rectangle(region, fill=(30, 30, 30))
        return other

    return change


def cut_off(share: float) -> Change:
    """Cut the picture so that ``share`` of the face lies beyond its right edge."""
    return lambda picture, box: picture.crop((0, 0, max(round(box[2] - share * (box[2] - box[0])), 1), picture.height))


CHANGES: Final[dict[str, Change]] = {
    "as it is": lambda picture, _: picture,
    "40 pixels": shrunk_to(40),
    "24 pixels": shrunk_to(24),
    "16 pixels": shrunk_to(16),
    "blurred by 2 %": blurred(0.02),
    "blurred by 4 %": blurred(0.04),
    "blurred by 7 %": blurred(0.07),
    "sunglasses": covered(0.0, 0.22, 1.0, 0.46),
    "mouth and nose covered": covered(0.0, 0.5, 1.0, 1.0),
    "half covered": covered(0.0, 0.0, 0.5, 1.0),
    "half cut off": cut_off(0.5),
}


async def qualities(repository: Path, pictures: Iterable[Picture], change: Change) -> NDArray[np.float64]:
    """Return quality and recognisability (N, 2) of the face of each of ``pictures`` after ``change``; 0 without one.

    Of several faces the best counts. Pictures in which none is found before the change are left out.
    """
    engine = EmbeddedEngine(repository)
    extractor, detector = Extractor(engine), FaceDetector(engine)
    found = []
    for picture in pictures:
        with Image.open(io.BytesIO(picture.data)) as opened:
            image = opened.convert("RGB")
        face = chosen_face(await detector.detect(np.asarray(image)), image.width, image.height)
        if face is not None:
            x0, y0, x1, y1 = face.box.tolist()
            faces = await extractor.extract(np.asarray(change(image, (x0, y0, x1, y1))))
            found.append(max(((one.quality, one.factors.recognisability) for one in faces), default=(0.0, 0.0)))
    await engine.close()
    return np.array(found)


def show(name: str, values: NDArray[np.float64]) -> None:
    """Print a line of ``values`` (N, 2): the shares found and passed, and percentiles of those found."""
    seen = values[values[:, 0] > 0]
    shares = f"found {len(seen) / len(values):6.1%}  passed {np.mean(values[:, 0] >= DEFAULT_GATE):6.1%}"
    spread = [" ".join(f"{value:5.2f}" for value in np.percentile(column, PERCENTILES)) for column in seen.T]
    print(f"{name:28} {shares}  {'  |  '.join(spread)}", flush=True)


def main() -> None:
    """Print one line for each change."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=300, help="Pictures of each data set.")
    parser.add_argument("--models", type=Path, default=REPOSITORY / "model_repository", help="Model repository.")
    options = parser.parse_args()
    count = options.pictures
    taken = people_in_folds(frozenset(pair.fold for pair in pairs()))
    free = [picture for picture in lfw_images() if person(picture.name) not in taken]
    chosen = np.random.default_rng(0).permutation(len(free))[:count]
    print(f"gate {DEFAULT_GATE}; percentiles {PERCENTILES} of quality | recognisability of the faces found")
    for name, change in CHANGES.items():
        show(f"LFW, {name}", asyncio.run(qualities(options.models, [free[i] for i in chosen], change)))
    small = [picture for picture in ferplus("train") if is_selection(picture.data)][:count]
    show("FER+, as it is", asyncio.run(qualities(options.models, small, CHANGES["as it is"])))


if __name__ == "__main__":
    main()
