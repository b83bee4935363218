"""From descriptors to meaning: the expression of a face, its embedding, and the decision on two embeddings.

Knows arrays and names, no transport. Only the portions that a question needs are looked at: the expression network sees
expression, rotation and translation, the verification network shape and texture (paper, section II.D).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from semface.descriptors import DESCRIPTOR_SIZE, PORTION_GROUPS, PORTION_SLICES, Descriptors, Portion, validate
from semface.errors import Reason, SemfaceError
from semface.inference.engine import Engine, ModelMetadata
from semface.inference.ensembles import EMBED_ENSEMBLE, RECOGNISE_ENSEMBLE, UNDERSTAND_ENSEMBLE
from semface.meaning import DEFAULT_OPERATING_POINT, EMBEDDING_SIZE, EXPRESSIONS, OperatingPoint
from semface.recognisers import DEFAULT_RECOGNISER, Recogniser
from semface.tracing.spans import span

EXPRESSION_MODEL: Final = DEFAULT_RECOGNISER.name
VERIFICATION_MODEL: Final = "face_verification"

ENSEMBLES_OF_LATENTS: Final[Mapping[Portion, str]] = MappingProxyType(
    {
        Portion.EXPRESSION: RECOGNISE_ENSEMBLE,
        Portion.IDENTITY: EMBED_ENSEMBLE,
        Portion.EXPRESSION | Portion.IDENTITY: UNDERSTAND_ENSEMBLE,
    }
)
"""Which ensemble answers what is asked of the portions."""

Embedding = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether two faces are taken for one person, with everything the decision hangs on. Scores are cosines, -1..1."""

    matched: bool
    score: float
    threshold: float
    operating_point: OperatingPoint
    model: ModelMetadata


class Understanding:
    """The two descriptor networks behind an engine, and the recognisers that look at pixels where they are there."""

    def __init__(self, engine: Engine) -> None:
        """Keep ``engine``, which must serve ``expression_recognition`` and ``face_verification``."""
        self._engine = engine

    @property
    def engine(self) -> str:
        """The name of what runs the networks."""
        return self._engine.name

    @property
    def expression_model(self) -> ModelMetadata:
        """The expression network. Raises MODEL_UNKNOWN when the repository lacks it."""
        return self._engine.metadata(EXPRESSION_MODEL)

    @property
    def verification_model(self) -> ModelMetadata:
        """The verification network. Raises MODEL_UNKNOWN when the repository lacks it."""
        return self._engine.metadata(VERIFICATION_MODEL)

    async def expressions(
        self, descriptors: ArrayLike, portions: Portion | Sequence[Portion] = Portion.ALL
    ) -> NDArray[np.float32]:
        """Return confidences (N, 8) in the order of ``EXPRESSIONS``, each row in 0..1 and summing to one.

        ``descriptors`` are (N, 257) or (257,); ``portions`` says what is present in all rows, or in each. Raises
        GROUP_ABSENT where the expression portion is missing, DESCRIPTOR_SHAPE and NOT_FINITE as ``validate`` does.
        """
        rows = _present(descriptors, portions, Portion.EXPRESSION)
        with span("recognise"):
            return await self._ask(EXPRESSION_MODEL, rows, "confidences", len(EXPRESSIONS))

    def recogniser_model(self, recogniser: Recogniser) -> ModelMetadata:
        """The network of ``recogniser``. Raises MODEL_UNKNOWN when the repository lacks it."""
        return self._engine.metadata(recogniser.name)

    async def recognitions(self, recogniser: Recogniser, views: NDArray[np.generic]) -> dict[str, NDArray[np.float32]]:
        """Return what ``recogniser`` tells of N faces, seen as ``views`` (N, *shape) in its element type.

        ``confidences`` (N, C) in the order of its classes, each row in 0..1 and summing to one; beside them what its
        card names, such as DAN's ``attention``. Raises MODEL_UNKNOWN when the repository lacks its network.
        """
        outputs = await self._engine.infer(recogniser.name, {recogniser.tensor: views})
        return {name: values.astype(np.float32, copy=False) for name, values in outputs.items()}

    async def embeddings(
        self, descriptors: ArrayLike, portions: Portion | Sequence[Portion] = Portion.ALL
    ) -> NDArray[np.float32]:
        """Return embeddings (N, 512) of length one.

        ``descriptors`` are (N, 257) or (257,); ``portions`` says what is present in all rows, or in each. Raises
        GROUP_ABSENT where the identity portion is missing, DESCRIPTOR_SHAPE and NOT_FINITE as ``validate`` does.
        """
        rows = _present(descriptors, portions, Portion.IDENTITY)
        with span("embed"):
            return await self._ask(VERIFICATION_MODEL, rows, "embedding", EMBEDDING_SIZE)

    async def answers_latents(self, portions: Portion) -> bool:
        """Return whether ``of_latents`` can be asked for what ``portions`` tell: where the engine offers it."""
        return await self._engine.offers(ENSEMBLES_OF_LATENTS[portions])

    async def of_latents(self, latents: NDArray[np.float32], portions: Portion) -> dict[str, NDArray[np.float32]]:
        """Return what ``portions`` of the codec's dequantised ``latents`` (N, 256) tell.

        ``confidences`` (N, 8) of the expression portion, ``embedding`` (N, 512) of identity. One call in place of
        several: the engine runs g_s and the networks one after the other. Whether the latents hold the portions is for
        the caller to see: what is absent counts as 0.
        """
        with span("tell"):
            return await self._engine.infer(ENSEMBLES_OF_LATENTS[portions], {"latents": latents})

    async def _ask(self, model: str, rows: Descriptors, output: str, width: int) -> NDArray[np.float32]:
        if len(rows) == 0:
            return np.empty((0, width), np.float32)
        outputs = await self._engine.infer(model, {"descriptors": rows})
        return outputs[output].astype(np.float32, copy=False)

    def check_embedding_model(self, name: str, version: str, digest: str, *, field: str | None = None) -> None:
        """Raise MODEL_MISMATCH unless the named model makes our embeddings; ``digest`` begins its SHA-256 (hex)."""
        ours = self.verification_model
        if (name, version) != (ours.name, ours.version) or not digest or not ours.hash.startswith(digest):
            raise SemfaceError(
                Reason.MODEL_MISMATCH,
                f"the embedding was not made by {ours.name}/{ours.version} ({ours.hash[:16]}), which is served; "
                "embed the face again",
                field=field,
            )

    def compare(self, first: ArrayLike, second: ArrayLike) -> float:
        """Return the cosine (-1..1) of two embeddings (512,).

        Raises DESCRIPTOR_SHAPE or NOT_FINITE for a vector that is no embedding, FIELD_INVALID for one without length.
        """
        left, right = (_unit(embedding) for embedding in (first, second))
        return float(np.clip(left @ right, -1.0, 1.0))

    def threshold(self, operating_point: OperatingPoint) -> float:
        """Return the cosine from which two faces are taken for one person, as stored with the model.

        Raises MODEL_UNKNOWN when the model carries no threshold for this operating point.
        """
        model = self.verification_model
        value = model.parameters.get(f"threshold_{operating_point.value}")
        if value is None:
            raise SemfaceError(
                Reason.MODEL_UNKNOWN,
                f"{model.name}/{model.version} stores no threshold for the operating point {operating_point.value}",
            )
        return float(value)

    def decision(self, score: float, operating_point: OperatingPoint = DEFAULT_OPERATING_POINT) -> Decision:
        """Return what a ``score`` (cosine) means at ``operating_point``: a match from the threshold upwards."""
        threshold = self.threshold(operating_point)
        return Decision(score >= threshold, score, threshold, operating_point, self.verification_model)


def require_portion(portions: Portion, needed: Portion, *, field: str | None = None) -> None:
    """Raise GROUP_ABSENT unless ``portions`` hold ``needed``; absent groups are never taken for zeros."""
    if needed not in portions:
        groups = ", ".join(PORTION_GROUPS[needed])
        raise SemfaceError(Reason.GROUP_ABSENT, f"the answer needs the groups {groups}; not all are there", field=field)


def check_model_name(name: str, served: ModelMetadata, field: str) -> None:
    """Raise MODEL_UNKNOWN when ``name`` asks for another model than the one ``served``; empty asks for the default."""
    if name not in ("", served.name):
        raise SemfaceError(
            Reason.MODEL_UNKNOWN, f"{field}: there is no such model; {served.name} is served", field=field
        )


def canary_face() -> Descriptors:
    """Return one face (1, 257) that every network can answer."""
    return np.full((1, DESCRIPTOR_SIZE), 0.5, np.float32)


def require_one(value: float) -> None:
    """Raise RuntimeError unless ``value``, a canary's sum or length, is one."""
    if not abs(value - 1.0) < 1e-3:
        raise RuntimeError("a canary's answer is not of size one")


def _present(descriptors: ArrayLike, portions: Portion | Sequence[Portion], needed: Portion) -> Descriptors:
    """Return the columns of the ``needed`` portion, or raise GROUP_ABSENT when a row lacks it."""
    rows = validate(descriptors)
    given = [portions] * len(rows) if isinstance(portions, Portion) else list(portions)
    if len(given) != len(rows):
        raise ValueError(f"{len(rows)} descriptors but {len(given)} sets of portions")
    for row in given:
        require_portion(row, needed)
    return np.ascontiguousarray(rows[:, PORTION_SLICES[needed]])


def _unit(embedding: ArrayLike) -> NDArray[np.float64]:
    vector = validate(embedding, EMBEDDING_SIZE)[0].astype(np.float64)
    length = float(np.linalg.norm(vector))
    if length == 0.0:
        raise SemfaceError(Reason.FIELD_INVALID, "an embedding of length zero has no direction to compare")
    return vector / length
