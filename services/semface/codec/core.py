"""The codec: descriptors to frames and back, over the two networks g_a and g_s and the frozen prior."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import ArrayLike

from semface.codec.batch_coding import DamagedPayload
from semface.codec.bitstream import CHECK_BYTES, PORTION_ORDER, damaged_payload, first_damaged, pack_all, split
from semface.codec.prior import (
    ANALYSIS_MODEL,
    LATENT_SIZE,
    MODEL_VERSION,
    SYNTHESIS_MODEL,
    Latents,
    Prior,
    Quality,
    codec_model_hash,
)
from semface.descriptors import PORTION_SLICES, Descriptors, Portion, union, validate
from semface.errors import Reason, SemfaceError
from semface.inference.engine import Engine
from semface.tracing.spans import span

CODEC_NAME: Final = "codec"
"""Under this name the codec model (g_a, g_s and the prior together) is told to callers."""

CODEC_VERSION: Final = MODEL_VERSION

# Entropy coding holds the event loop for some 0.03 ms a face: let others in between.
_FACES_BETWEEN_YIELDS: Final = 512


@dataclass(frozen=True, slots=True)
class Decoded:
    """What one frame carried."""

    descriptors: Descriptors
    """The 257 numbers, those of absent portions 0."""
    portions: Portion
    """The portions that the frame carried."""
    quality: Quality


class Codec:
    """Codes descriptors to frames and back."""

    def __init__(self, engine: Engine, repository: Path, default_quality: str | int | None = None) -> None:
        """Run the networks in ``engine``; prior and hash are read from ``repository``.

        ``default_quality``: name or number, None for the model's own. Raises MODEL_UNKNOWN when ``repository`` has no
        whole codec model, FIELD_INVALID when it has no such quality.
        """
        self.engine = engine
        self._repository = repository
        self._named_quality = default_quality
        self._take(codec_model_hash(repository))

    def _take(self, model_hash: str) -> None:
        self.prior = Prior.load(self._repository)
        self.default_quality = self.prior.find(self._named_quality)
        self.model_hash = model_hash
        """SHA-256 of the codec model, hexadecimal; messages carry its first 8 bytes, checks of payloads are seeded with
        them."""
        self._hash = bytes.fromhex(self.model_hash)

    def refresh(self) -> None:
        """Read prior and hash again where the files have changed; to be called once both networks have loaded.

        A repository that was still being written when this began had another hash, which no other codec shares.
        """
        model_hash = codec_model_hash(self._repository)
        if model_hash != self.model_hash:
            self._take(model_hash)

    def quality(self, quality: str | int | None) -> Quality:
        """Return the quality of this name or number, the codec's default for None. Raises FIELD_INVALID."""
        return self.default_quality if quality is None else self.prior.find(quality)

    async def encode(
        self,
        descriptors: ArrayLike,
        quality: str | int | None = None,
        portions: Portion = Portion.ALL,
        *,
        bits: int | None = None,
    ) -> list[bytes]:
        """Return a frame for each of ``descriptors`` (N, 257) with the payloads of ``portions`` (at least one).

        ``bits`` is a target in place of a quality: each face is coded at the finest quality at which its whole frame
        takes no more, at the coarsest where none does. Numbers far outside those of real faces are coded as the
        farthest that the model knows. Raises DESCRIPTOR_SHAPE, NOT_FINITE, or FIELD_INVALID for an unknown quality, a
        target below 1, or both at once.
        """
        faces, chosen = validate(descriptors), self.quality(quality)
        if bits is not None and (quality is not None or bits < 1):
            message = "a target is at least 1 bit" if quality is None else "name either a quality or a target in bits"
            raise SemfaceError(Reason.FIELD_INVALID, message, field="bits")
        if not portions:
            raise SemfaceError(Reason.FIELD_INVALID, "at least one portion has to be coded", field="portions")
        if not len(faces):
            return []
        with span("encode"):
            latents = await self.analyse(faces)
            if bits is None:
                return await self._frames(latents, chosen, portions)
            return await self._frames_within(latents, bits, portions)

    async def decode(self, frames: Sequence[bytes]) -> list[Decoded]:
        """Return what each frame carried.

        Raises BITSTREAM_CORRUPT (also for another codec model's frame), BITSTREAM_VERSION or BITSTREAM_TOO_LARGE with
        the field ``frames[i]``.
        """
        if not frames:
            return []
        with span("decode"):
            latents, carried = await self.read(frames)
            values = (await self.engine.infer(SYNTHESIS_MODEL, {"latents": latents}))["descriptors"]
        return [
            Decoded(_only(value, portions), portions, quality)
            for value, (portions, quality) in zip(values, carried, strict=True)
        ]

    async def read(self, frames: Sequence[bytes]) -> tuple[Latents, list[tuple[Portion, Quality]]]:
        """Return the latents (N, 256) of ``frames``, 0 where absent, and what each carried; raises as ``decode``."""
        latents = np.zeros((len(frames), LATENT_SIZE), np.float32)
        carried: list[tuple[Portion, Quality]] = []
        with span("read"):
            for start in range(0, len(frames), _FACES_BETWEEN_YIELDS):
                if start:
                    await asyncio.sleep(0)
                end = start + _FACES_BETWEEN_YIELDS
                carried += self._read(frames[start:end], latents[start:end], start)
        return latents, carried

    async def analyse(self, faces: Descriptors) -> Latents:
        """Return the latents (N, 256) that g_a makes of ``faces`` (N, 257)."""
        return (await self.engine.infer(ANALYSIS_MODEL, {"descriptors": faces}))["latents"]

    async def synthesise(self, latents: Latents, portions: Portion) -> Descriptors:
        """Return the numbers (N, 257) that g_s makes of ``latents`` (N, 256); 0 where they are not of ``portions``."""
        return _only((await self.engine.infer(SYNTHESIS_MODEL, {"latents": latents}))["descriptors"], portions)

    async def _frames_within(self, latents: Latents, bits: int, portions: Portion) -> list[bytes]:
        coarsest, *finer = self.prior.qualities
        frames = await self._frames(latents, coarsest, portions)
        # Those of a finer quality take their place where they fit; none is finer than the last.
        for quality in finer:
            for index, frame in enumerate(await self._frames(latents, quality, portions)):
                if 8 * len(frame) <= bits:
                    frames[index] = frame
        return frames

    async def _frames(self, latents: Latents, quality: Quality, portions: Portion) -> list[bytes]:
        frames = []
        for start in range(0, len(latents), _FACES_BETWEEN_YIELDS):
            if start:
                await asyncio.sleep(0)
            some = latents[start : start + _FACES_BETWEEN_YIELDS]
            payloads = {}
            for portion in PORTION_ORDER:
                if portion in portions:
                    prior = quality.portions[portion]
                    payloads[portion] = prior.tables.encode_all(prior.quantise(some))
            frames += pack_all(quality.index, payloads, self._hash)
        return frames

    def _read(self, frames: Sequence[bytes], latents: Latents, offset: int) -> list[tuple[Portion, Quality]]:
        """Write the dequantised latents of ``frames`` into ``latents`` (N, 256); return what each frame carried.

        ``offset`` is the first frame's place among all. Payloads of one portion and quality are read together.
        """
        carried = []
        groups: dict[tuple[int, Portion], list[tuple[int, bytes]]] = {}
        for index, frame in enumerate(frames):
            try:
                number, bodies = split(frame)
                if number >= len(self.prior.qualities):
                    message = "the frame names a quality that this codec model has not"
                    raise SemfaceError(Reason.BITSTREAM_CORRUPT, message)
            except SemfaceError as error:
                raise _at(offset + index, error) from error
            for portion, body in bodies:
                groups.setdefault((number, portion), []).append((index, body))
            carried.append((union(portion for portion, _ in bodies), self.prior.qualities[number]))
        for (number, portion), found in groups.items():
            indices, checked = [index for index, _ in found], [body for _, body in found]
            damaged = first_damaged(number, portion, checked, self._hash)
            if damaged is not None:
                raise _at(offset + indices[damaged], damaged_payload(portion))
            prior = self.prior.qualities[number].portions[portion]
            try:
                symbols = prior.tables.decode_all([body[:-CHECK_BYTES] for body in checked])
            except DamagedPayload as error:
                raise _at(offset + indices[error.index], damaged_payload(portion)) from error
            latents[np.array(indices)[:, None], prior.latents] = prior.dequantise(symbols)
        return carried


def _at(index: int, error: SemfaceError) -> SemfaceError:
    """Return ``error`` as that of frame ``index`` of the call."""
    field = f"frames[{index}]"
    return SemfaceError(error.reason, f"{field}: {error.message}", field=field)


def _only(values: Descriptors, portions: Portion) -> Descriptors:
    """Return the numbers (…, 257) of ``portions``, the others 0."""
    if portions is Portion.ALL:
        return values
    kept = np.zeros_like(values)
    for portion in portions:
        kept[..., PORTION_SLICES[portion]] = values[..., PORTION_SLICES[portion]]
    return kept
