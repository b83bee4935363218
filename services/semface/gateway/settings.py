"""Settings of the gateway, read from the environment."""

from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr

from semface.access.settings import AccessSettings
from semface.rpc.settings import is_loopback
from semface.tracing.settings import TracingSettings

LOOPBACK = "127.0.0.1"


class GatewaySettings(AccessSettings, TracingSettings):
    """Everything that can be set about the gateway; each field is an environment variable with the prefix SEMFACE_."""

    http_host: str = Field(LOOPBACK, description="Address to listen on. Without API keys only loopback is used.")
    http_port: int = Field(8080, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    extraction_address: str = Field("127.0.0.1:8100", description="host:port of the extraction service.")
    codec_address: str = Field("127.0.0.1:8100", description="host:port of the codec service.")
    understanding_address: str = Field("127.0.0.1:8100", description="host:port of the understanding service.")
    redis_url: SecretStr = Field(
        SecretStr("redis://127.0.0.1:6379/0"),
        description="URL of the Redis that holds the enrolled: redis://, rediss:// (TLS), unix://, "
        "redis+sentinel://hosts/service, redis+cluster://hosts.",
    )
    redis_timeout_seconds: float = Field(2.0, gt=0, description="How long one command to Redis may take, in seconds.")
    key_ring: Path | None = Field(
        None, description="File of the tenants' wrapped keys, outside Redis and its backups; made where it is absent."
    )
    master_key: SecretStr | None = Field(None, description="Key that wraps those of the ring: 32 bytes in base64.")
    master_key_file: Path | None = Field(None, description="File that holds the master key, in place of the variable.")
    changes_kept: int = Field(
        10_000, ge=100, description="Changes of a tenant that Redis keeps for indexes to catch up; beyond, all is read."
    )
    audit_kept: int = Field(100_000, ge=100, description="Entries of a tenant's audit trail that Redis keeps.")
    index_folder: Path | None = Field(
        None, description="Folder where indexes are kept, encrypted, over a restart; unset reads them from Redis."
    )
    exact_limit: int = Field(
        100_000,
        ge=1,
        description="Subjects of a tenant up to which identify compares every template whole; beyond, a first pass "
        "leaves out who cannot be among the best.",
    )
    vector_sets: bool = Field(
        False,
        description="Let Redis 8 search in vector sets, in place of an index in each gateway. The mapped templates "
        "then lie in Redis unencrypted.",
    )
    enroll_max_faces: int = Field(8, ge=1, le=32, description="Most photographs or bitstreams of one enrolment.")
    enroll_minimum_quality: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Least quality of a photograph's face to enrol, where extraction's is to be raised.",
    )
    verify_per_minute: int = Field(120, ge=1, description="Verifications of one subject in a minute.")
    lockout_misses: int = Field(10, ge=1, description="Faces that do not match after which a subject is locked.")
    lockout_seconds: int = Field(900, ge=1, description="Time in which those misses count, and the lock ends.")
    service_key: SecretStr | None = Field(None, description="API key that the gateway shows to the gRPC services.")
    call_timeout_seconds: float = Field(10.0, gt=0, description="Deadline of each call to a service, in seconds.")
    grace_seconds: float = Field(10.0, ge=0, description="How long requests in flight may go on at a stop.")
    http_max_in_flight: int = Field(
        16,
        ge=1,
        description="Requests that the gateway answers at once; others wait, in turns among tenants. No more than the "
        "services answer at once for each of their gateways, or they refuse without regard to whose a request is.",
    )
    http_max_waiting: int = Field(
        64,
        ge=0,
        description="Requests that wait; further ones are refused as OVERLOADED, those of the greediest tenant.",
    )
    http_max_wait_seconds: float = Field(
        0.5,
        ge=0,
        description="Longest a request should have to wait, by the work of those before it; further ones are refused "
        "as OVERLOADED.",
    )
    drain_seconds: float = Field(
        2.0,
        ge=0,
        description="How long a stop waits for callers with an open connection to connect elsewhere.",
    )
    http_head_seconds: float = Field(10.0, gt=0, description="Longest time the head of a request may take to arrive.")
    http_body_seconds: float = Field(
        30.0, gt=0, description="Longest time a body may take to arrive; of an import, the next piece of it."
    )
    http_answer_seconds: float = Field(
        30.0, gt=0, description="Longest time a caller may leave what it was sent of an answer unread."
    )
    http_max_image_bytes: int = Field(
        10_000_000,
        gt=0,
        description="Largest photograph over HTTP, in bytes, checked while reading; extraction has a limit of its own.",
    )
    http_max_message_bytes: int = Field(65_536, gt=0, description="Largest bitstream or JSON body over HTTP, in bytes.")
    http_max_import_bytes: int = Field(1 << 30, gt=0, description="Largest import over HTTP, in bytes; read by lines.")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="The least level to log.")
    log_format: Literal["json", "console"] = Field("json", description="One JSON object a line, or text for people.")

    def read_master_key(self) -> str | None:
        """Return the master key in base64 from the variable or the file, or None where neither is set."""
        if self.master_key is not None:
            return self.master_key.get_secret_value()
        return None if self.master_key_file is None else self.master_key_file.read_text(encoding="ascii")

    @property
    def listen_host(self) -> str:
        """The address really listened on: loopback unless keys are set."""
        return self.http_host if self.asks_for_keys or is_loopback(self.http_host) else LOOPBACK
