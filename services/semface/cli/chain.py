"""The whole chain inside this process, for commands that need no server: extraction, codec and understanding."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from semface.codec.bitstream import CHECK_BYTES, outline
from semface.codec.core import CODEC_NAME, CODEC_VERSION, Codec, Decoded
from semface.codec.recording import is_recording
from semface.descriptors import Portion, portion_names
from semface.errors import Reason, SemfaceError
from semface.extraction.core import Extractor, Face
from semface.extraction.image import ImageLimits, decode_image
from semface.extraction.settings import ExtractionSettings
from semface.inference import open_engine
from semface.inference.engine import Engine
from semface.media_types import PHOTOGRAPH_SIGNATURES
from semface.understanding.core import Understanding

Result = TypeVar("Result")

PHOTOGRAPH_SUFFIXES: Final = frozenset({".jpg", ".jpeg", ".png", ".webp"})


@dataclass(frozen=True, slots=True)
class Input:
    """A file that was read: a photograph or a bitstream."""

    path: Path
    data: bytes

    @property
    def is_photograph(self) -> bool:
        """Whether it is, or calls itself, a photograph; else it is a bitstream."""
        return self.data.startswith(tuple(PHOTOGRAPH_SIGNATURES)) or self.path.suffix.lower() in PHOTOGRAPH_SUFFIXES


def read_input(path: Path) -> Input:
    """Read the file at ``path``."""
    return Input(path, path.read_bytes())


@dataclass(frozen=True, slots=True)
class Chain:
    """The three cores over one engine."""

    engine: Engine
    extractor: Extractor
    image_limits: ImageLimits
    codec: Codec
    understanding: Understanding

    async def faces(self, photograph: Input) -> list[Face]:
        """Return the faces of ``photograph`` in reading order; refuses what the extraction service would refuse."""
        with naming(photograph.path):
            return await self.extractor.extract_some(decode_image(photograph.data, self.image_limits))

    async def face(self, photograph: Input, *, largest: bool) -> Face:
        """Return the one good face of ``photograph``; raises SEVERAL_FACES unless the ``largest`` will do."""
        with naming(photograph.path):
            rgb = decode_image(photograph.data, self.image_limits)
            return await self.extractor.extract_only(rgb, largest=largest)

    async def frame(self, source: Input, *, largest: bool = False, portions: Portion = Portion.ALL) -> bytes:
        """Return the bitstream frame that ``source`` is, or of the one face that it shows.

        Raises FIELD_INVALID for a recorded session.
        """
        if is_recording(source.data):
            message = f"{source.path} is a recorded session of many frames; `semface decode` tells each"
            raise SemfaceError(Reason.FIELD_INVALID, message)
        if not source.is_photograph:
            return source.data
        face = await self.face(source, largest=largest)
        return (await self.codec.encode(face.descriptors, portions=portions))[0]

    async def decoded(self, source: Input, *, largest: bool = False) -> Decoded:
        """Return what a receiver gets of ``source``."""
        return (await self.codec.decode([await self.frame(source, largest=largest)]))[0]

    def model(self, name: str) -> dict[str, str]:
        """Return name, version and hash of the network ``name``, or of the codec, as they are told."""
        if name == CODEC_NAME:
            return {"name": name, "version": CODEC_VERSION, "hash": self.codec.model_hash[:16]}
        found = self.engine.metadata(name)
        return {"name": name, "version": found.version, "hash": found.hash[:16]}


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Say in what the block raises which file it is about."""
    try:
        yield
    except SemfaceError as error:
        if error.message.startswith(str(path)):
            raise
        raise SemfaceError(error.reason, f"{path}: {error.message}", field=error.field) from error


def count_bits(frame: bytes) -> dict[str, int]:
    """Return where the bits of ``frame`` go: each portion's payload with its check, the header, the total."""
    payloads = {portion_names(p)[0]: 8 * (size + CHECK_BYTES) for p, size in outline(frame).sizes.items()}
    total = 8 * len(frame)
    return {"total": total, "header": total - sum(payloads.values()), **payloads}


@asynccontextmanager
async def open_chain() -> AsyncIterator[Chain]:
    """Open the networks that the settings name while the block lasts."""
    settings = ExtractionSettings()
    engine = open_engine(settings)
    try:
        codec = Codec(engine, settings.model_repository)
        yield Chain(engine, settings.extractor(engine), settings.image_limits, codec, Understanding(engine))
    finally:
        await engine.close()


def with_chain(work: Callable[[Chain], Coroutine[Any, Any, Result]]) -> Result:
    """Run ``work`` on a chain and return its result."""

    async def run() -> Result:
        async with open_chain() as chain:
            return await work(chain)

    return asyncio.run(run())
