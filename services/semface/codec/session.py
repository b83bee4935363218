"""A session for a talking face: a key frame, then frames that tell what changed in expression and pose.

Identity and light travel in key frames only. A predicted frame is read after the ones before it or not at all: where
one is missing or damaged, the decoder holds the last face until the next key frame.
"""

import hashlib
from dataclasses import dataclass, replace
from enum import Enum
from typing import Final, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from semface.codec.bitstream import (
    HASH_BYTES,
    MAX_PREDICTED,
    PORTION_ORDER,
    is_predicted,
    pack,
    pack_predicted,
    unpack,
    unpack_predicted,
)
from semface.codec.core import Codec
from semface.codec.entropy import Symbols
from semface.codec.prediction import Motion
from semface.codec.prior import LATENT_SIZE, PORTION_LATENTS, PortionPrior, Quality
from semface.codec.steering import BIT_WEIGHT, Steering
from semface.descriptors import DESCRIPTOR_SIZE, Descriptors, Portion, validate
from semface.errors import Reason, SemfaceError

KEY_INTERVAL: Final = 250
"""A key frame comes at least so often, in frames: each 10 s at 25 frames a second."""


class FrameState(Enum):
    """What became of a frame at the receiver."""

    DECODED = "decoded"
    CONCEALED = "concealed"
    """Lost, damaged or without the frames before it: the last face is held."""
    WAITING = "waiting"
    """The same before the first key frame: there is no face yet."""


@dataclass(frozen=True, slots=True)
class Shown:
    """What a receiver has after a frame."""

    descriptors: Descriptors
    """(257,); those of portions that never came are 0."""
    portions: Portion
    """The portions that the session has had so far."""
    quality: Quality | None
    """None while waiting."""
    state: FrameState


@dataclass(frozen=True, slots=True)
class _Chain:
    """A key frame and what followed: what the next predicted frame hangs on."""

    quality: Quality
    motion: Motion
    seed: bytes
    """Of the checks: the codec model's hash and a byte of the key frame's payload."""
    number: int = 0
    """Of predicted frames since the key frame."""
    series: int | None = None
    """0 or 1, turned over with each key frame; None until a predicted frame has told."""

    @classmethod
    def begin(cls, quality: Quality, payload: bytes, symbols: Symbols, model_hash: bytes) -> Self:
        """Return the chain that a key frame begins with this ``payload`` of expression, coding ``symbols`` (n,)."""
        told = hashlib.sha256(bytes((quality.index,)) + payload).digest()[:1]
        return cls(quality, Motion.after_key(symbols), model_hash[:HASH_BYTES] + told)

    @property
    def prior(self) -> PortionPrior:
        """The tables of expression."""
        return self.quality.portions[Portion.EXPRESSION]

    @property
    def reference(self) -> bytes:
        """What the check of the next predicted frame vouches for."""
        return self.seed + bytes((self.number + 1,))

    def followed(self, differences: NDArray[np.int64], series: int) -> "_Chain":
        """Return the chain after a predicted frame of ``differences`` (n,)."""
        return _Chain(self.quality, self.motion.moved(differences), self.seed, self.number + 1, series)


def session_quality(codec: Codec) -> Quality:
    """Return the quality of sessions that name none: the third finest, at which a moving face's expression holds."""
    return codec.prior.qualities[max(0, len(codec.prior.qualities) - 3)]


class SessionEncoder:
    """The sender of one moving face."""

    def __init__(
        self,
        codec: Codec,
        quality: str | int | None = None,
        portions: Portion = Portion.ALL,
        *,
        key_interval: int = KEY_INTERVAL,
        bit_weight: float = BIT_WEIGHT,
    ) -> None:
        """Code ``portions`` at ``quality`` (a name or number; None: ``session_quality``), a key each ``key_interval``.

        ``bit_weight`` trades bits for nearness (:mod:`semface.codec.steering`): more is smaller and less exact.
        Raises FIELD_INVALID for an unknown quality, portions without expression, or a ``key_interval`` beyond 1…256.
        """
        if Portion.EXPRESSION not in portions:
            raise SemfaceError(Reason.FIELD_INVALID, "a session needs the portion expression", field="portions")
        if not 1 <= key_interval <= MAX_PREDICTED + 1:
            message = f"a key frame has to come each 1 to {MAX_PREDICTED + 1} frames"
            raise SemfaceError(Reason.FIELD_INVALID, message, field="key_interval")
        self._codec, self._portions = codec, portions
        self.quality = session_quality(codec) if quality is None else codec.quality(quality)
        self._interval, self._steering = key_interval, Steering(codec, bit_weight)
        self._chain: _Chain | None = None

    async def encode(self, descriptors: ArrayLike, *, refresh: bool = False, key: bool = False) -> bytes:
        """Return the next frame, of ``descriptors`` (257,).

        The first frame is a key with all portions, and so is one with ``refresh``; later keys leave identity out. A key
        also comes with ``key``, as after moments of which nothing was sent, and where the face moves farther than
        differences reach. Raises DESCRIPTOR_SHAPE or NOT_FINITE.
        """
        face, chain = validate(descriptors)[0], self._chain
        if chain is None or refresh:
            return await self._key(face, self._portions)
        differences = None
        if not key and chain.number + 1 < self._interval:
            differences = await self._steering.choose(chain.prior, chain.motion, face)
        if differences is None:
            return await self._key(face, self._portions & ~Portion.IDENTITY)
        series = chain.series or 0
        self._chain = chain.followed(differences, series)
        return pack_predicted(series, chain.motion.encode(differences), chain.reference)

    async def _key(self, face: Descriptors, portions: Portion) -> bytes:
        latents = await self._codec.analyse(face[None])
        priors = {portion: self.quality.portions[portion] for portion in PORTION_ORDER if portion in portions}
        symbols = {portion: prior.quantise(latents)[0] for portion, prior in priors.items()}
        payloads = {portion: prior.tables.encode(symbols[portion]) for portion, prior in priors.items()}
        model_hash = bytes.fromhex(self._codec.model_hash)
        moved, payload = symbols[Portion.EXPRESSION], payloads[Portion.EXPRESSION]
        series = 0 if self._chain is None else 1 - (self._chain.series or 0)
        self._chain = replace(_Chain.begin(self.quality, payload, moved, model_hash), series=series)
        return pack(self.quality.index, payloads, model_hash)


class SessionDecoder:
    """The receiver of one moving face; may join at any key frame."""

    def __init__(self, codec: Codec) -> None:
        """Decode with ``codec``."""
        self._codec = codec
        self._hash = bytes.fromhex(codec.model_hash)
        self._chain: _Chain | None = None
        self._quality: Quality | None = None
        self._portions = Portion(0)
        self._latents = np.zeros(LATENT_SIZE, np.float32)
        self._descriptors = np.zeros(DESCRIPTOR_SIZE, np.float32)

    async def decode(self, frame: bytes | None) -> Shown:
        """Return the face after ``frame``; None or no bytes say that a frame was lost on the way.

        A frame that is damaged, or whose predecessors did not all come, changes nothing: the face is held until the
        next key frame. Raises BITSTREAM_TOO_LARGE and BITSTREAM_VERSION; the session goes on after them.
        """
        try:
            if not frame:
                raise SemfaceError(Reason.BITSTREAM_CORRUPT, "the frame was lost")
            if is_predicted(frame):
                self._read_predicted(frame)
            else:
                self._read_key(frame)
        except SemfaceError as error:
            # What comes now hangs on a frame that was not read.
            self._chain = None
            if error.reason is not Reason.BITSTREAM_CORRUPT:
                raise
            return self._shown(FrameState.CONCEALED if self._portions else FrameState.WAITING)
        self._descriptors = (await self._codec.synthesise(self._latents[None], self._portions))[0]
        return self._shown(FrameState.DECODED)

    def _read_key(self, frame: bytes) -> None:
        number, payloads = unpack(frame, self._hash)
        if number >= len(self._codec.prior.qualities):
            raise SemfaceError(Reason.BITSTREAM_CORRUPT, "the frame names a quality that this codec model has not")
        quality = self._codec.prior.qualities[number]
        symbols = {portion: quality.portions[portion].tables.decode(payloads[portion]) for portion in payloads}
        for portion, found in symbols.items():
            self._latents[PORTION_LATENTS[portion]] = 0
            self._show(quality.portions[portion], found)
            self._portions |= portion
        self._quality = self._quality or quality
        # Without expression a frame only refreshes the rest: the chain goes on.
        if Portion.EXPRESSION in symbols:
            self._quality = quality
            self._chain = _Chain.begin(quality, payloads[Portion.EXPRESSION], symbols[Portion.EXPRESSION], self._hash)

    def _read_predicted(self, frame: bytes) -> None:
        chain = self._chain
        if chain is None or chain.number == MAX_PREDICTED:
            raise SemfaceError(Reason.BITSTREAM_CORRUPT, "the frames before this one did not all come")
        series, payload = unpack_predicted(frame, chain.reference)
        differences = chain.motion.decode(payload)
        symbols = chain.motion.latents + differences
        if (
            chain.series not in (None, series)
            or symbols.min(initial=0) < 0
            or symbols.max(initial=0) >= chain.prior.tables.symbols
        ):
            raise SemfaceError(Reason.BITSTREAM_CORRUPT, "the predicted frame is damaged, or one before it is missing")
        self._chain = chain.followed(differences, series)
        self._show(chain.prior, symbols.astype(np.int32))

    def _show(self, prior: PortionPrior, symbols: Symbols) -> None:
        self._latents[prior.latents] = prior.dequantise(symbols)

    def _shown(self, state: FrameState) -> Shown:
        return Shown(self._descriptors, self._portions, self._quality, state)
