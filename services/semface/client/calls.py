"""Each method as a call: its request from arrays, and its answer back to arrays. Both clients run the same calls."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from types import MappingProxyType
from typing import Any, Final, Generic, TypeVar

import numpy as np
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2, health_pb2_grpc
from numpy.typing import ArrayLike, NDArray

from semface.client import answers
from semface.descriptors import Portion, validate
from semface.errors import Reason, SemfaceError
from semface.meaning import DEFAULT_OPERATING_POINT, EMBEDDING_SIZE, OperatingPoint
from semface.messages import (
    pack_descriptors,
    pack_portions,
    pack_vector,
    unpack_descriptors,
    unpack_portions,
    unpack_vector,
)
from semface.recognisers import ATTRIBUTE_IMAGES, CROP_SIZE, Seen, find_recogniser
from semface.v1 import (
    codec_pb2,
    codec_pb2_grpc,
    descriptors_pb2,
    extraction_pb2,
    extraction_pb2_grpc,
    understanding_pb2,
    understanding_pb2_grpc,
)

Answer = TypeVar("Answer")
Number = TypeVar("Number")

FaceLike = ArrayLike | bytes
"""A face: its numbers (257,), or a bitstream frame."""


@dataclass(frozen=True, slots=True, eq=False)
class Moment:
    """A moving face at one moment; with ``refresh`` its frame is a key with all portions, as a receiver may ask for."""

    face: ArrayLike
    """(257,)."""
    refresh: bool = False


_OPERATING_POINTS: Final[Mapping[str, "understanding_pb2.OperatingPoint.ValueType"]] = MappingProxyType(
    {
        OperatingPoint.FAR_1E_2: understanding_pb2.OPERATING_POINT_FAR_1E_2,
        OperatingPoint.FAR_1E_3: understanding_pb2.OPERATING_POINT_FAR_1E_3,
        OperatingPoint.ACCURACY: understanding_pb2.OPERATING_POINT_ACCURACY,
    }
)
_TASKS: Final = MappingProxyType(
    {"expression": understanding_pb2.TASK_EXPRESSION, "embedding": understanding_pb2.TASK_EMBEDDING}
)


@dataclass(frozen=True, slots=True)
class Call(Generic[Answer]):
    """One request on its way."""

    stub: Callable[..., Any]
    method: str
    request: Message
    read: Callable[[Any], Answer]
    """Makes the answer from the response message."""


def extract(image: bytes, *, with_crops: bool = False) -> Call[answers.Extraction]:
    """Find and describe the faces of ``image`` (JPEG, PNG or WebP), ``with_crops`` of each where they are wanted."""
    request = extraction_pb2.ExtractRequest(image=image, with_crops=with_crops)
    return Call(extraction_pb2_grpc.ExtractionServiceStub, "Extract", request, read_extraction)


def read_scan(scan: bytes) -> Call[answers.ScanReading]:
    """Find the face of ``scan`` (an OBJ, PLY or glTF file) and draw its attribute images."""
    request = extraction_pb2.ReadScanRequest(scan=scan)
    return Call(extraction_pb2_grpc.ExtractionServiceStub, "ReadScan", request, _scan_reading)


def encode(
    descriptors: ArrayLike,
    *,
    quality: str | int | None = None,
    bits: int | None = None,
    portions: Portion = Portion.ALL,
) -> Call[answers.Encoding]:
    """Code ``portions`` of ``descriptors`` (N, 257) or (257,) at ``quality``, a name or number; None: default.

    ``bits`` in its place is a target: the finest quality at which a face's frame takes no more, else the coarsest.
    """
    request = codec_pb2.EncodeRequest(
        faces=[pack_descriptors(row, portions) for row in validate(descriptors)], portions=pack_portions(portions)
    )
    if isinstance(quality, str):
        request.quality_name = quality
    elif quality is not None:
        request.quality_number = quality
    if bits is not None:
        request.target_bits = bits
    return Call(codec_pb2_grpc.CodecServiceStub, "Encode", request, _encoding)


def decode(frames: Sequence[bytes], *, model_hash: int = 0) -> Call[answers.Decoding]:
    """Decode ``frames``; ``model_hash`` of the codec that made them lets another model's be told apart from damage."""
    request = codec_pb2.DecodeRequest(frames=frames, model_hash=model_hash)
    return Call(codec_pb2_grpc.CodecServiceStub, "Decode", request, _decoding)


def recognize(
    face: FaceLike, *, portions: Portion = Portion.ALL, codec_hash: int = 0, model: str = ""
) -> Call[answers.Recognition]:
    """Recognise the expression of ``face``; of its numbers only ``portions`` are sent. ``model`` "" is the default."""
    request = understanding_pb2.RecognizeRequest(face=_source(face, portions, codec_hash), model=model)
    return Call(understanding_pb2_grpc.ExpressionServiceStub, "Recognize", request, _recognition)


def recognize_view(view: NDArray[np.generic], *, model: str) -> Call[answers.Recognition]:
    """Recognise the expression of a face by how it looks: ``view`` is what ``model`` sees, such as a crop for ``dan``.

    Raises MODEL_UNKNOWN for a model that is none of ``RECOGNISERS``, FIELD_INVALID for one that looks at descriptors.
    """
    recogniser = find_recogniser(model)
    if recogniser.sees is Seen.DESCRIPTORS:
        raise SemfaceError(
            Reason.FIELD_INVALID, f"{recogniser.name} looks at descriptors; recognize asks it", field="model"
        )
    source = understanding_pb2.FaceSource()
    setattr(source, recogniser.sees.value, recogniser.pack(view))
    request = understanding_pb2.RecognizeRequest(face=source, model=model)
    return Call(understanding_pb2_grpc.ExpressionServiceStub, "Recognize", request, _recognition)


def embed(
    face: FaceLike, *, portions: Portion = Portion.ALL, codec_hash: int = 0, model: str = ""
) -> Call[answers.Embedding]:
    """Embed ``face`` for enrolment; of its numbers only ``portions`` are sent. ``model`` "" is the default."""
    request = understanding_pb2.EmbedRequest(face=_source(face, portions, codec_hash), model=model)
    return Call(
        understanding_pb2_grpc.VerificationServiceStub, "Embed", request, lambda answer: _embedding(answer.embedding)
    )


def compare(
    probe: FaceLike | answers.Embedding,
    reference: FaceLike | answers.Embedding,
    *,
    operating_point: str = DEFAULT_OPERATING_POINT,
    portions: Portion = Portion.ALL,
    codec_hash: int = 0,
    model: str = "",
) -> Call[answers.Comparison]:
    """Compare two faces or embeddings at ``operating_point``: ``far_1e-2``, ``far_1e-3`` or ``accuracy``."""
    request = understanding_pb2.CompareRequest(
        probe=_compared(probe, portions, codec_hash),
        reference=_compared(reference, portions, codec_hash),
        operating_point=_named(_OPERATING_POINTS, operating_point, "operating_point"),
        model=model,
    )
    return Call(understanding_pb2_grpc.VerificationServiceStub, "Compare", request, _comparison)


def understand(
    faces: Sequence[FaceLike],
    *,
    tasks: Sequence[str] = (),
    portions: Portion = Portion.ALL,
    codec_hash: int = 0,
    expression_model: str = "",
    verification_model: str = "",
) -> Call[answers.Understanding]:
    """Recognise and embed each of ``faces``; ``tasks`` (``expression``, ``embedding``) leaves one of the two out."""
    request = understanding_pb2.UnderstandRequest(
        faces=[_source(face, portions, codec_hash) for face in faces],
        tasks=[_named(_TASKS, task, "tasks") for task in tasks],
        expression_model=expression_model,
        verification_model=verification_model,
    )
    return Call(understanding_pb2_grpc.UnderstandingServiceStub, "Understand", request, _understanding)


def serving(service: str = "") -> Call[bool]:
    """Ask whether ``service`` (such as ``semface.v1.CodecService``; "" is all of the server) passes its canary."""
    request = health_pb2.HealthCheckRequest(service=service)
    return Call(health_pb2_grpc.HealthStub, "Check", request, _is_serving)


def _named(numbers: Mapping[str, Number], name: str, field: str) -> Number:
    if name not in numbers:
        raise SemfaceError(Reason.FIELD_INVALID, f"{field}: choose from {', '.join(numbers)}", field=field)
    return numbers[name]


def _source(face: FaceLike, portions: Portion, codec_hash: int) -> understanding_pb2.FaceSource:
    if isinstance(face, bytes):
        return understanding_pb2.FaceSource(bitstream=face, codec_hash=codec_hash)
    return understanding_pb2.FaceSource(descriptors=pack_descriptors(face, portions))


def _compared(face: FaceLike | answers.Embedding, portions: Portion, codec_hash: int) -> understanding_pb2.ComparedFace:
    if not isinstance(face, answers.Embedding):
        return understanding_pb2.ComparedFace(face=_source(face, portions, codec_hash))
    model = descriptors_pb2.Model(name=face.model.name, version=face.model.version, hash=face.model.hash)
    return understanding_pb2.ComparedFace(
        embedding=understanding_pb2.Embedding(vector=pack_vector(face.vector), model=model)
    )


def _model(message: descriptors_pb2.Model) -> answers.Model:
    return answers.Model(message.name, message.version, message.hash, message.engine)


def _timings(message: descriptors_pb2.Timings) -> answers.Timings:
    return answers.Timings(message.queue_ms, message.inference_ms, message.total_ms)


def read_extraction(
    message: extraction_pb2.ExtractResponse | extraction_pb2.ExtractStreamResponse,
) -> answers.Extraction:
    """Return the faces of a photograph, or of one frame of a stream."""
    return answers.Extraction(
        [_face(face, f"faces[{index}]") for index, face in enumerate(message.faces)],
        message.image_width,
        message.image_height,
        [_model(model) for model in message.models],
        _timings(message.timings),
        message.minimum_quality,
    )


def _face(message: extraction_pb2.Face, field: str) -> answers.Face:
    box, square = message.box, message.square
    return answers.Face(
        np.array([box.x0, box.y0, box.x1, box.y1], dtype=np.float32),
        np.array([square.x0, square.y0, square.side], dtype=np.float32),
        np.array([[point.x, point.y] for point in message.landmarks], dtype=np.float32),
        message.confidence,
        message.quality,
        unpack_descriptors(message.descriptors, f"{field}.descriptors")[0],
        message.track_id,
        message.id,
        _crop(message.crop, f"{field}.crop") if message.crop else None,
    )


def _scan_reading(message: extraction_pb2.ReadScanResponse) -> answers.ScanReading:
    size = 4 * prod(ATTRIBUTE_IMAGES)
    if len(message.attribute_images) != size:
        raise SemfaceError(Reason.DESCRIPTOR_SHAPE, f"attribute_images has {size} bytes", field="attribute_images")
    images = np.frombuffer(message.attribute_images, "<f4").reshape(ATTRIBUTE_IMAGES).astype(np.float32)
    models = [_model(model) for model in message.models]
    return answers.ScanReading(images, message.textured, message.covered, models, _timings(message.timings))


def _crop(data: bytes, field: str) -> NDArray[np.uint8]:
    if len(data) != 3 * CROP_SIZE**2:
        raise SemfaceError(Reason.DESCRIPTOR_SHAPE, f"{field}: a crop has {3 * CROP_SIZE**2} bytes", field=field)
    return np.frombuffer(data, np.uint8).reshape(CROP_SIZE, CROP_SIZE, 3)


def _encoding(message: codec_pb2.EncodeResponse) -> answers.Encoding:
    return answers.Encoding(
        [_frame(frame) for frame in message.frames], _model(message.model), _timings(message.timings)
    )


def _frame(message: codec_pb2.Frame) -> answers.Frame:
    payload_bits = {unpack_portions([payload.portion], "payloads"): payload.bits for payload in message.payloads}
    key = message.type == codec_pb2.FRAME_TYPE_KEY
    named = message.quality_name, message.quality_number
    return answers.Frame(message.data, message.header_bits, payload_bits, *named, key)


def moments(
    quality: str | int | None = None, portions: Portion = Portion.ALL
) -> Callable[[ArrayLike | Moment], codec_pb2.EncodeStreamRequest]:
    """Return what makes requests of the moments of a moving face; each request names quality and portions."""

    def request(item: ArrayLike | Moment) -> codec_pb2.EncodeStreamRequest:
        moment = item if isinstance(item, Moment) else Moment(item)
        message = codec_pb2.EncodeStreamRequest(
            face=pack_descriptors(moment.face, portions), portions=pack_portions(portions), refresh=moment.refresh
        )
        if isinstance(quality, str):
            message.quality_name = quality
        elif quality is not None:
            message.quality_number = quality
        return message

    return request


def read_moment(message: codec_pb2.EncodeStreamResponse) -> answers.Frame:
    """Return one frame of a moving face."""
    return _frame(message.frame)


def read_shown(message: codec_pb2.DecodeStreamResponse) -> answers.ShownFace:
    """Return what a receiver has after one frame."""
    face = _decoded(message.face, "face") if message.HasField("face") else None
    return answers.ShownFace(answers.FrameState(message.state), face)


def _decoding(message: codec_pb2.DecodeResponse) -> answers.Decoding:
    faces = [_decoded(face, f"faces[{index}]") for index, face in enumerate(message.faces)]
    return answers.Decoding(faces, _model(message.model), _timings(message.timings))


def _decoded(message: codec_pb2.DecodedFace, field: str) -> answers.DecodedFace:
    values, portions = unpack_descriptors(message.descriptors, f"{field}.descriptors")
    return answers.DecodedFace(values, portions, message.quality_name, message.quality_number)


def _leading(message: understanding_pb2.RecognizedExpression) -> str:
    # A server of before names no class.
    return message.leading_name or _expression_name(message.leading)


def _expression_name(expression: "understanding_pb2.Expression.ValueType") -> str:
    return understanding_pb2.Expression.Name(expression).removeprefix("EXPRESSION_").lower()


def _confidences(message: understanding_pb2.RecognizedExpression) -> dict[str, float]:
    return {item.name or _expression_name(item.expression): item.confidence for item in message.confidences}


def _recognition(message: understanding_pb2.RecognizeResponse) -> answers.Recognition:
    return answers.Recognition(
        _leading(message.expression),
        _confidences(message.expression),
        _model(message.model),
        _timings(message.timings),
    )


def _embedding(message: understanding_pb2.Embedding) -> answers.Embedding:
    return answers.Embedding(unpack_vector(message.vector, EMBEDDING_SIZE, "embedding.vector"), _model(message.model))


def _comparison(message: understanding_pb2.CompareResponse) -> answers.Comparison:
    names = {number: name for name, number in _OPERATING_POINTS.items()}
    return answers.Comparison(
        message.matched,
        message.score,
        message.threshold,
        names[message.operating_point],
        _model(message.model),
        _timings(message.timings),
    )


def _understanding(message: understanding_pb2.UnderstandResponse) -> answers.Understanding:
    return answers.Understanding(
        [_understood(face) for face in message.faces],
        [_model(model) for model in message.models],
        _timings(message.timings),
    )


def _understood(message: understanding_pb2.UnderstoodFace) -> answers.UnderstoodFace:
    recognized = message.HasField("expression")
    return answers.UnderstoodFace(
        _leading(message.expression) if recognized else None,
        _confidences(message.expression) if recognized else None,
        _embedding(message.embedding) if message.HasField("embedding") else None,
    )


def _is_serving(message: health_pb2.HealthCheckResponse) -> bool:
    return bool(message.status == health_pb2.HealthCheckResponse.SERVING)
