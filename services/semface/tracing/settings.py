"""The settings of traces that the gateway and the services share."""

from urllib.parse import urlsplit

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


class TracingSettings(BaseSettings):
    """Where traces go. Each field is read from ``SEMFACE_`` and its name."""

    model_config = SettingsConfigDict(env_prefix="SEMFACE_", extra="ignore")

    tracing_endpoint: str | None = Field(
        None,
        description="OpenTelemetry collector that takes OTLP over gRPC, such as http://collector:4317 (https: TLS); "
        "unset, nothing is traced. Needs the extra `tracing`.",
    )
    tracing_ratio: float = Field(
        0.05,
        ge=0,
        le=1,
        description="Share of the requests that are traced. The gateway decides; a service follows what a call says, "
        "and decides for those that say nothing.",
    )

    @field_validator("tracing_endpoint")
    @classmethod
    def _is_url(cls, value: str | None) -> str | None:
        if value is None:
            return None
        parts = urlsplit(value)
        plain = not (parts.path.strip("/") or parts.query or parts.fragment or parts.username or parts.password)
        if parts.scheme not in ("http", "https") or not parts.hostname or not plain:
            raise ValueError("a collector is given as http://host:port or https://host:port")
        return value
