"""The codec: descriptors to frames and back, over the two networks g_a and g_s and the frozen prior."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import ArrayLike

from semface.codec.bitstream import PORTION_ORDER, pack, unpack
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
from semface.descriptors import DESCRIPTOR_SIZE, PORTION_SLICES, Descriptors, Portion, validate
from semface.errors import Reason, SemfaceError
from semface.inference.engine import Engine

CODEC_NAME: Final = "codec"
"""Under this name the codec model (g_a, g_s and the prior together) is told to callers."""

CODEC_VERSION: Final = MODEL_VERSION

# Entropy coding holds the event loop for about 0.1 ms a face: let others in between.
_FACES_BETWEEN_YIELDS: Final = 32


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
        self._engine = engine
        self.prior = Prior.load(repository)
        self.default_quality = self.prior.find(default_quality)
        self.model_hash = codec_model_hash(repository)
        """SHA-256 of the codec model, hexadecimal; messages carry its first 8 bytes, checks of payloads are seeded with
        them."""
        self._hash = bytes.fromhex(self.model_hash)

    def quality(self, quality: str | int | None) -> Quality:
        """Return the quality of this name or number, the codec's default for None. Raises FIELD_INVALID."""
        return self.default_quality if quality is None else self.prior.find(quality)

    async def encode(
        self, descriptors: ArrayLike, quality: str | int | None = None, portions: Portion = Portion.ALL
    ) -> list[bytes]:
        """Return a frame for each of ``descriptors`` (N, 257) with the payloads of ``portions`` (at least one).

        Numbers far outside those of real faces are coded as the farthest that the model knows. Raises DESCRIPTOR_SHAPE,
        NOT_FINITE, or FIELD_INVALID for an unknown quality.
        """
        faces, chosen = validate(descriptors), self.quality(quality)
        if not portions:
            raise SemfaceError(Reason.FIELD_INVALID, "at least one portion has to be coded", field="portions")
        if not len(faces):
            return []
        latents = (await self._engine.infer(ANALYSIS_MODEL, {"descriptors": faces}))["latents"]
        return await self._frames(latents, chosen, portions)

    async def decode(self, frames: Sequence[bytes]) -> list[Decoded]:
        """Return what each frame carried.

        Raises BITSTREAM_CORRUPT (also for another codec model's frame), BITSTREAM_VERSION or BITSTREAM_TOO_LARGE with
        the field ``frames[i]``.
        """
        if not frames:
            return []
        latents = np.zeros((len(frames), LATENT_SIZE), np.float32)
        carried = []
        for index, frame in enumerate(frames):
            carried.append(self._read(frame, latents[index], f"frames[{index}]"))
            if index % _FACES_BETWEEN_YIELDS == _FACES_BETWEEN_YIELDS - 1:
                await asyncio.sleep(0)
        values = (await self._engine.infer(SYNTHESIS_MODEL, {"latents": latents}))["descriptors"]
        decoded = []
        for value, (portions, quality) in zip(values, carried, strict=True):
            descriptors = np.zeros(DESCRIPTOR_SIZE, np.float32)
            for portion in portions:
                descriptors[PORTION_SLICES[portion]] = value[PORTION_SLICES[portion]]
            decoded.append(Decoded(descriptors, portions, quality))
        return decoded

    async def _frames(self, latents: Latents, quality: Quality, portions: Portion) -> list[bytes]:
        priors = {portion: quality.portions[portion] for portion in PORTION_ORDER if portion in portions}
        symbols = {portion: prior.quantise(latents) for portion, prior in priors.items()}
        frames = []
        for index in range(len(latents)):
            payloads = {portion: prior.tables.encode(symbols[portion][index]) for portion, prior in priors.items()}
            frames.append(pack(quality.index, payloads, self._hash))
            if index % _FACES_BETWEEN_YIELDS == _FACES_BETWEEN_YIELDS - 1:
                await asyncio.sleep(0)
        return frames

    def _read(self, frame: bytes, latents: Latents, field: str) -> tuple[Portion, Quality]:
        """Write the dequantised latents of ``frame`` into ``latents`` (256,)."""
        portions = Portion(0)
        try:
            index, payloads = unpack(frame, self._hash)
            if index >= len(self.prior.qualities):
                raise SemfaceError(Reason.BITSTREAM_CORRUPT, "the frame names a quality that this codec model has not")
            quality = self.prior.qualities[index]
            for portion, payload in payloads.items():
                prior = quality.portions[portion]
                latents[prior.latents] = prior.dequantise(prior.tables.decode(payload))
                portions |= portion
        except SemfaceError as error:
            raise SemfaceError(error.reason, f"{field}: {error.message}", field=field) from error
        return portions, quality
