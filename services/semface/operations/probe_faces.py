"""Faces that nobody has, drawn for probes: through everything, with no picture of anybody."""

import asyncio
import io
from dataclasses import dataclass
from typing import Final

import numpy as np
from PIL import Image

from semface.client import AsyncClient
from semface.descriptors import DESCRIPTOR_SIZE, GROUPS, Descriptors
from semface.morphable import render

SIZE: Final = 256


@dataclass(frozen=True, slots=True)
class Answer:
    """What the whole chain said of one picture."""

    leading: str
    matches_first: bool
    """Whether it is the person of the first picture, at the default operating point."""


class Chain:
    """The three services that one picture goes through."""

    def __init__(self, extraction: AsyncClient, codec: AsyncClient, understanding: AsyncClient) -> None:
        """Ask these clients."""
        self._extraction, self._codec, self._understanding = extraction, codec, understanding

    async def answers(self, pictures: list[bytes]) -> list[Answer]:
        """Return what is said of each of ``pictures``. Raises CallError."""
        first, said = None, []
        for picture in pictures:
            extraction = await self._extraction.extract(picture)
            coded = await self._codec.encode(extraction.largest.descriptors)
            frame, codec_hash = coded.frames[0].data, coded.model.hash
            recognition = await self._understanding.recognize(frame, codec_hash=codec_hash)
            first = first or frame
            compared = await self._understanding.compare(first, frame, codec_hash=codec_hash)
            said.append(Answer(recognition.leading, compared.matched))
        return said


async def drawn_faces(count: int, seed: int = 0) -> list[bytes]:
    """Return ``count`` PNG pictures of made-up faces: identity and expression at random, seen from the front."""
    random = np.random.default_rng(seed)
    faces = []
    for _ in range(count):
        values = np.zeros(DESCRIPTOR_SIZE, np.float32)
        for group, scale in (("shape", 1.0), ("texture", 1.0), ("expression", 0.7)):
            where = GROUPS[group]
            values[where] = scale * random.standard_normal(where.stop - where.start)
        faces.append(await asyncio.to_thread(_draw, values))
    return faces


def _draw(values: Descriptors) -> bytes:
    file = io.BytesIO()
    Image.fromarray(render(values, SIZE)).save(file, "PNG")
    return file.getvalue()
