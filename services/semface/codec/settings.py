"""Settings of the codec deployable."""

from pydantic import Field

from semface.rpc.settings import ServerSettings


class CodecSettings(ServerSettings):
    """What the codec service needs beside what every server needs."""

    codec_default_quality: str | None = Field(
        None, description="Name or number of the quality where a request names none; unset takes the model's own."
    )
    codec_max_faces: int = Field(1024, ge=1, description="Most faces or frames that one call may hold.")
