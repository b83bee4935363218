"""The Secrets that the chart names, made anew; they are printed once and kept nowhere here."""

import base64
import hashlib
import json
import secrets
import tempfile
from pathlib import Path
from typing import Final

from semface.access.callers import DEFAULT_TENANT, Scope
from semface.access.keys import KeyFile
from semface.operations.cluster import Object

MASTER_KEY_BYTES: Final = 32
GATEWAY_COMMANDS: Final = (
    "~semface:* -@all +ping +hello +auth +client +select +eval +hget +hset +hdel +hkeys +hgetall +zadd +zrem "
    "+zrangebyscore +xadd +xrange +xrevrange +get +set +del +unlink +incr +expire +ttl +scan +smembers"
)
"""What the gateway may do in Redis; docs/enrollment.md tells the same."""


def chart_secrets(namespace: str) -> list[Object]:
    """Return the Secrets `semface-access`, `-master-key`, `-redis` and `-triton-admin` for ``namespace``.

    The key `service-key` may do everything that keeps nothing, and enrol, read, verify and identify.
    """
    with tempfile.TemporaryDirectory() as folder:
        keys = KeyFile(Path(folder) / "keys.json")
        scopes = [scope for scope in Scope if scope is not Scope.EXPORT]
        _, service_key = keys.create(DEFAULT_TENANT, scopes)
        key_file = json.dumps({"keys": keys.entries()})
    password, backup = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
    master = base64.b64encode(secrets.token_bytes(MASTER_KEY_BYTES)).decode()
    return [
        _secret(namespace, "semface-access", {"keys.json": key_file, "service-key": service_key}),
        _secret(namespace, "semface-master-key", {"master-key": master}),
        _secret(
            namespace,
            "semface-redis",
            {"password": password, "backup-password": backup, "users.acl": redis_users(password, backup)},
        ),
        _secret(namespace, "semface-triton-admin", {"key": secrets.token_urlsafe(32)}),
    ]


def redis_users(password: str, backup_password: str) -> str:
    """Return Redis' users: the gateway, the backup, a probe that may ping, and nobody else."""
    lines = [
        "user default off",
        "user probe on nopass resetchannels -@all +ping",
        f"user gateway on #{_digest(password)} resetchannels {GATEWAY_COMMANDS}",
        f"user backup on #{_digest(backup_password)} resetchannels -@all +ping +psync +sync +replconf +info",
    ]
    return "\n".join(lines) + "\n"


def _digest(password: str) -> str:
    return hashlib.sha256(password.encode()).hexdigest()


def _secret(namespace: str, name: str, values: dict[str, str]) -> Object:
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "Opaque", "stringData": values}
