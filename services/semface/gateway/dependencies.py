"""What a route is given: the parts that live as long as the app, and those that live as long as a request."""

from dataclasses import dataclass
from typing import Annotated, cast

from fastapi import Depends, Query, Request

from semface.descriptors import Portion, portions_by_name
from semface.errors import Reason, SemfaceError
from semface.gateway.enrollment import Enrollment
from semface.gateway.pipeline import FaceChoice, Pipeline, Services
from semface.gateway.provenance import Provenance
from semface.gateway.store import TemplateStore
from semface.gateway.telemetry import HttpMetrics
from semface.meaning import OperatingPoint


@dataclass(frozen=True, slots=True)
class Parts:
    """What the app holds."""

    services: Services
    store: TemplateStore
    enrollment: Enrollment
    metrics: HttpMetrics


def parts(request: Request) -> Parts:
    """Return the parts of the app that answers ``request``."""
    return cast(Parts, request.app.state.parts)


def start_provenance() -> Provenance:
    """Return the provenance of one request."""
    return Provenance()


AppParts = Annotated[Parts, Depends(parts)]
AnswerProvenance = Annotated[Provenance, Depends(start_provenance)]


def pipeline(app: AppParts, provenance: AnswerProvenance) -> Pipeline:
    """Return the pipeline of one request."""
    return Pipeline(app.services, provenance)


RequestPipeline = Annotated[Pipeline, Depends(pipeline)]
Choice = Annotated[
    FaceChoice, Query(alias="face", description="Which face of a photograph: the only one, or the largest.")
]
OperatingPointChoice = Annotated[
    OperatingPoint, Query(description="Which of the model's measured thresholds decides (FAR: false accept rate).")
]
Quality = Annotated[
    str | None, Query(description="Name or number of a quality of the codec; its default where absent.")
]
PortionNames = Annotated[
    list[str] | None, Query(alias="portion", description="identity, expression, illumination; all where absent.")
]

MAX_TARGET_BITS = 8192
"""No frame takes more."""

TargetBits = Annotated[
    int | None,
    Query(
        ge=1,
        le=MAX_TARGET_BITS,
        description="In place of a quality: the finest whose frame takes no more bits, else the coarsest.",
    ),
]


def read_quality(quality: str | None, bits: int | None) -> str | int | None:
    """Return a quality by number where it is one; raises FIELD_INVALID where ``bits`` are asked for too."""
    if quality is not None and bits is not None:
        raise SemfaceError(Reason.FIELD_INVALID, "name either a quality or a target in bits", field="bits")
    return int(quality) if quality is not None and quality.isdecimal() and len(quality) < 4 else quality


def read_portions(names: list[str] | None) -> Portion:
    """Return the portions of ``names``, all for None."""
    return portions_by_name(names) if names else Portion.ALL


def require_acceptable(request: Request, media_type: str) -> None:
    """Raise NOT_ACCEPTABLE unless the Accept header of ``request`` takes ``media_type``."""
    accept = request.headers.get("accept", "*/*")
    ranges = [entry.partition(";") for entry in accept.lower().split(",")]
    wanted = {name.strip() for name, _, options in ranges if options.replace(" ", "") not in ("q=0", "q=0.0")}
    if not wanted & {media_type, f"{media_type.partition('/')[0]}/*", "*/*"}:
        raise SemfaceError(Reason.NOT_ACCEPTABLE, f"this is answered as {media_type} only", field="Accept")
