"""The key ring: each tenant's keys, wrapped by a master key, in a file outside Redis, and which tenants were erased.

A data key seals templates and draws the tenant's orthogonal map; a rotation gives a tenant a new one. The naming key
turns subject ids into pseudonyms and stays, so that the audit trail of a subject goes on over a rotation.
"""

import base64
import binascii
import fcntl
import json
import os
import re
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from semface.errors import Reason, SemfaceError

KEY_BYTES: Final = 32
NONCE_BYTES: Final = 12
TENANT_PATTERN: Final = r"^[a-z0-9][a-z0-9-]{0,62}$"
"""Lower-case letters, digits and dashes: nothing that means something in a Redis key or a pattern of keys."""

LOOK_SECONDS: Final = 1.0
"""How long a ring that was read is taken for current."""

_VERSION: Final = 1
_NAMING: Final = 0
"""The number under which the naming key is wrapped; data keys count from 1."""

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class TenantKeys:
    """The keys (32 bytes each) of one tenant: to name subjects, and by number to seal; ``active`` seals anew."""

    tenant: str
    naming: bytes = field(repr=False)
    data: dict[int, bytes] = field(repr=False)
    active: int


class KeyRing:
    """The keys of all tenants, read again when the file has changed; changed under a lock by whoever may write."""

    def __init__(self, path: Path, master_key: bytes) -> None:
        """Keep the ring at ``path``, made at the first tenant. Raises FIELD_INVALID for a key not of 32 bytes."""
        if len(master_key) != KEY_BYTES:
            raise SemfaceError(
                Reason.FIELD_INVALID, f"the master key is {KEY_BYTES} bytes in base64", field="master_key"
            )
        self.path = path
        self._wrap = AESGCM(master_key)
        self._looked_at = 0.0
        self._stamp: object = None
        self._content: dict[str, Any] = _empty()
        self._keys: dict[str, TenantKeys] = {}

    def tenants(self) -> list[str]:
        """Return the names of the tenants that have keys, sorted."""
        self._refresh()
        return sorted(self._content["tenants"])

    def erased(self) -> list[str]:
        """Return the names of the tenants that were erased."""
        self._refresh()
        return sorted(self._content["erased"])

    def keys(self, tenant: str) -> TenantKeys:
        """Return the keys of ``tenant``, made now for a new one.

        Raises KEY_INVALID for an erased tenant, FIELD_INVALID for a name that is none.
        """
        self._refresh()
        if tenant in self._content["erased"]:
            raise SemfaceError(Reason.KEY_INVALID, "the tenant of this key was erased")
        if tenant not in self._content["tenants"]:
            self.create(tenant)
        if tenant not in self._keys:
            self._keys[tenant] = self._unwrap_tenant(tenant)
        return self._keys[tenant]

    def create(self, tenant: str) -> None:
        """Give a new ``tenant`` keys; nothing happens where it has some. Raises KEY_INVALID for an erased one."""
        if not re.fullmatch(TENANT_PATTERN, tenant):
            raise SemfaceError(
                Reason.FIELD_INVALID,
                "a tenant has 1 to 63 lower-case letters, digits and dashes, no dash first",
                field="tenant",
            )

        def add(content: dict[str, Any]) -> None:
            if tenant in content["erased"]:
                raise SemfaceError(Reason.KEY_INVALID, "the tenant was erased; take another name")
            if tenant not in content["tenants"]:
                content["tenants"][tenant] = {
                    "naming": self._wrapped(tenant, _NAMING, secrets.token_bytes(KEY_BYTES)),
                    "data": {"1": self._wrapped(tenant, 1, secrets.token_bytes(KEY_BYTES))},
                    "active": 1,
                    "retired": {},
                }

        self._change(add)

    def renew(self, tenant: str) -> int:
        """Make a new data key active and return its number; the keys before it still open what they sealed."""

        def add(content: dict[str, Any]) -> int:
            kept = _known(content, tenant)
            number = max(int(name) for name in kept["data"]) + 1
            kept["data"][str(number)] = self._wrapped(tenant, number, secrets.token_bytes(KEY_BYTES))
            kept["active"] = number
            return number

        return self._change(add)

    def retire(self, tenant: str, *, destroy: bool) -> list[int]:
        """Note that only the active data key seals anything, and return the others.

        Retired keys stay to open what an old snapshot of Redis brings back; ``destroy`` forgets them for good.
        """

        def note(content: dict[str, Any]) -> list[int]:
            kept = _known(content, tenant)
            others = [number for number in kept["data"] if int(number) != kept["active"]]
            for number in others:
                if destroy:
                    del kept["data"][number]
                    kept["retired"].pop(number, None)
                else:
                    kept["retired"].setdefault(number, time.time())
            return [int(number) for number in others]

        return self._change(note)

    def in_use(self, tenant: str) -> list[int]:
        """Return the numbers of the data keys that may still seal something, the active one last."""
        self._refresh()
        kept = _known(self._content, tenant)
        return sorted(int(number) for number in kept["data"] if number not in kept["retired"])

    def erase(self, tenant: str) -> None:
        """Destroy every key of ``tenant`` and list it as erased. Raises FIELD_INVALID for an unknown one."""

        def remove(content: dict[str, Any]) -> None:
            _known(content, tenant)
            del content["tenants"][tenant]
            content["erased"][tenant] = time.time()

        self._change(remove)

    def _unwrap_tenant(self, tenant: str) -> TenantKeys:
        kept = self._content["tenants"][tenant]
        data = {int(number): self._unwrapped(tenant, int(number), text) for number, text in kept["data"].items()}
        return TenantKeys(tenant, self._unwrapped(tenant, _NAMING, kept["naming"]), data, kept["active"])

    def _wrapped(self, tenant: str, number: int, key: bytes) -> str:
        nonce = secrets.token_bytes(NONCE_BYTES)
        return base64.b64encode(nonce + self._wrap.encrypt(nonce, key, _context(tenant, number))).decode()

    def _unwrapped(self, tenant: str, number: int, text: str) -> bytes:
        wrapped = base64.b64decode(text)
        try:
            return self._wrap.decrypt(wrapped[:NONCE_BYTES], wrapped[NONCE_BYTES:], _context(tenant, number))
        except InvalidTag as error:
            message = (
                "the key ring was wrapped by another master key, or was changed; set the master key it was made with"
            )
            raise SemfaceError(Reason.FIELD_INVALID, message, field="master_key") from error

    def _refresh(self) -> None:
        now = time.monotonic()
        if now - self._looked_at < LOOK_SECONDS and self._stamp is not None:
            return
        self._looked_at = now
        stamp = _stamp(self.path)
        if stamp != self._stamp:
            self._take(_read(self.path), stamp)

    def _take(self, content: dict[str, Any], stamp: object) -> None:
        self._content, self._stamp, self._keys = content, stamp, {}

    def _change(self, change: Callable[[dict[str, Any]], Result]) -> Result:
        """Let ``change`` alter the content of the file, which no other process changes meanwhile."""
        try:
            with _locked(self.path):
                content = _read(self.path)
                result = change(content)
                _write(self.path, content)
                self._take(content, _stamp(self.path))
        except OSError as error:
            message = (
                f"the key ring at {self.path} cannot be written; add the tenant where it can: semface tenants create"
            )
            raise SemfaceError(Reason.FIELD_INVALID, message, field="key_ring") from error
        return result


def open_key_ring(path: Path, master_key: str) -> KeyRing:
    """Return the ring at ``path``; ``master_key`` is base64. Raises FIELD_INVALID for a key that is none."""
    try:
        return KeyRing(path, base64.b64decode(master_key.strip(), validate=True))
    except binascii.Error as error:
        message = f"the master key is {KEY_BYTES} bytes in base64"
        raise SemfaceError(Reason.FIELD_INVALID, message, field="master_key") from error


def new_master_key() -> str:
    """Return a new master key in base64."""
    return base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode()


def _context(tenant: str, number: int) -> bytes:
    return f"semface key {number} of {tenant}".encode()


def _empty() -> dict[str, Any]:
    return {"version": _VERSION, "tenants": {}, "erased": {}}


def _known(content: dict[str, Any], tenant: str) -> dict[str, Any]:
    if tenant not in content["tenants"]:
        raise SemfaceError(Reason.FIELD_INVALID, "there is no such tenant", field="tenant")
    kept: dict[str, Any] = content["tenants"][tenant]
    return kept


def _stamp(path: Path) -> object:
    try:
        found = path.stat()
    except FileNotFoundError:
        return "absent"
    return found.st_mtime_ns, found.st_ino, found.st_size


def _read(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return _empty()
    except ValueError as error:
        raise SemfaceError(Reason.FIELD_INVALID, f"{path} is no key ring", field="key_ring") from error
    if content.get("version") != _VERSION:
        raise SemfaceError(Reason.FIELD_INVALID, f"{path} is of another version", field="key_ring")
    return content


def _write(path: Path, content: dict[str, Any]) -> None:
    """Replace the file at once, so that a crash leaves the old or the new one."""
    fresh = path.with_name(f"{path.name}.new")
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        json.dump(content, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with os.fdopen(os.open(path.with_name(f"{path.name}.lock"), os.O_RDWR | os.O_CREAT, 0o600), "r") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
