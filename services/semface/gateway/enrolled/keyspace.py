"""Which keys of Redis hold what. A tenant's all share one hash tag, so that they lie in one slot of a cluster."""

from dataclasses import dataclass
from typing import Final

BUCKETS: Final = 256
"""Hashes over which a tenant's subjects are spread, by the first byte of their pseudonym."""


@dataclass(frozen=True, slots=True)
class Keyspace:
    """The keys of one tenant."""

    tenant: str

    @property
    def prefix(self) -> str:
        """What every key begins with."""
        return f"semface:{{{self.tenant}}}:"

    @property
    def changes(self) -> str:
        """A trimmed stream of pseudonyms whose record changed; indexes follow it."""
        return f"{self.prefix}changes"

    @property
    def audit(self) -> str:
        """A trimmed stream of who did what to which pseudonym."""
        return f"{self.prefix}audit"

    @property
    def expiries(self) -> str:
        """A sorted set of the pseudonyms that expire, by when."""
        return f"{self.prefix}expiries"

    @property
    def buckets(self) -> list[str]:
        """All hashes of records, in the order of pseudonyms."""
        return [self.bucket(bytes([number])) for number in range(BUCKETS)]

    def bucket(self, pseudonym: bytes) -> str:
        """Return the hash that holds the record of ``pseudonym``."""
        return f"{self.prefix}subjects:{pseudonym[0]:02x}"

    def failures(self, pseudonym: bytes) -> str:
        """Return the count of verifications of ``pseudonym`` that did not match."""
        return f"{self.prefix}failures:{pseudonym.hex()}"

    def attempts(self, pseudonym: bytes) -> str:
        """Return the count of verifications of ``pseudonym`` in this minute."""
        return f"{self.prefix}attempts:{pseudonym.hex()}"

    def request(self, keyed_id: bytes) -> str:
        """Return what became of the request of a keyed id."""
        return f"{self.prefix}request:{keyed_id.hex()}"

    def calls(self, key_id: str, minute: int) -> str:
        """Return the count of requests with one API key in one minute."""
        return f"{self.prefix}calls:{key_id}:{minute}"

    @property
    def vectors(self) -> str:
        """A set of the names of vector sets, where Redis searches."""
        return f"{self.prefix}vectors"

    def vector_set(self, name: str) -> str:
        """Return the vector set ``name``: mapped templates by pseudonym."""
        return f"{self.vectors}:{name}"
