"""The settings that every gRPC deployable shares; each extends them."""

from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from semface.access.settings import AccessSettings
from semface.tracing.settings import TracingSettings

Port = Annotated[int, Field(ge=0, le=65535)]
MEBIBYTE = 1 << 20
REMOTE_CANARY_SECONDS = 0.5
REMOTE_CANARY_TIMEOUT_SECONDS = 1.4
"""Time between canaries, and the longest one may take, where networks run on another server: a server that is away, or
that answers no more, is told within two seconds."""


def _model_repository() -> Path:
    """The repository beside a source checkout, wherever the command is run from; else the working folder's."""
    beside_checkout = Path(__file__).resolve().parents[3] / "model_repository"
    return beside_checkout if beside_checkout.is_dir() else Path("model_repository")


class ServerSettings(AccessSettings, TracingSettings):
    """How a gRPC server listens, sheds, reports and stops. Each field is read from ``SEMFACE_`` and its name."""

    host: str = Field(
        "127.0.0.1",
        description="Address to listen on; 0.0.0.0 in a container. Without keys or certificates only loopback.",
    )
    port: Port = Field(8100, description="Port of the gRPC server; 0 takes a free one.")
    health_port: Port | None = Field(
        None,
        description="Port of health alone, without TLS and keys, for probes; 0 takes a free one, none serves none.",
    )
    allow_anonymous: bool = Field(
        False,
        description="Whether to listen beyond loopback without keys and certificates: only in a closed network.",
    )
    metrics_port: Port | None = Field(
        None, description="Port of Prometheus metrics over HTTP; 0 takes a free one, none serves no metrics."
    )
    reflection: bool = Field(False, description="Whether the server tells its services and messages to any caller.")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="The least level to log.")
    log_format: Literal["json", "console"] = Field("json", description="One JSON object a line, or text for people.")

    max_message_bytes: int = Field(
        32 * MEBIBYTE, ge=1024, description="Largest message sent or received, in bytes; above the image limit."
    )
    max_in_flight: int = Field(
        16,
        ge=1,
        description="Unary calls that each service answers at once; others wait, in turns among tenants.",
    )
    max_waiting: int = Field(
        64, ge=0, description="Unary calls that wait for each service; further ones are refused as OVERLOADED."
    )
    max_wait_seconds: float = Field(
        0.5,
        ge=0,
        description="Longest a unary call should have to wait, by the work of those before it; further ones are "
        "refused as OVERLOADED where max_in_flight calls are there already.",
    )
    max_streams: int = Field(64, ge=1, description="Streams open at once; further ones are refused as OVERLOADED.")
    call_seconds: float = Field(30.0, gt=0, description="Longest time a unary call may take, whatever its deadline.")
    stream_idle_seconds: float = Field(
        60.0, gt=0, description="How long a stream may stay open without anything being sent; it then ends."
    )
    grace_seconds: float = Field(10.0, ge=0, description="How long calls in flight may go on when the server stops.")

    canary_interval_seconds: float = Field(
        30.0,
        gt=0,
        description="Time between canaries of a healthy service; unset, it is 0.5 where a Triton server runs the "
        "networks, so that one that is away is told within two seconds.",
    )
    canary_retry_seconds: float = Field(1.0, gt=0, description="Time to the next canary after a failed one.")
    canary_timeout_seconds: float = Field(
        10.0, gt=0, description="Longest time a canary may take; unset, it is 1.4 where a Triton server runs them."
    )

    inference: str = Field(
        "embedded", description="Where networks run: embedded, or a Triton server as grpc://host:port."
    )
    model_repository: Path = Field(
        default_factory=_model_repository,
        description="Folder of the networks, in Triton's layout; unset takes that of the checkout.",
    )

    @model_validator(mode="after")
    def _look_often_where_networks_run_elsewhere(self) -> Self:
        if self.inference != "embedded":
            unset = {"canary_interval_seconds", "canary_timeout_seconds"} - self.model_fields_set
            if "canary_interval_seconds" in unset:
                self.canary_interval_seconds = REMOTE_CANARY_SECONDS
            if "canary_timeout_seconds" in unset:
                self.canary_timeout_seconds = REMOTE_CANARY_TIMEOUT_SECONDS
        return self


def is_loopback(host: str) -> bool:
    """Return whether ``host`` can be reached from this machine only."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
