"""The gRPC services of understanding: expression, verification, and both for a batch. Thin adapters over the core."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any, Final

import grpc
import numpy as np
from numpy.typing import NDArray

from semface.codec.core import Codec
from semface.codec.prior import LATENT_SIZE
from semface.descriptors import Descriptors, Portion
from semface.errors import Reason, SemfaceError
from semface.inference.engine import Engine, ModelMetadata
from semface.meaning import EMBEDDING_SIZE, EXPRESSIONS, OperatingPoint
from semface.messages import pack_vector, require_items, unpack_vector
from semface.recognisers import Recogniser, Seen, find_recogniser
from semface.rpc.server import Service
from semface.rpc.timing import current_clock
from semface.understanding.core import Understanding, canary_face, check_model_name, require_one, require_portion
from semface.understanding.face_reader import FaceReader, Sources, packed_model
from semface.understanding.gathering import Gathering, ask_all
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
            model=_model(model),
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
            embedding=pack_embedding(embeddings[0], model), timings=current_clock().timings()
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
            model=_model(decision.model),
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
        self._reader = reader
        self._max_faces = max_faces
        self._expressions = Gathering(partial(ask_all, understanding.expressions))
        self._embeddings = Gathering(partial(ask_all, understanding.embeddings))

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
        faces = [understanding_pb2.UnderstoodFace() for _ in fields]
        if all(coded) and len(tasks) == len(TASK_PORTIONS) and await self._understanding.answers_latents():
            await self._answer_latents(faces, request.faces, fields)
        else:
            values, portions = await self._reader.read(request.faces, fields)
            _require_all(portions, tasks, fields)
            with current_clock().inference():
                await self._answer(faces, values, portions, models)
        return understanding_pb2.UnderstandResponse(
            faces=faces,
            models=[*([self._reader.codec_model] if any(coded) else []), *map(_model, models.values())],
            timings=current_clock().timings(),
        )

    async def canary(self) -> None:
        """Answer one face in one call, where that can be had; raises when the confidences do not sum to one."""
        if await self._understanding.answers_latents():
            confidences, _ = await self._understanding.both_of_latents(np.zeros((1, LATENT_SIZE), np.float32))
            require_one(float(confidences.sum()))

    async def _answer_latents(
        self, faces: Sequence[understanding_pb2.UnderstoodFace], sources: Sources, fields: Sequence[str]
    ) -> None:
        """Answer both tasks for faces that are all coded, in one call of the engine."""
        latents, portions = await self._reader.read_latents(sources, fields)
        _require_all(portions, TASK_PORTIONS, fields)
        model = self._understanding.verification_model
        with current_clock().inference():
            confidences, embeddings = await self._understanding.both_of_latents(latents)
        for face, confidence, embedding in zip(faces, confidences, embeddings, strict=True):
            face.expression.CopyFrom(pack_expression(confidence))
            face.embedding.CopyFrom(pack_embedding(embedding, model))

    async def _answer(
        self,
        faces: Sequence[understanding_pb2.UnderstoodFace],
        values: Descriptors,
        portions: Sequence[Portion],
        models: dict[int, ModelMetadata],
    ) -> None:
        asked = (values, portions)
        confidences = self._expressions.submit(asked) if understanding_pb2.TASK_EXPRESSION in models else None
        embeddings = self._embeddings.submit(asked) if understanding_pb2.TASK_EMBEDDING in models else None
        # Both are asked for before either is waited for.
        await asyncio.wait([asked for asked in (confidences, embeddings) if asked is not None])
        if confidences is not None:
            for face, row in zip(faces, confidences.result(), strict=True):
                face.expression.CopyFrom(pack_expression(row))
        if embeddings is not None:
            model = models[understanding_pb2.TASK_EMBEDDING]
            for face, row in zip(faces, embeddings.result(), strict=True):
                face.embedding.CopyFrom(pack_embedding(row, model))


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


def pack_embedding(vector: NDArray[np.float32], model: ModelMetadata) -> understanding_pb2.Embedding:
    """Return the message of an embedding (512,) with the model that made it."""
    return understanding_pb2.Embedding(vector=pack_vector(vector), model=_model(model))


def _model(metadata: ModelMetadata) -> descriptors_pb2.Model:
    return packed_model(metadata.name, metadata.version, metadata.hash)


def _kind(side: understanding_pb2.ComparedFace, name: str) -> str:
    kind = side.WhichOneof("kind")
    if kind is None:
        raise SemfaceError(Reason.FIELD_INVALID, f"{name}: set a face or an embedding", field=name)
    return kind
