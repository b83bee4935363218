"""A moving face: photographs to the frames of one session, and those frames to what a receiver knows."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final, cast

from semface.client import AsyncClient, CallError, Extraction, Face, Frame, FrameState, Moment, ShownFace
from semface.client import UnderstoodFace as Meaning
from semface.descriptors import Portion
from semface.errors import Reason
from semface.gateway.pipeline import Pipeline, Services
from semface.gateway.provenance import Provenance
from semface.gateway.sources import Described

PATIENCE: Final = 12
"""Photographs through which a face that is not seen is waited for before another one is followed."""


@dataclass(frozen=True, slots=True)
class Sent:
    """What became of one photograph: the face that is followed and its frame, None where it is not seen."""

    extraction: Extraction
    face: Face | None
    frame: Frame | None
    encode_ms: float


@dataclass(frozen=True, slots=True)
class Shown:
    """What a receiver has after one frame, and what its numbers say; None where no expression has come yet."""

    frame: bytes
    face: ShownFace
    meaning: Meaning | None
    provenance: Provenance


@dataclass(slots=True)
class Refresh:
    """Whether the receiver has asked for a key frame with all portions."""

    wanted: bool = False

    def take(self) -> bool:
        """Return whether it has, and forget it."""
        wanted, self.wanted = self.wanted, False
        return wanted


class Follower:
    """Follows one face of a moving picture: the largest at first, then that one for as long as it is seen."""

    def __init__(self) -> None:
        """Follow nobody yet."""
        self._track: int | None = None
        self._missed = 0

    def choose(self, extraction: Extraction) -> tuple[Face | None, bool]:
        """Return the face that is followed, None where it is not seen or too poor, and whether it is another one."""
        good = extraction.good_faces
        same = next((face for face in good if face.track_id == self._track), None)
        if same is not None:
            self._missed = 0
            return same, False
        self._missed += 1
        if not good or (self._track is not None and self._missed <= PATIENCE):
            return None, False
        chosen = extraction.largest
        self._track, self._missed = chosen.track_id, 0
        return chosen, True


class Sessions:
    """Codes a moving face. A session of the codec that has ended for want of frames is followed by a new one."""

    def __init__(self, codec: AsyncClient, quality: str | int | None, portions: Portion) -> None:
        """Code ``portions`` at ``quality``, None being the session's own."""
        self._codec, self._quality, self._portions = codec, quality, portions
        self._moments: asyncio.Queue[Moment] = asyncio.Queue()
        self._frames: AsyncGenerator[Frame] | None = None

    async def encode(self, moment: Moment) -> Frame:
        """Return the frame of ``moment``; the first of a session is a key with all portions."""
        try:
            return await self._next(moment)
        except CallError as error:
            if error.reason is not Reason.DEADLINE_EXCEEDED:
                raise
        await self.end()
        return await self._next(moment)

    async def end(self) -> None:
        """End the session; the next frame begins another one."""
        if self._frames is not None:
            await self._frames.aclose()
            self._frames = None

    async def _next(self, moment: Moment) -> Frame:
        if self._frames is None:
            self._moments = asyncio.Queue()
            frames = self._codec.encode_stream(_all_of(self._moments), quality=self._quality, portions=self._portions)
            self._frames = cast(AsyncGenerator[Frame], frames)
        self._moments.put_nowait(moment)
        return await anext(self._frames)


async def send(
    services: Services,
    photographs: AsyncIterator[bytes],
    refresh: Refresh,
    quality: str | int | None = None,
    portions: Portion = Portion.ALL,
) -> AsyncIterator[Sent]:
    """Yield what becomes of each of ``photographs``, in their order: the frames are those of one moving face."""
    follower, sessions = Follower(), Sessions(services.codec, quality, portions)
    extractions = cast(AsyncGenerator[Extraction], services.extraction.extract_stream(photographs))
    try:
        async with aclosing(extractions):
            async for extraction in extractions:
                start = time.perf_counter()
                face, another = follower.choose(extraction)
                frame = None
                if face is not None:
                    # Taken first: what was asked for is answered by this frame, also where the face is another one.
                    asked = refresh.take()
                    frame = await sessions.encode(Moment(face.descriptors, refresh=asked or another))
                yield Sent(extraction, face, frame, 1e3 * (time.perf_counter() - start))
    finally:
        await sessions.end()


async def receive(services: Services, frames: AsyncIterator[bytes]) -> AsyncIterator[Shown]:
    """Yield what a receiver has after each of ``frames``; no bytes say that one was lost."""
    taken: asyncio.Queue[bytes] = asyncio.Queue()

    async def noted() -> AsyncIterator[bytes]:
        async for frame in frames:
            taken.put_nowait(frame)
            yield frame

    decoded = cast(AsyncGenerator[ShownFace], services.codec.decode_stream(noted()))
    async with aclosing(decoded):
        async for shown in decoded:
            meaning: Meaning | None = None
            provenance = Provenance()
            if shown.face is not None and shown.state is FrameState.DECODED:
                pipeline = Pipeline(services, provenance)
                if Portion.EXPRESSION in shown.face.portions:
                    described = Described(shown.face.descriptors, shown.face.portions)
                    meaning = await pipeline.understand_described(described, ["expression"])
            yield Shown(taken.get_nowait(), shown, meaning, provenance)


async def _all_of(queue: "asyncio.Queue[Moment]") -> AsyncIterator[Moment]:
    while True:
        yield await queue.get()
