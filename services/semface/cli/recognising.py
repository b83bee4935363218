"""``semface expression`` by a recogniser that looks at pixels or at a scan, and pictures of what it sees."""

from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from semface.cli.chain import Chain, Input, naming
from semface.errors import Reason, SemfaceError
from semface.evaluation.attribute_sheet import attribute_sheet
from semface.extraction.scans.core import ScanReader
from semface.extraction.scans.reading import read_scan_file
from semface.recognisers import Recogniser, Seen

PANEL: Final = 224
"""Side in pixels of a panel of the drawn attention."""
WARM: Final = np.array([255.0, 80.0, 0.0])
"""Colour laid over where a head looks, RGB."""
STRONGEST: Final = 0.65


async def recognise_view(
    chain: Chain, photograph: Input, recogniser: Recogniser, attention: Path | None, *, largest: bool
) -> dict[str, Any]:
    """Return expression and models of the one face of ``photograph``; draw the heads' attention where it is wanted.

    Raises FIELD_INVALID for what is no photograph, and for attention of a recogniser that has none; what finding the
    face raises; MODEL_UNKNOWN where the repository lacks the network.
    """
    if recogniser.sees is not Seen.CROP:
        message = f"{recogniser.name} has no attention to draw; --model dan has"
        raise SemfaceError(Reason.FIELD_INVALID, message, field="attention")
    if not photograph.is_photograph:
        message = f"{recogniser.name} looks at pixels, and {photograph.path} is no photograph"
        raise SemfaceError(Reason.FIELD_INVALID, message, field="model")
    crop = (await chain.face(photograph, largest=largest)).crop
    answer = await chain.understanding.recognitions(recogniser, crop[None])
    drawn = {}
    if attention is not None:
        if "attention" not in answer:
            message = f"{recogniser.name} has no attention to draw; --model dan has"
            raise SemfaceError(Reason.FIELD_INVALID, message, field="attention")
        Image.fromarray(draw_attention(crop, answer["attention"][0])).save(attention, "PNG")
        drawn = {"attention": str(attention)}
    return {
        "expression": _told(recogniser, answer["confidences"][0]),
        **drawn,
        "models": [chain.model(recogniser.name)],
    }


async def recognise_scan(chain: Chain, path: Path, recogniser: Recogniser, attributes: Path | None) -> dict[str, Any]:
    """Return expression and models of the one face of the scan at ``path``; draw its attribute images where wanted.

    Raises FIELD_INVALID for attribute images of a recogniser that sees none; what reading the scan raises;
    MODEL_UNKNOWN where the repository lacks the network.
    """
    if recogniser.sees is not Seen.ATTRIBUTE_IMAGES:
        message = f"{recogniser.name} sees no attribute images; --model amdfn does"
        raise SemfaceError(Reason.FIELD_INVALID, message, field="attributes")
    with naming(path):
        scan = read_scan_file(path)
        found = await ScanReader(chain.extractor).attribute_images(scan)
    drawn = {}
    if attributes is not None:
        attribute_sheet([found.images]).save(attributes, "PNG")
        drawn = {"attributes": str(attributes)}
    answer = await chain.understanding.recognitions(recogniser, found.images[None])
    return {
        "expression": _told(recogniser, answer["confidences"][0]),
        "textured": found.textured,
        "covered": round(found.covered, 4),
        **drawn,
        "models": [chain.model(name) for name in ("descriptor_extraction", recogniser.name)],
    }


def _told(recogniser: Recogniser, confidences: NDArray[np.float32]) -> dict[str, Any]:
    told = dict(zip(recogniser.classes, map(float, confidences), strict=True))
    return {"leading": max(told, key=told.__getitem__), "confidences": told}


def draw_attention(crop: NDArray[np.uint8], attention: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return panels in a row, uint8 (PANEL, (H + 1) · PANEL, 3): ``crop``, and it under the attention of each head.

    ``attention`` is (H, h, w). Each head is drawn from its least to its greatest weight.
    """
    picture = np.asarray(Image.fromarray(crop).resize((PANEL, PANEL), Image.Resampling.BICUBIC), np.float64)
    panels = [picture]
    for weights in attention:
        least, most = float(weights.min()), float(weights.max())
        scaled = (weights - least) / max(most - least, 1e-9)
        large = Image.fromarray(scaled.astype(np.float32)).resize((PANEL, PANEL), Image.Resampling.BICUBIC)
        share = STRONGEST * np.clip(np.asarray(large), 0.0, 1.0)[..., None]
        panels.append(picture * (1.0 - share) + WARM * share)
    return np.concatenate(panels, axis=1).round().astype(np.uint8)
