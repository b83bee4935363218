"""How templates are protected: a keyed orthogonal map, AES-256-GCM bound to what a template belongs to, pseudonyms."""

import hashlib
import hmac
import secrets
from functools import lru_cache
from typing import Final

import numpy as np
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from numpy.typing import NDArray

from semface.errors import Reason, SemfaceError
from semface.gateway.enrolled.key_ring import KEY_BYTES, NONCE_BYTES, TenantKeys
from semface.meaning import EMBEDDING_SIZE

PSEUDONYM_BYTES: Final = 16
TAG_BYTES: Final = 16
"""What AES-GCM adds."""
ROUNDS: Final = 3
"""Rounds of signs, permutation and Walsh-Hadamard transform: after two every number reaches every other."""

Matrix = NDArray[np.float32]


class TenantProtection:
    """Seals, maps and names for one tenant with the keys that it has now."""

    def __init__(self, keys: TenantKeys) -> None:
        """Derive what ``keys`` give; a map is only drawn when it is needed."""
        self.tenant = keys.tenant
        self.active = keys.active
        self._naming = keys.naming
        self._data = keys.data
        self._ciphers = {number: AESGCM(_derived(key, b"seal")) for number, key in keys.data.items()}

    def pseudonym(self, subject: str) -> bytes:
        """Return the keyed hash (16 bytes) that stands for ``subject`` wherever its name may not be."""
        return self.keyed_hash(b"subject", subject.encode())[:PSEUDONYM_BYTES]

    def keyed_hash(self, purpose: bytes, data: bytes) -> bytes:
        """Return HMAC-SHA-256 (32 bytes) of ``data`` under the naming key, another one for each ``purpose``."""
        return hmac.digest(self._naming, purpose + b"\0" + data, "sha256")

    def map(self, number: int) -> Matrix:
        """Return the orthogonal matrix (512, 512) of data key ``number``; a row vector v is mapped to ``v @ map``."""
        return _orthogonal_map(self._key(number))

    def seal(self, plain: bytes | memoryview, context: bytes) -> bytes:
        """Return nonce and ciphertext of ``plain`` under the active key; ``context`` is authenticated, not kept."""
        nonce = secrets.token_bytes(NONCE_BYTES)
        return nonce + self._ciphers[self.active].encrypt(nonce, plain, context)

    def open(self, number: int, sealed: bytes | memoryview, context: bytes) -> bytes:
        """Return what was sealed under data key ``number`` with the same ``context``.

        Raises BACKEND_AWAY for what was changed or belongs elsewhere: it is no answer, and never a miss.
        """
        self._key(number)
        try:
            return self._ciphers[number].decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], context)
        except (InvalidTag, ValueError) as error:
            raise SemfaceError(Reason.BACKEND_AWAY, "a stored template was changed or is not in its place") from error

    def _key(self, number: int) -> bytes:
        if number not in self._data:
            message = "a stored template was sealed under a key that is not in the key ring"
            raise SemfaceError(Reason.BACKEND_AWAY, message)
        return self._data[number]


def _derived(key: bytes, purpose: bytes) -> bytes:
    return HKDF(SHA256(), KEY_BYTES, salt=None, info=b"semface " + purpose).derive(key)


@lru_cache(maxsize=64)
def _orthogonal_map(key: bytes) -> Matrix:
    """Return the matrix of ``key``: rounds of keyed signs, a keyed permutation and the Walsh-Hadamard transform.

    It is made of integers from SHAKE-256, so every machine draws the same one.
    """
    stream = hashlib.shake_256(_derived(key, b"map")).digest(ROUNDS * EMBEDDING_SIZE * 9)
    rows: NDArray[np.float64] = np.eye(EMBEDDING_SIZE)
    for drawn in np.frombuffer(stream, np.uint8).reshape(ROUNDS, -1):
        signs = 1.0 - 2.0 * (drawn[:EMBEDDING_SIZE] & 1)
        order = np.argsort(drawn[EMBEDDING_SIZE:].view("<u8"), kind="stable")
        rows = _hadamard((rows * signs)[:, order])
    made = np.ascontiguousarray(rows, np.float32)
    made.flags.writeable = False
    return made


def _hadamard(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the orthonormal Walsh-Hadamard transform of each row."""
    count, size = rows.shape
    width = 1
    while width < size:
        pairs = rows.reshape(count, -1, 2, width)
        rows = np.stack([pairs[:, :, 0] + pairs[:, :, 1], pairs[:, :, 0] - pairs[:, :, 1]], axis=2).reshape(count, size)
        width *= 2
    return rows / np.sqrt(size)
