"""What a route is given: the parts that live as long as the app, and those that live as long as a request."""

from dataclasses import dataclass
from typing import Annotated, cast

from fastapi import Query, Request

from semface.descriptors import Portion, portions_by_name
from semface.errors import Reason, SemfaceError
from semface.gateway.enrollment import Enrollment
from semface.gateway.pipeline import FaceChoice, Pipeline, Services
from semface.gateway.provenance import Provenance
from semface.gateway.security import Gate
from semface.gateway.settings import GatewaySettings
from semface.gateway.telemetry import HttpMetrics
from semface.meaning import OperatingPoint


@dataclass(frozen=True, slots=True)
class Parts:
    """What the app holds."""

    settings: GatewaySettings
    services: Services
    gate: Gate
    enrollment: Enrollment
    metrics: HttpMetrics

    def pipeline(self) -> Pipeline:
        """Return the pipeline of one request."""
        return Pipeline(self.services, Provenance())


def parts(request: Request) -> Parts:
    """Return the parts of the app that answers ``request``.

    Routes call it: a dependency of FastAPI would cost each request more than all that this does.
    """
    return cast(Parts, request.app.state.parts)


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


def choose_media_type(request: Request, *offered: str) -> str:
    """Return which of ``offered`` the Accept header of ``request`` likes best, the first of equals.

    Raises NOT_ACCEPTABLE where it takes none.
    """
    weights: dict[str, float] = {}
    for entry in request.headers.get("accept", "*/*").lower().split(","):
        name, *options = (part.strip() for part in entry.split(";"))
        weight = next((option[2:] for option in options if option.startswith("q=")), "1")
        weights[name] = float(weight) if weight.replace(".", "", 1).isdecimal() else 1.0

    def liked(media_type: str) -> float:
        # The narrowest range that holds a type decides.
        ranges = (media_type, f"{media_type.partition('/')[0]}/*", "*/*")
        return next((weights[name] for name in ranges if name in weights), 0.0)

    best = max(offered, key=liked)
    if not liked(best):
        message = f"this is answered as {' or '.join(offered)} only"
        raise SemfaceError(Reason.NOT_ACCEPTABLE, message, field="Accept")
    return best
