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

Vectors = NDArray[np.float32]
Order = NDArray[np.intp]


class TenantProtection:
    """Seals, maps and names for one tenant with the keys that it has now."""

    def __init__(self, keys: TenantKeys) -> None:
        """Derive what ``keys`` give; a map is only drawn when it is needed."""
        self.tenant = keys.tenant
        self.active = keys.active
        self._naming = hmac.new(keys.naming, digestmod="sha256")
        self._data = keys.data
        self._ciphers = {number: AESGCM(_derived(key, b"seal")) for number, key in keys.data.items()}

    def pseudonym(self, subject: str) -> bytes:
        """Return the keyed hash (16 bytes) that stands for ``subject`` wherever its name may not be."""
        return self.keyed_hash(b"subject", subject.encode())[:PSEUDONYM_BYTES]

    def keyed_hash(self, purpose: bytes, data: bytes) -> bytes:
        """Return HMAC-SHA-256 (32 bytes) of ``data`` under the naming key, another one for each ``purpose``."""
        # A copy of what has its key already: to take up a key costs more than the rest.
        keyed = self._naming.copy()
        keyed.update(purpose + b"\0" + data)
        return keyed.digest()

    def mapped(self, vectors: Vectors, number: int) -> Vectors:
        """Return ``vectors`` (…, 512) in the orthogonal map of data key ``number``, which keeps lengths and angles."""
        for signs, order, _ in _map_rounds(self._key(number)):
            vectors = _hadamard((vectors * signs).take(order, axis=-1))
        return vectors

    def unmapped(self, vectors: Vectors, number: int) -> Vectors:
        """Return what ``mapped`` made ``vectors`` (…, 512) of."""
        for signs, _, back in reversed(_map_rounds(self._key(number))):
            vectors = _hadamard(vectors).take(back, axis=-1) * signs
        return vectors

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
def _map_rounds(key: bytes) -> tuple[tuple[Vectors, Order, Order], ...]:
    """Return the keyed signs (512,), permutation (512,) and its inverse of each round of the map of ``key``.

    All are made of integers from SHAKE-256, so every machine draws the same ones.
    """
    stream = hashlib.shake_256(_derived(key, b"map")).digest(ROUNDS * EMBEDDING_SIZE * 9)
    rounds = []
    for drawn in np.frombuffer(stream, np.uint8).reshape(ROUNDS, -1):
        signs = np.where(drawn[:EMBEDDING_SIZE] & 1, -1, 1).astype(np.float32)
        order = np.argsort(drawn[EMBEDDING_SIZE:].view("<u8"), kind="stable")
        rounds.append((signs, order, np.argsort(order)))
    return tuple(rounds)


def _walsh_matrix(size: int) -> Vectors:
    """Return the orthonormal Walsh-Hadamard matrix (size, size) in its natural order; ``size`` is a power of 2."""
    rows: Vectors = np.ones((1, 1), np.float32)
    while len(rows) < size:
        rows = np.kron(rows, np.array([[1, 1], [1, -1]], np.float32)) / np.float32(np.sqrt(2))
    return rows


_LEFT: Final = _walsh_matrix(16)
_RIGHT: Final = _walsh_matrix(EMBEDDING_SIZE // len(_LEFT))


def _hadamard(vectors: Vectors) -> Vectors:
    """Return the orthonormal Walsh-Hadamard transform of ``vectors`` (…, 512).

    Its matrix is the Kronecker product of two small ones, which take a hundredth of its memory to read.
    """
    square = vectors.reshape(*vectors.shape[:-1], len(_LEFT), len(_RIGHT))
    return np.asarray(_LEFT @ square @ _RIGHT, np.float32).reshape(vectors.shape)
