"""What the gateway answers, as JSON."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from semface.client import Frame, UnderstoodFace
from semface.descriptors import portion_names
from semface.meaning import ExpressionName, OperatingPoint, ScanExpressionName

MAX_WORDS = 32
"""Most labels, and most groups, of one subject."""
MAX_LIFE_SECONDS = 100 * 365.25 * 86_400

Reference = Annotated[str, Field(min_length=1, max_length=256, pattern=r"^[^\x00-\x1f\x7f]+$")]
GroupName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]


class Model(BaseModel):
    """A model that made a part of the answer."""

    name: str = Field(examples=["face_verification"])
    version: str = Field(examples=["1"])
    hash: str = Field(description="First 8 bytes of the SHA-256 of the model's files, in hexadecimal.")
    engine: str | None = Field(
        examples=["triton"],
        description="What ran it: onnxruntime, inside the service, or triton; null for a template that was read back.",
    )


class Answer(BaseModel):
    """What every answer carries."""

    models: list[Model] = Field(description="The models that made this answer.")
    milliseconds: dict[str, float] = Field(description="Time of each stage in milliseconds, and of all as 'total'.")


class Box(BaseModel):
    """A rectangle in the upright photograph, in pixels from its top left corner; it may reach outside."""

    x0: float
    y0: float
    x1: float
    y1: float


class FaceSquare(BaseModel):
    """The square that the extractor saw, in pixels of the upright photograph."""

    x0: float
    y0: float
    side: float


class Bits(BaseModel):
    """Where the bits of a bitstream go; a portion that does not travel takes none."""

    total: int = Field(description="8 × the length of the bitstream.")
    header: int
    identity: int = 0
    expression: int = 0
    illumination: int = 0


class Expression(BaseModel):
    """The expression of a face."""

    leading: ExpressionName | ScanExpressionName
    confidences: dict[ExpressionName | ScanExpressionName, float] = Field(
        description="All classes of the model, eight unless it looks at scans; they add up to 1."
    )


class Decision(BaseModel):
    """A score with the threshold that it is measured by."""

    matched: bool = Field(description="Whether the score is at least the threshold.")
    score: float = Field(description="Cosine of the two embeddings, -1 to 1.")
    threshold: float = Field(description="The threshold that decided, -1 to 1.")
    operating_point: OperatingPoint = Field(description="Which measured threshold it is.")


class Candidate(BaseModel):
    """An enrolled subject that a face may be."""

    subject: str
    score: float = Field(description="Cosine of the two embeddings, -1 to 1.")


class Who(BaseModel):
    """The enrolled subjects that reach the threshold, best first."""

    candidates: list[Candidate]
    threshold: float
    operating_point: OperatingPoint
    compared: int = Field(description="How many templates were compared.")


class AnalyzedFace(BaseModel):
    """One face of a photograph, coded, and what its decoded numbers say."""

    id: int = Field(description="The face's place in reading order, from 0 on.")
    box: Box
    square: FaceSquare
    landmarks: list[tuple[float, float]] = Field(description="Five points in pixels: eyes, nose, corners of the mouth.")
    confidence: float = Field(description="How sure the detector is, 0 to 1.")
    quality: float = Field(description="How well the face can be described, 0 (useless) to 1 (good).")
    bits: Bits
    bitstream: str = Field(description="The bitstream frame in base64.")
    descriptors: list[float] | None = Field(
        None, description="The 257 numbers before they were coded, where they were asked for."
    )
    expression: Expression | None = Field(description="From the decoded numbers; null where they did not travel.")
    who: Who | None = Field(
        None, description="From the decoded numbers, where it was asked for and the face reaches 'minimum_quality'."
    )


class Analysis(Answer):
    """What a photograph holds."""

    width: int = Field(description="Of the upright photograph, in pixels.")
    height: int = Field(description="Of the upright photograph, in pixels.")
    bytes: int = Field(description="Length of the photograph as it was sent.")
    faces: list[AnalyzedFace] = Field(
        description="Every face, good or not, in reading order: rows from top to bottom, each from left to right."
    )
    minimum_quality: float = Field(description="The least quality of a face on which something should be decided.")


class Decoded(Answer):
    """What a bitstream frame carried."""

    descriptors: dict[str, list[float]] = Field(description="The numbers of each group that travelled.")
    portions: list[str] = Field(description="The portions that travelled.")
    quality: str = Field(description="Name of the quality at which it was coded.")
    blendshapes: dict[str, float] | None = Field(
        description="ARKit's 52 weights of the expression, 0 to 1, where they were asked for; left is the subject's."
    )


class Blendshapes(BaseModel):
    """What ARKit's names mean in the numbers of an expression."""

    expressions: dict[str, list[float]] = Field(
        description="Of each name the 64 numbers that a weight of 1 adds; 0 where they hold none of it (gaze, tongue)."
    )


class Recognized(Answer):
    """The expression of each face: of a photograph the good ones in reading order, else of the one face sent."""

    faces: list[Expression]


class Subject(BaseModel):
    """An enrolled subject; the template itself is never told."""

    subject: str
    model: Model = Field(description="The model that made the template.")
    enrolled_at: float = Field(description="Seconds since 1970, UTC.")
    expires_at: float | None = Field(None, description="Seconds since 1970, UTC; null for never.")
    samples: int = Field(description="How many photographs or bitstreams the template was made of.")
    consent: str | None = Field(None, description="Where the subject's consent is recorded.")
    labels: list[str] = Field(description="What the caller noted.")
    groups: list[str] = Field(description="The groups among which the subject can be identified.")


class SubjectPage(BaseModel):
    """Some of the enrolled, in an order that tells nothing."""

    subjects: list[Subject]
    after: str | None = Field(description="Ask with it for the next page; null at the end.")


class SubjectChange(BaseModel):
    """What to change of a subject: what is absent stays, null empties."""

    model_config = ConfigDict(extra="forbid")

    consent: Reference | None = None
    labels: list[Reference] | None = Field(None, max_length=MAX_WORDS)
    groups: list[GroupName] | None = Field(None, max_length=MAX_WORDS)
    expires_in_seconds: float | None = Field(None, gt=0, le=MAX_LIFE_SECONDS)


class ImportProblem(BaseModel):
    """A line of an import that was not taken."""

    line: int = Field(description="Counted from 1.")
    reason: str
    detail: str


class Imported(BaseModel):
    """What became of an import."""

    created: int
    replaced: int
    refused: int
    problems: list[ImportProblem] = Field(description="The first of the lines that were refused.")


class AuditEntry(BaseModel):
    """Something that was done."""

    at: float = Field(description="Seconds since 1970, UTC.")
    did: str = Field(examples=["enroll"])
    key: str = Field(description="Id of the API key.")
    subject: str = Field(description="A keyed hash that stands for the subject's id.")


class AuditTrail(BaseModel):
    """What was done last, the newest first."""

    entries: list[AuditEntry]


class Enrolled(Subject, Answer):
    """A subject that was enrolled just now."""

    created: bool = Field(description="False where a template was there before and was replaced.")


class Compared(Decision, Answer):
    """Whether two faces are one person."""


class Verified(Decision, Answer):
    """Whether a face is the subject's."""

    subject: str


class Identified(Who, Answer):
    """Who a face is."""


class StreamSent(BaseModel):
    """What became of one photograph of a stream; where a face was coded, its frame is the next message."""

    number: int = Field(description="Which photograph of the stream, from 0 on.")
    width: int
    height: int
    faces: int = Field(description="How many faces were seen.")
    box: Box | None = Field(None, description="The face that is followed; absent where it was not seen.")
    quality: float | None = Field(None, description="How well the face can be described, 0 to 1.")
    key: bool | None = Field(None, description="Whether the frame stands alone.")
    bits: Bits | None = None
    coded_at: str | None = Field(None, description="Name of the quality of the codec.")
    models: list[Model] | None = Field(None, description="What extracts; told with the first answer.")
    milliseconds: dict[str, float]


class StreamShown(BaseModel):
    """What a receiver knows after one frame; the face is told where the frame said something new."""

    number: int = Field(description="Which frame of the stream, from 0 on.")
    state: str = Field(description="decoded, concealed (the last face is held) or waiting (there is none yet).")
    bits: int = Field(description="8 × the length of the frame.")
    portions: list[str] = Field(description="All that came so far.")
    descriptors: dict[str, list[float]] | None = None
    blendshapes: dict[str, float] | None = None
    expression: Expression | None = None
    models: list[Model] | None = Field(None, description="What recognises; told with the first answer.")
    milliseconds: dict[str, float]


class Models(BaseModel):
    """The models in service, as they answered just now for the mean face."""

    models: list[Model]


class Readiness(BaseModel):
    """Whether requests can be answered. The stateless routes do not need the store."""

    ready: bool
    services: dict[str, bool]
    store: bool


def describe_bits(frame: Frame) -> Bits:
    """Return where the bits of ``frame`` go."""
    portions = {portion_names(portion)[0]: bits for portion, bits in frame.payload_bits.items()}
    return Bits(total=frame.bits, header=frame.header_bits, **portions)


def expression(face: UnderstoodFace) -> Expression | None:
    """Return the expression of ``face`` as it is told, or None where it was not asked for."""
    if face.confidences is None:
        return None
    return Expression.model_validate({"leading": face.leading, "confidences": face.confidences})
