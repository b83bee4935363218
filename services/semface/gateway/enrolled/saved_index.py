"""An index in a file, sealed like the records it was made of, so that a restart need not read all of Redis again."""

import io
import json
import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from semface.client import Model
from semface.errors import SemfaceError
from semface.gateway.enrolled.index import Entry, TemplateIndex
from semface.gateway.enrolled.key_ring import NONCE_BYTES
from semface.gateway.enrolled.protection import PSEUDONYM_BYTES, TAG_BYTES, TenantProtection

PART_BYTES: Final = 1 << 28
"""What is sealed at once: AES-GCM takes no 2 GiB."""
SEALED_PART_BYTES: Final = NONCE_BYTES + PART_BYTES + TAG_BYTES

_HEADER: Final = struct.Struct("<8sHI")
_MAGIC: Final = b"semidx2\n"


@dataclass(frozen=True, slots=True)
class SavedIndexes:
    """The files of all tenants in one folder."""

    folder: Path

    def path(self, tenant: str) -> Path:
        """Return the file of ``tenant``."""
        return self.folder / f"{tenant}.index"

    def write(self, protection: TenantProtection, index: TemplateIndex, position: str) -> None:
        """Keep ``index``, which is as the stream of changes was at ``position``."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        plain = memoryview(_packed(index, position))
        starts = range(0, len(plain), PART_BYTES)
        header = _HEADER.pack(_MAGIC, protection.active, len(starts))
        fresh = self.folder / f"{protection.tenant}.{os.getpid()}.new"
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(header)
            for number, start in enumerate(starts):
                part = plain[start : start + PART_BYTES]
                file.write(protection.seal(part, _context(header, number, protection.tenant)))
        fresh.replace(self.path(protection.tenant))

    def read(self, protection: TenantProtection, exact_limit: int) -> tuple[TemplateIndex, str] | None:
        """Return the index of a tenant and its position; None where there is none that can be used."""
        try:
            data = self.path(protection.tenant).read_bytes()
            magic, key, parts = _HEADER.unpack_from(data)
            if magic != _MAGIC or key != protection.active:
                return None
            header, sealed = data[: _HEADER.size], memoryview(data)[_HEADER.size :]
            plain = b"".join(
                protection.open(
                    key,
                    sealed[number * SEALED_PART_BYTES : (number + 1) * SEALED_PART_BYTES],
                    _context(header, number, protection.tenant),
                )
                for number in range(parts)
            )
            if len(sealed) > parts * SEALED_PART_BYTES:
                return None
        except (OSError, struct.error, SemfaceError):
            return None
        return _unpacked(plain, exact_limit)

    def drop(self, tenant: str) -> None:
        """Delete the file of ``tenant``: somebody in it was erased."""
        self.path(tenant).unlink(missing_ok=True)


def _context(header: bytes, part: int, tenant: str) -> bytes:
    # The header tells how many parts there are: none can be left out, moved or put in.
    return b"semface index\0" + header + part.to_bytes(4, "little") + tenant.encode()


def _packed(index: TemplateIndex, position: str) -> bytes:
    entries = index.entries()
    models = list(dict.fromkeys(entry.model for entry in entries))
    numbers = {model: number for number, model in enumerate(models)}
    told: dict[str, Any] = {
        "position": position,
        "models": [[model.name, model.version, model.hash] for model in models],
        "subjects": [entry.subject for entry in entries],
        "groups": {str(row): entry.groups for row, entry in enumerate(entries) if entry.groups},
    }
    arrays: dict[str, Any] = {
        "told": np.frombuffer(json.dumps(told).encode(), np.uint8),
        "pseudonyms": np.frombuffer(b"".join(entry.pseudonym for entry in entries), np.uint8),
        "codes": np.array([entry.codes for entry in entries], np.int8),
        "scales": np.array([entry.scale for entry in entries], np.float32),
        "expires": np.array([entry.expires_at or 0.0 for entry in entries]),
        "model": np.array([numbers[entry.model] for entry in entries], np.uint32),
    }
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def _unpacked(plain: bytes, exact_limit: int) -> tuple[TemplateIndex, str]:
    with np.load(io.BytesIO(plain), allow_pickle=False) as arrays:
        told = json.loads(arrays["told"].tobytes())
        names = arrays["pseudonyms"].tobytes()
        pseudonyms = [names[start : start + PSEUDONYM_BYTES] for start in range(0, len(names), PSEUDONYM_BYTES)]
        models = [Model(*model) for model in told["models"]]
        columns = zip(
            pseudonyms,
            told["subjects"],
            arrays["model"],
            arrays["codes"],
            arrays["scales"],
            arrays["expires"],
            strict=True,
        )
        entries = [
            Entry(
                name,
                subject,
                models[model],
                codes,
                float(scale),
                expires or None,
                tuple(told["groups"].get(str(row), ())),
            )
            for row, (name, subject, model, codes, scale, expires) in enumerate(columns)
        ]
    index = TemplateIndex(exact_limit)
    index.add(entries)
    return index, told["position"]
