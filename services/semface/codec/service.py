"""The gRPC service of the codec: a thin adapter over its core."""

from collections.abc import AsyncIterator
from functools import lru_cache, partial
from types import MappingProxyType
from typing import Any, Final

import grpc
import numpy as np

from semface.codec.bitstream import CHECK_BYTES, PREDICTED_OVERHEAD_BITS, is_predicted, outline
from semface.codec.core import CODEC_NAME, CODEC_VERSION, Codec, Decoded
from semface.codec.prior import Quality
from semface.codec.session import FrameState, SessionDecoder, SessionEncoder, Shown
from semface.codec.settings import CodecSettings
from semface.descriptors import DESCRIPTOR_SIZE, Portion
from semface.errors import Reason, SemfaceError
from semface.inference.engine import Engine
from semface.messages import (
    PORTIONS,
    pack_descriptors,
    pack_model,
    pack_portions,
    require_items,
    unpack_all_descriptors,
    unpack_descriptors,
    unpack_portions,
)
from semface.rpc.server import Service
from semface.rpc.timing import CallClock, current_clock
from semface.v1 import codec_pb2, codec_pb2_grpc, descriptors_pb2

SERVICE_NAME: Final = "semface.v1.CodecService"

_STATES: Final = MappingProxyType(
    {
        FrameState.DECODED: codec_pb2.FRAME_STATE_DECODED,
        FrameState.CONCEALED: codec_pb2.FRAME_STATE_CONCEALED,
        FrameState.WAITING: codec_pb2.FRAME_STATE_WAITING,
    }
)

Context = grpc.aio.ServicerContext[Any, Any]


class CodecService(codec_pb2_grpc.CodecServiceServicer):
    """``semface.v1.CodecService``."""

    def __init__(self, codec: Codec, max_faces: int) -> None:
        """Answer with ``codec`` for at most ``max_faces`` faces or frames a call."""
        self._codec = codec
        self._max_faces = max_faces
        self._has_passed = False

    @property
    def _model(self) -> descriptors_pb2.Model:
        return _packed_model(self._codec.model_hash, self._codec.engine.name)

    async def Encode(self, request: codec_pb2.EncodeRequest, context: Context) -> codec_pb2.EncodeResponse:
        """Code each face into a frame that stands alone."""
        require_items(len(request.faces), "faces", self._max_faces)
        bits = request.target_bits if request.HasField("target_bits") else None
        quality = None if bits is not None else self._quality(request)
        portions = unpack_portions(request.portions, "portions")
        values, present = unpack_all_descriptors(request.faces, "faces")
        for index, held in enumerate(present):
            _require(portions, held, f"faces[{index}]")
        with current_clock().inference():
            frames = await self._codec.encode(values, quality, portions, bits=bits)
        return codec_pb2.EncodeResponse(
            frames=[self._frame(data) for data in frames], model=self._model, timings=current_clock().timings()
        )

    async def Decode(self, request: codec_pb2.DecodeRequest, context: Context) -> codec_pb2.DecodeResponse:
        """Decode frames that stand alone."""
        require_items(len(request.frames), "frames", self._max_faces)
        self._require_own(request.model_hash)
        with current_clock().inference():
            faces = await self._codec.decode(list(request.frames))
        return codec_pb2.DecodeResponse(
            faces=[_face(face) for face in faces], model=self._model, timings=current_clock().timings()
        )

    async def EncodeStream(
        self, request_iterator: AsyncIterator[codec_pb2.EncodeStreamRequest], context: Context
    ) -> AsyncIterator[codec_pb2.EncodeStreamResponse]:
        """Code a moving face, frame by frame."""
        encoder, portions = None, Portion.ALL
        async for request in request_iterator:
            clock = CallClock()
            if encoder is None:
                portions = unpack_portions(request.portions, "portions")
                asked = self._quality(request) if request.WhichOneof("quality") else None
                encoder = SessionEncoder(self._codec, asked, portions)
            values, present = unpack_descriptors(request.face, "face")
            _require(portions, present, "face")
            with clock.inference():
                data = await encoder.encode(values, refresh=request.refresh)
            frame = self._predicted(data, encoder.quality) if is_predicted(data) else self._frame(data)
            yield codec_pb2.EncodeStreamResponse(frame=frame, model=self._model, timings=clock.timings())

    async def DecodeStream(
        self, request_iterator: AsyncIterator[codec_pb2.DecodeStreamRequest], context: Context
    ) -> AsyncIterator[codec_pb2.DecodeStreamResponse]:
        """Decode the frames of a moving face; what is lost is concealed."""
        decoder = None
        async for request in request_iterator:
            clock = CallClock()
            if decoder is None:
                self._require_own(request.model_hash)
                decoder = SessionDecoder(self._codec)
            with clock.inference():
                try:
                    shown = await decoder.decode(request.frame)
                except SemfaceError as error:
                    raise SemfaceError(error.reason, f"frame: {error.message}", field="frame") from error
            yield codec_pb2.DecodeStreamResponse(
                face=_shown_face(shown), model=self._model, timings=clock.timings(), state=_STATES[shown.state]
            )

    async def canary(self) -> None:
        """Code and decode one face; raises when that fails."""
        frames = await self._codec.encode(np.zeros((1, DESCRIPTOR_SIZE), np.float32))
        await self._codec.decode(frames)
        if not self._has_passed:
            self._codec.refresh()
            self._has_passed = True

    def _require_own(self, model_hash: int) -> None:
        if model_hash not in (0, self._model.hash):
            message = f"the frames were made by the codec model {model_hash:016x}, this service decodes "
            raise SemfaceError(Reason.MODEL_MISMATCH, f"{message}{self._model.hash:016x}", field="model_hash")

    def _quality(self, request: codec_pb2.EncodeRequest | codec_pb2.EncodeStreamRequest) -> int:
        """Return the number of the quality asked for; raises FIELD_INVALID for an unknown one."""
        field = request.WhichOneof("quality")
        try:
            return self._codec.quality(getattr(request, field) if field else None).index
        except SemfaceError as error:
            raise SemfaceError(error.reason, f"{field}: {error.message}", field=field) from error

    def _frame(self, data: bytes) -> codec_pb2.Frame:
        found = outline(data)
        payloads = [
            codec_pb2.Payload(portion=PORTIONS[portion], bits=8 * (size + CHECK_BYTES))
            for portion, size in found.sizes.items()
        ]
        return codec_pb2.Frame(
            data=data,
            header_bits=8 * len(data) - sum(payload.bits for payload in payloads),
            payloads=payloads,
            quality_name=self._codec.quality(found.quality).name,
            quality_number=found.quality,
            type=codec_pb2.FRAME_TYPE_KEY,
        )

    def _predicted(self, data: bytes, quality: Quality) -> codec_pb2.Frame:
        bits = 8 * len(data) - PREDICTED_OVERHEAD_BITS
        return codec_pb2.Frame(
            data=data,
            header_bits=PREDICTED_OVERHEAD_BITS,
            payloads=[codec_pb2.Payload(portion=PORTIONS[Portion.EXPRESSION], bits=bits)],
            quality_name=quality.name,
            quality_number=quality.index,
            type=codec_pb2.FRAME_TYPE_PREDICTED,
        )


def services(engine: Engine, settings: CodecSettings) -> list[Service]:
    """Return the codec service over ``engine``. Raises MODEL_UNKNOWN when the repository has no codec."""
    codec = Codec(engine, settings.model_repository, settings.codec_default_quality)
    service = CodecService(codec, settings.codec_max_faces)
    return [Service(SERVICE_NAME, partial(codec_pb2_grpc.add_CodecServiceServicer_to_server, service), service.canary)]


@lru_cache(maxsize=8)
def _packed_model(model_hash: str, engine: str) -> descriptors_pb2.Model:
    """Return how the codec model of ``model_hash``, run by ``engine``, is told to callers."""
    return pack_model(CODEC_NAME, CODEC_VERSION, model_hash, engine)


def _face(decoded: Decoded) -> codec_pb2.DecodedFace:
    return codec_pb2.DecodedFace(
        descriptors=pack_descriptors(decoded.descriptors, decoded.portions),
        portions=pack_portions(decoded.portions),
        quality_name=decoded.quality.name,
        quality_number=decoded.quality.index,
    )


def _shown_face(shown: Shown) -> codec_pb2.DecodedFace | None:
    if shown.quality is None:
        return None
    return _face(Decoded(shown.descriptors, shown.portions, shown.quality))


def _require(asked: Portion, held: Portion, field: str) -> None:
    """Raise GROUP_ABSENT unless a face that holds the portions ``held`` has all that are ``asked`` for."""
    if asked not in held:
        message = f"{field}: groups of a portion that is asked for are absent"
        raise SemfaceError(Reason.GROUP_ABSENT, message, field=field)
