"""The gRPC services of understanding: expression, verification, and both for a batch. Thin adapters over the core."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache, partial
from itertools import chain
from types import MappingProxyType
from typing import Any, Final

import grpc
import numpy as np
from numpy.typing import NDArray

from semface.codec.core import CODEC_NAME, CODEC_VERSION, Codec, Decoded
from semface.codec.prior import LATENT_SIZE, Latents
from semface.descriptors import DESCRIPTOR_SIZE, Descriptors, Portion, union
from semface.errors import Reason, SemfaceError
from semface.inference.engine import Engine, ModelMetadata
from semface.meaning import EMBEDDING_SIZE, EXPRESSIONS, OperatingPoint
from semface.messages import pack_model, pack_vector, require_items, unpack_descriptors, unpack_vector
from semface.recognisers import Recogniser, Seen, find_recogniser
from semface.rpc.server import Service
from semface.rpc.timing import current_clock
from semface.understanding.core import (
    ENSEMBLES_OF_LATENTS,
    Understanding,
    canary_face,
    check_model_name,
    require_one,
    require_portion,
)
from semface.understanding.gathering import Gathering, row_bounds
from semface.understanding.joined import Answers, JoinedUnderstanding
from semface.understanding.settings import UnderstandingSettings
from semface.v1 import descriptors_pb2, understanding_pb2, understanding_pb2_grpc

OPERATING_POINTS: Final[Mapping[int, OperatingPoint]] = MappingProxyType(
    {
        understanding_pb2.OPERATING_POINT_FAR_1E_2: OperatingPoint.FAR_1E_2,
        understanding_pb2.OPERATING_POINT_FAR_1E_3: OperatingPoint.FAR_1E_3,
        understanding_pb2.OPERATING_POINT_ACCURACY: OperatingPoint.ACCURACY,
    }
)
"""Each operating point on the wire to the core's."""

TASK_PORTIONS: Final[Mapping[int, Portion]] = MappingProxyType(
    {
        understanding_pb2.TASK_EXPRESSION: Portion.EXPRESSION,
        understanding_pb2.TASK_EMBEDDING: Portion.IDENTITY,
    }
)
"""Each task to the portion that it needs."""

EXPRESSION_NUMBERS: Final = tuple(
    understanding_pb2.Expression.Value(f"EXPRESSION_{name.upper()}") for name in EXPRESSIONS
)
"""The values on the wire, in the order of ``EXPRESSIONS``."""

Context = grpc.aio.ServicerContext[Any, Any]
Sources = Sequence[understanding_pb2.FaceSource]


class FaceReader:
    """Reads the faces of a request, described or coded, into arrays."""

    def __init__(self, codec: Codec) -> None:
        """Decode bitstreams with ``codec``, those of several calls at once."""
        self._codec = codec
        self._decoding = Gathering(self._decode_all)
        self._has_passed = False

    async def read(self, sources: Sources, fields: Sequence[str]) -> tuple[Descriptors, list[Portion]]:
        """Return the numbers (N, 257) of ``sources`` and what is present of each; errors name the item of ``fields``.

        Raises FIELD_INVALID for a face without a source, MODEL_MISMATCH for another codec's bitstream, and what reading
        descriptors or decoding raises.
        """
        values, portions = np.zeros((len(sources), DESCRIPTOR_SIZE), np.float32), [Portion(0)] * len(sources)
        coded: list[int] = []
        for row, (source, field) in enumerate(zip(sources, fields, strict=True)):
            match source.WhichOneof("source"):
                case "descriptors":
                    values[row], portions[row] = unpack_descriptors(source.descriptors, f"{field}.descriptors")
                case "bitstream":
                    self._check_hash(source.codec_hash, f"{field}.codec_hash")
                    coded.append(row)
                case _:
                    raise SemfaceError(Reason.FIELD_INVALID, f"{field}: set descriptors or a bitstream", field=field)
        for row, decoded in zip(coded, await self._decode(sources, fields, coded), strict=True):
            values[row], portions[row] = decoded
        return values, portions

    def frames(self, sources: Sources, fields: Sequence[str]) -> list[bytes]:
        """Return the frames of ``sources``, all of them bitstreams. Raises MODEL_MISMATCH for another codec's."""
        for source, field in zip(sources, fields, strict=True):
            self._check_hash(source.codec_hash, f"{field}.codec_hash")
        return [source.bitstream for source in sources]

    async def latents(self, frames: Sequence[bytes]) -> tuple[Latents, list[Portion]]:
        """Return the latents (N, 256) of ``frames`` and what is present of each; raises as ``Codec.read`` does."""
        latents, carried = await self._codec.read(frames)
        return latents, [portions for portions, _ in carried]

    async def _decode(
        self, sources: Sources, fields: Sequence[str], rows: Sequence[int]
    ) -> list[tuple[Descriptors, Portion]]:
        if not rows:
            return []
        with _naming_items([fields[row] for row in rows]), current_clock().inference():
            decoded = await self._decoding.submit([sources[row].bitstream for row in rows])
        return [(face.descriptors, face.portions) for face in decoded]

    async def _decode_all(self, requests: Sequence[Sequence[bytes]]) -> list[list[Decoded]]:
        """Return the faces of the frames of each of ``requests``."""
        decoded = await self._codec.decode(list(chain.from_iterable(requests)))
        return [decoded[begin:end] for begin, end in row_bounds(requests)]

    def _check_hash(self, codec_hash: int, field: str) -> None:
        if codec_hash not in (0, self.codec_model.hash):
            raise SemfaceError(
                Reason.MODEL_MISMATCH,
                f"{field}: the bitstream was made by the codec model {codec_hash:016x}, this service decodes "
                f"{self.codec_model.hash:016x}",
                field=field,
            )

    @property
    def codec_model(self) -> descriptors_pb2.Model:
        """The codec model that frames have to be of."""
        return _packed_model(CODEC_NAME, CODEC_VERSION, self._codec.model_hash, self._codec.engine.name)

    async def canary(self) -> None:
        """Code and decode one face; raises when that fails."""
        frames = await self._codec.encode(canary_face())
        await self._codec.decode(frames)
        if not self._has_passed:
            self._codec.refresh()
            self._has_passed = True


class ExpressionService(understanding_pb2_grpc.ExpressionServiceServicer):
    """``semface.v1.ExpressionService``."""

    def __init__(self, understanding: Understanding, reader: FaceReader) -> None:
        """Answer with ``understanding`` for the faces that ``reader`` reads."""
        self._understanding = understanding
        self._reader = reader

    async def Recognize(
        self, request: understanding_pb2.RecognizeRequest, context: Context
    ) -> understanding_pb2.RecognizeResponse:
        """Recognise the expression of one face, by the recogniser that is named."""
        recogniser = find_recogniser(request.model)
        model = self._understanding.recogniser_model(recogniser)
        if recogniser.sees is Seen.DESCRIPTORS:
            confidences = await self._of_numbers(request.face)
        else:
            confidences = await self._of_view(recogniser, request.face)
        return understanding_pb2.RecognizeResponse(
            expression=pack_expression(confidences, recogniser.classes),
            model=_model(model, self._understanding.engine),
            timings=current_clock().timings(),
        )

    async def _of_numbers(self, face: understanding_pb2.FaceSource) -> NDArray[np.float32]:
        values, portions = await self._reader.read([face], ["face"])
        require_portion(portions[0], Portion.EXPRESSION, field="face")
        with current_clock().inference():
            return (await self._understanding.expressions(values, portions))[0]

    async def _of_view(self, recogniser: Recogniser, face: understanding_pb2.FaceSource) -> NDArray[np.float32]:
        field = recogniser.sees.value
        if face.WhichOneof("source") != field:
            message = f"face: {recogniser.name} looks at a face's {field}; set it"
            raise SemfaceError(Reason.FIELD_INVALID, message, field="face")
        view = recogniser.unpack(getattr(face, field), f"face.{field}")
        with current_clock().inference():
            return (await self._understanding.recognitions(recogniser, view[None]))["confidences"][0]

    async def canary(self) -> None:
        """Recognise one face; raises when the confidences do not sum to one."""
        confidences = await self._understanding.expressions(canary_face())
        require_one(float(confidences.sum()))


class VerificationService(understanding_pb2_grpc.VerificationServiceServicer):
    """``semface.v1.VerificationService``."""

    def __init__(self, understanding: Understanding, reader: FaceReader) -> None:
        """Answer with ``understanding`` for the faces that ``reader`` reads."""
        self._understanding = understanding
        self._reader = reader

    async def Embed(self, request: understanding_pb2.EmbedRequest, context: Context) -> understanding_pb2.EmbedResponse:
        """Embed one face."""
        model = self._understanding.verification_model
        check_model_name(request.model, model, "model")
        embeddings = await self._embed([request.face], ["face"])
        return understanding_pb2.EmbedResponse(
            embedding=pack_embedding(embeddings[0], model, self._understanding.engine),
            timings=current_clock().timings(),
        )

    async def Compare(
        self, request: understanding_pb2.CompareRequest, context: Context
    ) -> understanding_pb2.CompareResponse:
        """Compare two faces, each a face or an embedding."""
        model = self._understanding.verification_model
        check_model_name(request.model, model, "model")
        point = unpack_operating_point(request.operating_point)
        sides = {"probe": request.probe, "reference": request.reference}
        vectors = {name: self._given(side, name) for name, side in sides.items() if _kind(side, name) == "embedding"}
        faces = {name: side.face for name, side in sides.items() if name not in vectors}
        embedded = await self._embed(list(faces.values()), [f"{name}.face" for name in faces])
        vectors |= dict(zip(faces, embedded, strict=True))
        decision = self._understanding.decision(
            self._understanding.compare(vectors["probe"], vectors["reference"]), point
        )
        return understanding_pb2.CompareResponse(
            matched=decision.matched,
            score=decision.score,
            threshold=decision.threshold,
            operating_point=request.operating_point,
            model=_model(decision.model, self._understanding.engine),
            timings=current_clock().timings(),
        )

    def _given(self, side: understanding_pb2.ComparedFace, name: str) -> NDArray[np.float32]:
        made_by = side.embedding.model
        self._understanding.check_embedding_model(
            made_by.name, made_by.version, f"{made_by.hash:016x}", field=f"{name}.embedding.model"
        )
        return unpack_vector(side.embedding.vector, EMBEDDING_SIZE, f"{name}.embedding.vector")

    async def _embed(self, sources: Sources, fields: Sequence[str]) -> NDArray[np.float32]:
        values, portions = await self._reader.read(sources, fields)
        for present, field in zip(portions, fields, strict=True):
            require_portion(present, Portion.IDENTITY, field=field)
        with current_clock().inference():
            return await self._understanding.embeddings(values, portions)

    async def canary(self) -> None:
        """Embed one face; raises when the embedding is not of length one."""
        embeddings = await self._understanding.embeddings(canary_face())
        require_one(float(np.linalg.norm(embeddings[0])))


class UnderstandingService(understanding_pb2_grpc.UnderstandingServiceServicer):
    """``semface.v1.UnderstandingService``."""

    def __init__(self, understanding: Understanding, reader: FaceReader, max_faces: int) -> None:
        """Answer with ``understanding`` for at most ``max_faces`` faces a call."""
        self._understanding = understanding
        self._joined = JoinedUnderstanding(understanding, reader.latents)
        self._reader = reader
        self._max_faces = max_faces

    async def Understand(
        self, request: understanding_pb2.UnderstandRequest, context: Context
    ) -> understanding_pb2.UnderstandResponse:
        """Recognise and embed each face of a batch."""
        tasks = unpack_tasks(request.tasks)
        models: dict[int, ModelMetadata] = {}
        if understanding_pb2.TASK_EXPRESSION in tasks:
            models[understanding_pb2.TASK_EXPRESSION] = self._understanding.expression_model
        if understanding_pb2.TASK_EMBEDDING in tasks:
            models[understanding_pb2.TASK_EMBEDDING] = self._understanding.verification_model
        check_model_name(request.expression_model, self._understanding.expression_model, "expression_model")
        check_model_name(request.verification_model, self._understanding.verification_model, "verification_model")
        require_items(len(request.faces), "faces", self._max_faces)
        fields = [f"faces[{row}]" for row in range(len(request.faces))]
        coded = [source.WhichOneof("source") == "bitstream" for source in request.faces]
        needed = union(TASK_PORTIONS[task] for task in tasks)
        if all(coded) and await self._understanding.answers_latents(needed):
            frames = self._reader.frames(request.faces, fields)
            with _naming_items(fields), current_clock().inference():
                answers, portions = await self._joined.of_frames(frames, needed)
            _require_all(portions, tasks, fields)
        else:
            values, portions = await self._reader.read(request.faces, fields)
            _require_all(portions, tasks, fields)
            with current_clock().inference():
                answers = await self._joined.of_numbers(values, portions, needed)
        return understanding_pb2.UnderstandResponse(
            faces=self._pack(answers, len(fields)),
            models=[
                *([self._reader.codec_model] if any(coded) else []),
                *(_model(model, self._understanding.engine) for model in models.values()),
            ],
            timings=current_clock().timings(),
        )

    async def canary(self) -> None:
        """Answer one face in one call, where that can be had; raises when the answer is not of size one."""
        for told in ENSEMBLES_OF_LATENTS:
            if await self._understanding.answers_latents(told):
                answers = await self._understanding.of_latents(np.full((1, LATENT_SIZE), 0.5, np.float32), told)
                for name, size in (("confidences", np.sum), ("embedding", np.linalg.norm)):
                    if name in answers:
                        require_one(float(size(answers[name])))

    def _pack(self, answers: Answers, count: int) -> list[understanding_pb2.UnderstoodFace]:
        faces = [understanding_pb2.UnderstoodFace() for _ in range(count)]
        if "confidences" in answers:
            for face, row in zip(faces, answers["confidences"], strict=True):
                face.expression.CopyFrom(pack_expression(row))
        if "embedding" in answers:
            model = self._understanding.verification_model
            for face, row in zip(faces, answers["embedding"], strict=True):
                face.embedding.CopyFrom(pack_embedding(row, model, self._understanding.engine))
        return faces


@contextmanager
def _naming_items(fields: Sequence[str]) -> Iterator[None]:
    """Name in an error of the codec, which counts its frames, the one of ``fields`` that the caller knows."""
    try:
        yield
    except SemfaceError as error:
        names = {f"frames[{place}]": f"{name}.bitstream" for place, name in enumerate(fields)}
        field = names.get(error.field or "")
        if field is None or error.field is None:
            raise
        raise SemfaceError(error.reason, error.message.replace(error.field, field, 1), field=field) from error


def _require_all(portions: Sequence[Portion], tasks: Iterable[int], fields: Sequence[str]) -> None:
    """Raise GROUP_ABSENT unless each face holds what every one of ``tasks`` needs."""
    for present, field in zip(portions, fields, strict=True):
        for task in tasks:
            require_portion(present, TASK_PORTIONS[task], field=field)


def services(engine: Engine, settings: UnderstandingSettings) -> list[Service]:
    """Return the three services over ``engine``. Raises MODEL_UNKNOWN when the repository has no codec."""
    understanding = Understanding(engine)
    reader = FaceReader(Codec(engine, settings.model_repository))
    expression = ExpressionService(understanding, reader)
    verification = VerificationService(understanding, reader)
    both = UnderstandingService(understanding, reader, settings.understanding_max_faces)

    async def canary() -> None:
        await reader.canary()
        await expression.canary()
        await verification.canary()
        await both.canary()

    wire = understanding_pb2_grpc
    return [
        Service(
            "semface.v1.ExpressionService",
            partial(wire.add_ExpressionServiceServicer_to_server, expression),
            expression.canary,
        ),
        Service(
            "semface.v1.VerificationService",
            partial(wire.add_VerificationServiceServicer_to_server, verification),
            verification.canary,
        ),
        Service(
            "semface.v1.UnderstandingService",
            partial(wire.add_UnderstandingServiceServicer_to_server, both),
            canary,
        ),
    ]


def unpack_operating_point(number: int) -> OperatingPoint:
    """Return the operating point; raises ENUM_UNSPECIFIED for an unset one, FIELD_INVALID for an unknown one."""
    field = "operating_point"
    if number == understanding_pb2.OPERATING_POINT_UNSPECIFIED:
        raise SemfaceError(Reason.ENUM_UNSPECIFIED, f"{field}: name the threshold to decide by", field=field)
    if number not in OPERATING_POINTS:
        raise SemfaceError(Reason.FIELD_INVALID, f"{field}: there is no operating point {number}", field=field)
    return OPERATING_POINTS[number]


def unpack_tasks(numbers: Sequence[int]) -> frozenset[int]:
    """Return the tasks asked for, all where ``numbers`` is empty; raises as ``unpack_operating_point`` does."""
    for place, number in enumerate(numbers):
        field = f"tasks[{place}]"
        if number == understanding_pb2.TASK_UNSPECIFIED:
            raise SemfaceError(Reason.ENUM_UNSPECIFIED, f"{field}: a task has to be named", field=field)
        if number not in TASK_PORTIONS:
            raise SemfaceError(Reason.FIELD_INVALID, f"{field}: there is no task {number}", field=field)
    return frozenset(numbers or TASK_PORTIONS)


def pack_expression(
    confidences: NDArray[np.float32], classes: Sequence[str] = EXPRESSIONS
) -> understanding_pb2.RecognizedExpression:
    """Return the message of ``confidences`` (C,) in the order of ``classes``."""
    # A model with classes of its own may share a name with the eight, not its meaning.
    numbers = (
        EXPRESSION_NUMBERS if classes == EXPRESSIONS else [understanding_pb2.EXPRESSION_UNSPECIFIED] * len(classes)
    )
    leading = int(confidences.argmax())
    return understanding_pb2.RecognizedExpression(
        leading=numbers[leading],
        confidences=[
            understanding_pb2.ExpressionConfidence(expression=number, confidence=confidence, name=name)
            for number, confidence, name in zip(numbers, confidences.tolist(), classes, strict=True)
        ],
        leading_name=classes[leading],
    )


def pack_embedding(vector: NDArray[np.float32], model: ModelMetadata, engine: str) -> understanding_pb2.Embedding:
    """Return the message of an embedding (512,) with the model that made it, run by ``engine``."""
    return understanding_pb2.Embedding(vector=pack_vector(vector), model=_model(model, engine))


def _model(metadata: ModelMetadata, engine: str) -> descriptors_pb2.Model:
    return _packed_model(metadata.name, metadata.version, metadata.hash, engine)


# Only ever copied into answers.
_packed_model = lru_cache(maxsize=8)(pack_model)


def _kind(side: understanding_pb2.ComparedFace, name: str) -> str:
    kind = side.WhichOneof("kind")
    if kind is None:
        raise SemfaceError(Reason.FIELD_INVALID, f"{name}: set a face or an embedding", field=name)
    return kind
