"""Both sides of the wire for one request: a face in, its bitstream, and what the decoded numbers say."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from semface.access.certificates import configured_tls
from semface.client import (
    AsyncClient,
    Comparison,
    DecodedFace,
    Embedding,
    Encoding,
    Extraction,
    Face,
    Recognition,
    ScanReading,
    UnderstoodFace,
)
from semface.descriptors import Descriptors, Portion
from semface.errors import Reason, SemfaceError
from semface.gateway.provenance import Provenance
from semface.gateway.settings import GatewaySettings
from semface.gateway.sources import Bitstream, Described, Photograph, ScanFile
from semface.recognisers import Recogniser


class FaceChoice(StrEnum):
    """Which face of a photograph is meant where one is needed."""

    ONLY = "only"
    LARGEST = "largest"


class Services:
    """Clients of the three deployables."""

    def __init__(self, settings: GatewaySettings) -> None:
        def client(address: str) -> AsyncClient:
            key = settings.service_key.get_secret_value() if settings.service_key else None
            return AsyncClient(address, seconds=settings.call_timeout_seconds, key=key, tls=configured_tls(settings))

        self.extraction = client(settings.extraction_address)
        self.codec = client(settings.codec_address)
        self.understanding = client(settings.understanding_address)

    async def close(self) -> None:
        """Let go of the channels."""
        for client in (self.extraction, self.codec, self.understanding):
            await client.close()


@dataclass(frozen=True, slots=True)
class Coded:
    """A bitstream frame and the hash of the codec model that made it, 0 where the caller sent it."""

    frame: bytes
    codec_hash: int = 0


class Pipeline:
    """Calls the services for one request and notes in ``provenance`` what they did."""

    def __init__(self, services: Services, provenance: Provenance) -> None:
        self._services = services
        self.provenance = provenance

    async def extract(self, photograph: Photograph, *, with_crops: bool = False) -> Extraction:
        """Find and describe the faces of ``photograph``, at least one."""
        with self.provenance.stage("extract"):
            found = await self._services.extraction.extract(photograph.data, with_crops=with_crops)
        self.provenance.made_by(found.models)
        self.provenance.waited(found.timings.queue_ms)
        return found

    async def read_scan(self, scan: ScanFile) -> ScanReading:
        """Find the face of ``scan`` and draw its attribute images."""
        with self.provenance.stage("extract"):
            found = await self._services.extraction.read_scan(scan.data)
        self.provenance.made_by(found.models)
        self.provenance.waited(found.timings.queue_ms)
        return found

    async def encode(
        self,
        descriptors: Descriptors,
        quality: str | int | None = None,
        portions: Portion = Portion.ALL,
        bits: int | None = None,
    ) -> Encoding:
        """Code ``descriptors`` (N, 257) or (257,) at ``quality``, or within ``bits`` where they can be."""
        with self.provenance.stage("encode"):
            coded = await self._services.codec.encode(descriptors, quality=quality, portions=portions, bits=bits)
        self.provenance.made_by([coded.model])
        self.provenance.waited(coded.timings.queue_ms)
        return coded

    async def decode(self, coded: Coded) -> DecodedFace:
        """Decode one frame."""
        with self.provenance.stage("decode"):
            decoded = await self._services.codec.decode([coded.frame], model_hash=coded.codec_hash)
        self.provenance.made_by([decoded.model])
        self.provenance.waited(decoded.timings.queue_ms)
        return decoded.faces[0]

    async def understand(self, coded: Sequence[Coded], tasks: Sequence[str]) -> list[UnderstoodFace]:
        """Answer ``tasks`` (``expression``, ``embedding``) for each frame, all coded by one model."""
        with self.provenance.stage("understand"):
            understood = await self._services.understanding.understand(
                [face.frame for face in coded], tasks=tasks, codec_hash=coded[0].codec_hash
            )
        self.provenance.made_by(understood.models)
        self.provenance.waited(understood.timings.queue_ms)
        return understood.faces

    async def embed(self, coded: Sequence[Coded]) -> list[Embedding]:
        """Return the embedding of each frame, all coded by one model."""
        embeddings = [face.embedding for face in await self.understand(coded, ["embedding"])]
        assert all(embeddings), "the task was asked for"
        return [embedding for embedding in embeddings if embedding is not None]

    async def compare(self, one: Coded, other: Coded, operating_point: str) -> Comparison:
        """Tell whether two frames are of one person."""
        with self.provenance.stage("compare"):
            found = await self._services.understanding.compare(
                one.frame, other.frame, operating_point=operating_point, codec_hash=one.codec_hash
            )
        self.provenance.made_by([found.model])
        self.provenance.waited(found.timings.queue_ms)
        return found

    async def understand_described(self, face: Described, tasks: Sequence[str]) -> UnderstoodFace:
        """Answer ``tasks`` for numbers that were never coded."""
        with self.provenance.stage("understand"):
            understood = await self._services.understanding.understand(
                [face.values], tasks=tasks, portions=face.portions
            )
        self.provenance.made_by(understood.models)
        self.provenance.waited(understood.timings.queue_ms)
        return understood.faces[0]

    async def recognize_views(self, recogniser: Recogniser, views: Sequence[NDArray[np.generic]]) -> list[Recognition]:
        """Return what ``recogniser`` says of each of ``views``: of crops, or whatever else it looks at."""
        with self.provenance.stage("understand"):
            ask = self._services.understanding.recognize_view
            told = await asyncio.gather(*(ask(view, model=recogniser.name) for view in views))
        self.provenance.made_by([answer.model for answer in told])
        return list(told)

    async def coded(
        self,
        source: Photograph | Bitstream,
        choice: FaceChoice,
        portions: Portion = Portion.ALL,
        minimum_quality: float = 0.0,
    ) -> Coded:
        """Return the frame of the one face of ``source``: what a receiver would get.

        Raises LOW_QUALITY for the face of a photograph below ``minimum_quality``, where that is above extraction's.
        """
        if isinstance(source, Bitstream):
            return Coded(source.data)
        face = choose((await self.extract(source)).good_faces, choice)
        if face.quality < minimum_quality:
            message = f"the face has a quality of {face.quality:.2f}, {minimum_quality:.2f} is wanted"
            raise SemfaceError(Reason.LOW_QUALITY, message)
        coding = await self.encode(face.descriptors, portions=portions)
        return Coded(coding.frames[0].data, coding.model.hash)


def choose(faces: Sequence[Face], choice: FaceChoice) -> Face:
    """Return the one of ``faces`` meant, at least one; raises SEVERAL_FACES where that is not clear."""
    if len(faces) > 1 and choice is FaceChoice.ONLY:
        raise SemfaceError(Reason.SEVERAL_FACES, f"the photograph shows {len(faces)} faces where one is wanted")
    return max(faces, key=lambda face: face.size)
