"""Settings of the understanding deployable."""

from pydantic import Field

from semface.rpc.settings import ServerSettings


class UnderstandingSettings(ServerSettings):
    """What the understanding services need beside what every server needs."""

    understanding_max_faces: int = Field(256, ge=1, description="Most faces that one call of Understand may hold.")
