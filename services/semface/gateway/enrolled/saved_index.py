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
from semface.gateway.enrolled.index import Entry, Snapshot, TemplateIndex
from semface.gateway.enrolled.key_ring import NONCE_BYTES
from semface.gateway.enrolled.protection import PSEUDONYM_BYTES, TAG_BYTES, TenantProtection

PART_BYTES: Final = 1 << 28
"""What is sealed at once: AES-GCM takes no 2 GiB."""
SEALED_PART_BYTES: Final = NONCE_BYTES + PART_BYTES + TAG_BYTES

ENTRIES_AT_ONCE: Final = 4096

_HEADER: Final = struct.Struct("<8sHI")
_MAGIC: Final = b"semidx3\n"


@dataclass(frozen=True, slots=True)
class SavedIndexes:
    """The files of all tenants in one folder."""

    folder: Path

    def path(self, tenant: str) -> Path:
        """Return the file of ``tenant``."""
        return self.folder / f"{tenant}.index"

    def write(self, protection: TenantProtection, snapshot: Snapshot, position: str) -> Path:
        """Write ``snapshot`` of an index, which is as the stream of changes was at ``position``, to a file beside.

        It counts only once ``keep`` is called.
        """
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        plain = memoryview(_packed(snapshot, position))
        starts = range(0, len(plain), PART_BYTES)
        header = _HEADER.pack(_MAGIC, protection.active, len(starts))
        fresh = self.folder / f"{protection.tenant}.{os.getpid()}.new"
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(header)
            for number, start in enumerate(starts):
                part = plain[start : start + PART_BYTES]
                file.write(protection.seal(part, _context(header, number, protection.tenant)))
        return fresh

    def keep(self, tenant: str, written: Path) -> None:
        """Let what was ``written`` be the saved index of ``tenant``."""
        written.replace(self.path(tenant))

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


def _packed(snapshot: Snapshot, position: str) -> bytes:
    subjects = snapshot.subjects
    models = list(dict.fromkeys(model for _, _, model, _ in subjects))
    numbers = {model: number for number, model in enumerate(models)}
    told: dict[str, Any] = {
        "position": position,
        "models": [[model.name, model.version, model.hash] for model in models],
        "subjects": [subject for _, subject, _, _ in subjects],
        "groups": {str(row): groups for row, (_, _, _, groups) in enumerate(subjects) if groups},
    }
    arrays: dict[str, Any] = {
        "told": np.frombuffer(json.dumps(told).encode(), np.uint8),
        "pseudonyms": np.frombuffer(b"".join(pseudonym for pseudonym, _, _, _ in subjects), np.uint8),
        "codes": snapshot.codes,
        "scales": snapshot.scales,
        "expires": snapshot.expires,
        "model": np.array([numbers[model] for _, _, model, _ in subjects], np.uint32),
    }
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def _unpacked(plain: bytes, exact_limit: int) -> tuple[TemplateIndex, str]:
    with np.load(io.BytesIO(plain), allow_pickle=False) as arrays:
        told = json.loads(arrays["told"].tobytes())
        names = arrays["pseudonyms"].tobytes()
        codes, scales, expires, model = (arrays[name] for name in ("codes", "scales", "expires", "model"))
    models = [Model(*of) for of in told["models"]]

    def entry(row: int) -> Entry:
        return Entry(
            names[row * PSEUDONYM_BYTES : (row + 1) * PSEUDONYM_BYTES],
            told["subjects"][row],
            models[model[row]],
            codes[row],
            float(scales[row]),
            None if np.isinf(expires[row]) else float(expires[row]),
            tuple(told["groups"].get(str(row), ())),
        )

    index = TemplateIndex(exact_limit)
    # Some at a time: an array of many holds the interpreter while it is made.
    for start in range(0, len(codes), ENTRIES_AT_ONCE):
        index.add([entry(row) for row in range(start, min(start + ENTRIES_AT_ONCE, len(codes)))])
    return index, told["position"]
