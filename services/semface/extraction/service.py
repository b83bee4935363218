"""The gRPC service of extraction: a thin adapter over the core."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from functools import lru_cache, partial
from typing import Any, TypeVar

import grpc.aio
from PIL import Image

from semface.extraction.core import Extractor, Face
from semface.extraction.image import ImageLimits, decode_picture
from semface.extraction.pyramid import Size
from semface.extraction.scans.attribute_images import AttributeImages
from semface.extraction.scans.core import ScanReader
from semface.extraction.scans.reading import read_scan
from semface.extraction.settings import ExtractionSettings
from semface.extraction.tracking import Tracker
from semface.inference.engine import Engine
from semface.messages import pack_descriptors, pack_model
from semface.rpc.server import Service
from semface.rpc.timing import CallClock, current_clock
from semface.tracing.spans import span
from semface.v1 import descriptors_pb2, extraction_pb2, extraction_pb2_grpc

Result = TypeVar("Result")

Search = Callable[[Image.Image], Awaitable[list[Face]]]
"""What finds the faces of a picture."""

Context = grpc.aio.ServicerContext[Any, Any]


class ExtractionService(extraction_pb2_grpc.ExtractionServiceServicer):
    """``semface.v1.ExtractionService``."""

    def __init__(self, extractor: Extractor, limits: ImageLimits, max_decoding: int) -> None:
        """Answer with ``extractor`` for pictures within ``limits``, ``max_decoding`` at once."""
        self._extractor = extractor
        self._scans = ScanReader(extractor)
        self._limits = limits
        self._places = asyncio.Semaphore(max_decoding)
        self._working: set[asyncio.Task[Any]] = set()

    async def Extract(self, request: extraction_pb2.ExtractRequest, context: Context) -> extraction_pb2.ExtractResponse:
        """Describe every face of one photograph."""
        clock = current_clock()
        (width, height), faces = await self._extract(request.image, self._extractor.extract_some, clock)
        return extraction_pb2.ExtractResponse(
            faces=[pack_face(face, place, with_crop=request.with_crops) for place, face in enumerate(faces)],
            image_width=width,
            image_height=height,
            models=self._models(),
            timings=clock.timings(),
            minimum_quality=self._extractor.minimum_quality,
        )

    async def ExtractStream(
        self, request_iterator: AsyncIterator[extraction_pb2.ExtractStreamRequest], context: Context
    ) -> AsyncIterator[extraction_pb2.ExtractStreamResponse]:
        """Describe the faces of each frame in the order sent; a face keeps its number from frame to frame."""
        tracker, frame_number = Tracker(), 0
        async for request in request_iterator:
            clock = CallClock()
            (width, height), faces = await self._extract(request.image, self._extractor.extract, clock)
            numbers = tracker.assign([face.box for face in faces], [face.descriptors for face in faces])
            yield extraction_pb2.ExtractStreamResponse(
                frame_number=frame_number,
                faces=[
                    pack_face(face, place, number)
                    for place, (face, number) in enumerate(zip(faces, numbers, strict=True))
                ],
                image_width=width,
                image_height=height,
                models=self._models(),
                timings=clock.timings(),
                minimum_quality=self._extractor.minimum_quality,
            )
            frame_number += 1

    async def ReadScan(
        self, request: extraction_pb2.ReadScanRequest, context: Context
    ) -> extraction_pb2.ReadScanResponse:
        """Draw the attribute images of one scan."""
        clock = current_clock()
        found = await self._in_turn(lambda: self._read_scan(request.scan, clock), clock)
        return extraction_pb2.ReadScanResponse(
            attribute_images=found.images.astype("<f4").tobytes(),
            textured=found.textured,
            covered=found.covered,
            models=self._models(),
            timings=clock.timings(),
        )

    async def _read_scan(self, data: bytes, clock: CallClock) -> AttributeImages:
        scan = await asyncio.to_thread(read_scan, data)
        with clock.inference():
            return await self._scans.attribute_images(scan)

    async def _extract(self, data: bytes, search: Search, clock: CallClock) -> tuple[Size, list[Face]]:
        """Return the size of the picture in ``data``, and its faces."""
        return await self._in_turn(lambda: self._decode_and_search(data, search, clock), clock)

    async def _in_turn(self, start: Callable[[], Coroutine[Any, Any, Result]], clock: CallClock) -> Result:
        """Return what the work that ``start`` begins returns, when one of the places is free."""
        await self._places.acquire()
        clock.admitted()
        work = asyncio.create_task(start())
        work.add_done_callback(self._leave)
        self._working.add(work)
        # A thread cannot be stopped: the picture of a caller that left keeps its place until its work is done.
        return await asyncio.shield(work)

    async def _decode_and_search(self, data: bytes, search: Search, clock: CallClock) -> tuple[Size, list[Face]]:
        with span("decode picture"):
            picture = await asyncio.to_thread(decode_picture, data, self._limits)
        with clock.inference():
            return picture.size, await search(picture)

    def _leave(self, work: asyncio.Task[Any]) -> None:
        self._working.discard(work)
        self._places.release()
        # Nobody is left to be told what became of a picture whose caller has gone.
        if not work.cancelled():
            work.exception()

    def _models(self) -> list[descriptors_pb2.Model]:
        engine = self._extractor.engine
        return [_packed_model(model.name, model.version, model.hash, engine) for model in self._extractor.models()]


def services(engine: Engine, settings: ExtractionSettings) -> list[Service]:
    """Return the extraction service over ``engine``."""
    extractor = settings.extractor(engine)
    service = ExtractionService(extractor, settings.image_limits, settings.max_decoding)
    add = partial(extraction_pb2_grpc.add_ExtractionServiceServicer_to_server, service)
    return [Service("semface.v1.ExtractionService", add, extractor.probe, places=settings.max_decoding, joins=False)]


# Only ever copied into answers.
_packed_model = lru_cache(maxsize=8)(pack_model)


def pack_face(face: Face, place: int, track_id: int = 0, *, with_crop: bool = False) -> extraction_pb2.Face:
    """Return the message of the ``face`` at ``place`` of its picture; ``track_id`` 0 says that it is of no stream."""
    left, top, side = face.square
    x0, y0, x1, y1 = face.box.tolist()
    return extraction_pb2.Face(
        box=extraction_pb2.Box(x0=x0, y0=y0, x1=x1, y1=y1),
        square=extraction_pb2.FaceSquare(x0=left, y0=top, side=side),
        landmarks=[extraction_pb2.Point(x=x, y=y) for x, y in face.landmarks.tolist()],
        confidence=face.confidence,
        quality=face.quality,
        descriptors=pack_descriptors(face.descriptors),
        track_id=track_id,
        id=place,
        crop=face.crop.tobytes() if with_crop else b"",
    )
