"""Settings of the extraction deployable."""

from pydantic import Field

from semface.extraction.core import MAXIMUM_FACES, Extractor
from semface.extraction.detection import DetectorOptions
from semface.extraction.image import DEFAULT_LIMITS, ImageLimits
from semface.extraction.quality import DEFAULT_GATE
from semface.inference.engine import Engine
from semface.rpc.settings import ServerSettings


class ExtractionSettings(ServerSettings):
    """What the extraction service needs beside what every server needs."""

    max_image_bytes: int = Field(DEFAULT_LIMITS.max_bytes, gt=0, description="Largest encoded photograph, in bytes.")
    max_image_pixels: int = Field(
        DEFAULT_LIMITS.max_pixels,
        gt=0,
        le=170_000_000,
        description="Largest photograph by the size in its header, in pixels.",
    )
    max_decoding: int = Field(
        4,
        ge=1,
        description="Pictures decoded and searched at once, since one of 50 megapixels takes some 700 MB meanwhile; "
        "further ones wait within their deadline.",
    )
    minimum_face_pixels: float = Field(
        DetectorOptions().minimum_face,
        ge=12,
        description="Smallest face sought, in pixels; in a small photograph smaller ones are found too.",
    )
    maximum_faces: int = Field(
        MAXIMUM_FACES, ge=1, description="Of a crowd, how many of the largest faces are described."
    )
    minimum_quality: float = Field(
        DEFAULT_GATE,
        ge=0,
        le=1,
        description="Least quality of a face on which something is decided; where no face of a photograph reaches it, "
        "LOW_QUALITY is answered.",
    )

    @property
    def image_limits(self) -> ImageLimits:
        """The largest picture that is decoded."""
        return ImageLimits(self.max_image_bytes, self.max_image_pixels)

    def extractor(self, engine: Engine) -> Extractor:
        """Return the extractor over ``engine`` that the settings ask for, the same for a service and a command."""
        detector = DetectorOptions(minimum_face=self.minimum_face_pixels)
        return Extractor(engine, detector, self.maximum_faces, self.minimum_quality)
