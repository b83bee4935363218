"""API keys: made here and shown once, kept as SHA-256 digests in a file, compared in constant time.

A key is 32 random bytes, so its plain digest cannot be guessed back, and needs no slow hash. The file is read again
when it has changed; the gateway and the services may share it.
"""

import fcntl
import hashlib
import hmac
import json
import os
import re
import secrets
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from semface.access.callers import DEFAULT_TENANT, Caller, Scope
from semface.errors import Reason, SemfaceError

KEY_PREFIX: Final = "semface_"
LOOK_SECONDS: Final = 1.0

_ID: Final = re.compile(r"^[a-z0-9]{8}$")


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key as it is kept: everything but the key itself."""

    digest: bytes
    """SHA-256 of the key (32 bytes)."""
    caller: Caller
    expires_at: float | None = None
    """Seconds since 1970; None for never."""


def digest_of(key: str) -> bytes:
    """Return the digest by which ``key`` is kept."""
    return hashlib.sha256(key.encode()).digest()


def plain_keys(digests: Iterable[str]) -> list[ApiKey]:
    """Return keys of the default tenant that may do everything, from their digests in hexadecimal."""
    return [ApiKey(bytes.fromhex(digest), Caller(key_id=digest[:8].lower())) for digest in digests]


class KeyFile:
    """The keys in a JSON file."""

    def __init__(self, path: Path) -> None:
        """Read ``path`` when the keys are first asked for."""
        self.path = path
        self._looked_at = -LOOK_SECONDS
        self._stamp: object = None
        self._keys: list[ApiKey] = []

    def keys(self) -> list[ApiKey]:
        """Return the keys, read anew where the file has changed; of a file that cannot be read the last ones."""
        now = time.monotonic()
        if now - self._looked_at >= LOOK_SECONDS:
            self._looked_at = now
            try:
                found = self.path.stat()
                stamp = (found.st_mtime_ns, found.st_ino, found.st_size)
                if stamp != self._stamp:
                    self._keys, self._stamp = [_key(entry) for entry in _read(self.path)], stamp
            except (OSError, SemfaceError) as error:
                if self._stamp is not None:
                    return self._keys
                if isinstance(error, SemfaceError):
                    raise
                raise SemfaceError(
                    Reason.FIELD_INVALID, f"{self.path} cannot be read; see semface keys create", field="keys_file"
                ) from error
        return self._keys

    def create(
        self, tenant: str, scopes: Iterable[Scope], calls_per_minute: int | None = None, days: float | None = None
    ) -> tuple[str, str]:
        """Add a new key and return its id and the key, which is told nowhere else."""
        key_id, key = secrets.token_hex(4), f"{KEY_PREFIX}{secrets.token_urlsafe(32)}"
        entry = {
            "id": key_id,
            "digest": digest_of(key).hex(),
            "tenant": tenant,
            "scopes": sorted(scopes),
            "calls_per_minute": calls_per_minute,
            "expires_at": None if days is None else time.time() + 86400 * days,
            "created_at": time.time(),
        }
        with self._changing() as entries:
            entries.append(entry)
        return key_id, key

    def revoke(self, key_id: str) -> None:
        """Remove the key of ``key_id``. Raises FIELD_INVALID where there is none."""
        with self._changing() as entries:
            kept = [entry for entry in entries if entry["id"] != key_id]
            if len(kept) == len(entries):
                raise SemfaceError(Reason.FIELD_INVALID, "there is no key with this id", field="id")
            entries[:] = kept

    def entries(self) -> list[dict[str, Any]]:
        """Return what the file says of each key."""
        return _read(self.path) if self.path.exists() else []

    @contextmanager
    def _changing(self) -> Iterator[list[dict[str, Any]]]:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(self.path.with_name(f"{self.path.name}.lock"), os.O_RDWR | os.O_CREAT, 0o600)) as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            entries = self.entries()
            yield entries
            fresh = self.path.with_name(f"{self.path.name}.new")
            with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
                json.dump({"keys": entries}, file, indent=1)
            fresh.replace(self.path)
        self._looked_at = -LOOK_SECONDS


def find_key(keys: Iterable[ApiKey], presented: str) -> Caller | None:
    """Return whose key was ``presented``, or None. Every digest is compared, so the time tells of none."""
    digest, found = digest_of(presented), None
    for key in keys:
        same = hmac.compare_digest(digest, key.digest)
        if same and (key.expires_at is None or key.expires_at > time.time()):
            found = key.caller
    return found


def _read(path: Path) -> list[dict[str, Any]]:
    try:
        entries: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["keys"]
        for entry in entries:
            _key(entry)
    except (ValueError, KeyError, TypeError) as error:
        raise SemfaceError(Reason.FIELD_INVALID, f"{path} is no file of keys", field="keys_file") from error
    return entries


def _key(entry: dict[str, Any]) -> ApiKey:
    if not _ID.fullmatch(entry["id"]):
        raise ValueError("no id")
    scopes = frozenset(Scope(scope) for scope in entry["scopes"])
    caller = Caller(entry.get("tenant", DEFAULT_TENANT), entry["id"], scopes, entry.get("calls_per_minute"))
    return ApiKey(bytes.fromhex(entry["digest"]), caller, entry.get("expires_at"))
