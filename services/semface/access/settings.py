"""The settings of access that the gateway and the services share."""

import re
from pathlib import Path
from typing import Annotated

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict


class AccessSettings(BaseSettings):
    """Who may call. Each field is read from ``SEMFACE_`` and its name."""

    model_config = SettingsConfigDict(env_prefix="SEMFACE_", extra="ignore")

    api_keys: Annotated[tuple[SecretStr, ...], NoDecode] = Field(
        (),
        description="SHA-256 digests (hex) of keys of the tenant 'default' that may do all, separated by commas.",
    )
    keys_file: Path | None = Field(
        None, description="File of API keys with tenant, scopes and limits, as `semface keys create` writes it."
    )
    oidc_issuer: str | None = Field(None, description="Issuer of the OpenID Connect tokens that are taken beside keys.")
    oidc_audience: str = Field("semface", description="Audience that a token has to be for.")
    oidc_keys: str | None = Field(None, description="File or https URL of the issuer's JSON Web Key Set.")
    oidc_tenant_claim: str = Field("semface_tenant", description="Claim of a token that names the tenant.")

    tls_certificate: Path | None = Field(
        None,
        description="Certificate chain (PEM) of this process between gateway and services; read again when changed.",
    )
    tls_key: Path | None = Field(None, description="Private key (PEM) of the certificate.")
    tls_ca: Path | None = Field(
        None, description="Certificates (PEM) that the other side's has to chain to. Services ask every caller for one."
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
    def asks_for_keys(self) -> bool:
        """Whether a caller has to show a key or a token."""
        return bool(self.api_keys or self.keys_file or self.oidc_issuer)
