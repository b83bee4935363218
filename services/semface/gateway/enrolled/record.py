"""One enrolled subject as one binary value: a clear header that says which key and model, and everything else sealed.

Layout, little-endian. Header: format (1 byte), data key (2), model hash (8), model name and version (a length byte
before each). Then nonce (12), ciphertext and tag (16). Inside: enrolled_at and expires_at (8 each, seconds since 1970,
0 for never), count of samples (1), scale (4), 512 signed bytes of the mapped template, subject id (a length byte
before it), and JSON of consent, labels and groups where there are any.
"""

import json
import struct
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from semface.client import Model
from semface.errors import Reason, SemfaceError
from semface.gateway.enrolled.protection import TenantProtection
from semface.meaning import EMBEDDING_SIZE

FORMAT: Final = 1
LARGEST_CODE: Final = 127
MOST_TEXT_BYTES: Final = 255
"""Of a model's name, its version, a subject id: each follows its length, one byte."""

_HEADER: Final = struct.Struct("<BHQ")
_INSIDE: Final = struct.Struct("<ddBf")

Vector = NDArray[np.float32]
Codes = NDArray[np.int8]


@dataclass(frozen=True, slots=True)
class Details:
    """What is known of a subject beside its template."""

    enrolled_at: float
    """Seconds since 1970, UTC."""
    expires_at: float | None = None
    """Seconds since 1970, UTC; None for never."""
    samples: int = 1
    """How many photographs or bitstreams the template was made of."""
    consent: str | None = None
    labels: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()

    def expired(self, now: float) -> bool:
        """Return whether the time to live was over at ``now``."""
        return self.expires_at is not None and self.expires_at <= now


@dataclass(frozen=True, slots=True, eq=False)
class Record:
    """An enrolled subject; the template lies in the map of data key ``key`` as 512 signed bytes with one scale."""

    subject: str
    model: Model
    key: int
    codes: Codes
    scale: float
    details: Details

    def vector(self, protection: TenantProtection, key: int) -> Vector:
        """Return the unit template (512,) in the map of data key ``key``."""
        vector = self.codes.astype(np.float32) * np.float32(self.scale)
        vector /= np.linalg.norm(vector)
        if key != self.key:
            vector = protection.mapped(protection.unmapped(vector, self.key), key)
        return vector

    def embedding(self, protection: TenantProtection) -> Vector:
        """Return the unit embedding (512,) that was enrolled, to the precision that is kept (cosine error < 1e-3)."""
        vector = self.codes.astype(np.float32) * np.float32(self.scale)
        return protection.unmapped(vector / np.linalg.norm(vector), self.key)


def make_record(
    subject: str, embedding: Vector, model: Model, details: Details, protection: TenantProtection
) -> Record:
    """Return the record of a unit ``embedding`` (512,), mapped by the active key of ``protection``."""
    mapped = protection.mapped(embedding, protection.active)
    scale = float(np.abs(mapped).max()) / LARGEST_CODE
    return Record(subject, model, protection.active, np.rint(mapped / scale).astype(np.int8), scale, details)


def seal_record(record: Record, protection: TenantProtection) -> bytes:
    """Return the value to keep; the record has to lie in the map of the active key."""
    if record.key != protection.active:
        raise ValueError("a record is sealed under the key whose map it lies in")
    details = record.details
    inside = _INSIDE.pack(details.enrolled_at, details.expires_at or 0.0, details.samples, record.scale)
    described = {"consent": details.consent, "labels": details.labels, "groups": details.groups}
    told = {name: value for name, value in described.items() if value}
    plain = inside + record.codes.tobytes() + _text(record.subject)
    plain += json.dumps(told, separators=(",", ":")).encode() if told else b""
    header = (
        _HEADER.pack(FORMAT, record.key, record.model.hash) + _text(record.model.name) + _text(record.model.version)
    )
    return header + protection.seal(plain, _context(header, protection, protection.pseudonym(record.subject)))


def open_record(value: bytes, pseudonym: bytes, protection: TenantProtection) -> Record:
    """Return what ``value``, found under ``pseudonym``, holds. Raises BACKEND_AWAY for what was changed or moved."""
    try:
        form, key, model_hash = _HEADER.unpack_from(value)
        name, place = _read_text(value, _HEADER.size)
        version, place = _read_text(value, place)
    except (struct.error, IndexError, UnicodeDecodeError) as error:
        raise _damaged() from error
    if form != FORMAT:
        raise _damaged()
    plain = protection.open(key, value[place:], _context(value[:place], protection, pseudonym))
    enrolled_at, expires_at, samples, scale = _INSIDE.unpack_from(plain)
    end = _INSIDE.size + EMBEDDING_SIZE
    codes = np.frombuffer(plain, np.int8, EMBEDDING_SIZE, _INSIDE.size)
    subject, rest = _read_text(plain, end)
    told = json.loads(plain[rest:]) if rest < len(plain) else {}
    details = Details(
        enrolled_at,
        expires_at or None,
        samples,
        told.get("consent"),
        tuple(told.get("labels", ())),
        tuple(told.get("groups", ())),
    )
    return Record(subject, Model(name, version, model_hash), key, codes, scale, details)


def reseal(value: bytes, pseudonym: bytes, protection: TenantProtection) -> bytes | None:
    """Return ``value`` under the active key and in its map, or None where it is already."""
    record = open_record(value, pseudonym, protection)
    if record.key == protection.active:
        return None
    moved = make_record(record.subject, record.embedding(protection), record.model, record.details, protection)
    return seal_record(moved, protection)


def _context(header: bytes, protection: TenantProtection, pseudonym: bytes) -> bytes:
    # Tenant, subject, model and version: a value that was moved from one place to another does not open.
    return b"semface template\0" + _text(protection.tenant) + pseudonym + header


def _text(text: str) -> bytes:
    data = text.encode()
    return bytes([len(data)]) + data


def _read_text(data: bytes, place: int) -> tuple[str, int]:
    end = place + 1 + data[place]
    return data[place + 1 : end].decode(), end


def _damaged() -> SemfaceError:
    return SemfaceError(Reason.BACKEND_AWAY, "a stored template was changed or is not in its place")
