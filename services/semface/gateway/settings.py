"""Settings of the gateway, read from the environment."""

import re
from typing import Annotated, Literal

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from semface.rpc.settings import is_loopback

LOOPBACK = "127.0.0.1"


class GatewaySettings(BaseSettings):
    """Everything that can be set about the gateway; each field is an environment variable with the prefix SEMFACE_."""

    model_config = SettingsConfigDict(env_prefix="SEMFACE_", extra="ignore")

    http_host: str = Field(LOOPBACK, description="Address to listen on. Without API keys only loopback is used.")
    http_port: int = Field(8080, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    extraction_address: str = Field("127.0.0.1:8100", description="host:port of the extraction service.")
    codec_address: str = Field("127.0.0.1:8100", description="host:port of the codec service.")
    understanding_address: str = Field("127.0.0.1:8100", description="host:port of the understanding service.")
    redis_url: SecretStr = Field(
        SecretStr("redis://127.0.0.1:6379/0"),
        description="URL of the Redis-protocol server that holds the enrolled embeddings (redis://, rediss://, unix://).",
    )
    redis_timeout_seconds: float = Field(2.0, gt=0, description="How long one command to Redis may take, in seconds.")
    call_timeout_seconds: float = Field(10.0, gt=0, description="Deadline of each call to a service, in seconds.")
    grace_seconds: float = Field(10.0, ge=0, description="How long requests in flight may go on at a stop.")
    http_max_image_bytes: int = Field(
        10_000_000,
        gt=0,
        description="Largest photograph over HTTP, in bytes, checked while reading; extraction has a limit of its own.",
    )
    http_max_message_bytes: int = Field(65_536, gt=0, description="Largest bitstream or JSON body over HTTP, in bytes.")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="The least level to log.")
    log_format: Literal["json", "console"] = Field("json", description="One JSON object a line, or text for people.")
    api_keys: Annotated[tuple[SecretStr, ...], NoDecode] = Field(
        (),
        description="SHA-256 digests (hex) of the keys that callers may send as bearer tokens, separated by commas.",
    )

    @field_validator("api_keys", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value

    @field_validator("api_keys")
    @classmethod
    def _are_digests(cls, value: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        if not all(re.fullmatch(r"[0-9a-fA-F]{64}", key.get_secret_value()) for key in value):
            raise ValueError("each key is given as its SHA-256 digest: printf %s KEY | sha256sum")
        return value

    @property
    def listen_host(self) -> str:
        """The address really listened on: loopback unless keys are set."""
        return self.http_host if self.api_keys or is_loopback(self.http_host) else LOOPBACK
