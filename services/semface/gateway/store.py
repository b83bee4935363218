"""The enrolled templates in a Redis-protocol server: one hash for each subject, one set of all subjects of a tenant."""

from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import OutOfMemoryError, RedisError

from semface.errors import Reason, SemfaceError

DEFAULT_TENANT = "default"
BATCH = 1000
MAX_CONNECTIONS = 32
_FIELDS = ("embedding", "model", "version", "hash", "enrolled_at")


@dataclass(frozen=True, slots=True)
class Template:
    """One enrolled face: a unit vector (512,) float32, the model that made it, and when, in seconds since 1970."""

    embedding: NDArray[np.float32]
    model: str
    version: str
    hash: int
    enrolled_at: float


class TemplateStore:
    """Keeps templates by subject id. Raises ``SemfaceError`` BACKEND_AWAY or STORE_FULL when the server cannot."""

    def __init__(self, url: str, timeout_seconds: float, tenant: str = DEFAULT_TENANT) -> None:
        # A burst waits for a connection, where the plain pool would refuse it. One retry without waiting heals a
        # connection that the server closed while idle.
        pool = BlockingConnectionPool.from_url(
            url,
            max_connections=MAX_CONNECTIONS,
            timeout=timeout_seconds,
            socket_timeout=timeout_seconds,
            socket_connect_timeout=timeout_seconds,
            retry=Retry(NoBackoff(), 1),
        )
        self._redis = Redis.from_pool(pool)
        # The braces keep a tenant's keys in one slot of a cluster, so that the transactions below hold there too.
        self._prefix = f"semface:{{{tenant}}}:"
        self._index = f"{self._prefix}subjects"

    async def ping(self) -> None:
        """Ask whether the server is there."""
        with _told_as_ours():
            await cast(Awaitable[Any], self._redis.ping())

    async def put(self, subject: str, template: Template) -> bool:
        """Store the template of ``subject`` in place of any before; return whether the subject is new."""
        fields = {
            "embedding": template.embedding.astype("<f4").tobytes(),
            "model": template.model,
            "version": template.version,
            "hash": str(template.hash),
            "enrolled_at": repr(template.enrolled_at),
        }
        with _told_as_ours():
            async with self._redis.pipeline(transaction=True) as transaction:
                transaction.delete(self._key(subject))
                transaction.hset(self._key(subject), mapping=cast(dict[Any, Any], fields))
                transaction.sadd(self._index, subject)
                added = (await transaction.execute())[-1]
        return bool(added)

    async def get(self, subject: str) -> Template | None:
        """Return the template of ``subject``, or None."""
        with _told_as_ours():
            values = await cast(Awaitable[list[bytes | None]], self._redis.hmget(self._key(subject), _FIELDS))
        return _template(values)

    async def delete(self, subject: str) -> bool:
        """Erase everything about ``subject``; return whether there was anything."""
        with _told_as_ours():
            async with self._redis.pipeline(transaction=True) as transaction:
                transaction.delete(self._key(subject))
                transaction.srem(self._index, subject)
                return any(await transaction.execute())

    async def all(self) -> dict[str, Template]:
        """Return every template by subject id."""
        found: dict[str, Template] = {}
        with _told_as_ours():
            members = await cast(Awaitable[set[bytes]], self._redis.smembers(self._index))
            subjects = sorted(member.decode() for member in members)
            for start in range(0, len(subjects), BATCH):
                batch = subjects[start : start + BATCH]
                async with self._redis.pipeline(transaction=False) as pipeline:
                    for subject in batch:
                        pipeline.hmget(self._key(subject), _FIELDS)
                    answers = await pipeline.execute()
                templates = zip(batch, map(_template, answers), strict=True)
                found |= {subject: template for subject, template in templates if template is not None}
        return found

    async def close(self) -> None:
        """Close the connections."""
        await self._redis.aclose()

    def _key(self, subject: str) -> str:
        return f"{self._prefix}subject:{subject}"


def _template(values: list[bytes | None]) -> Template | None:
    embedding, model, version, model_hash, enrolled_at = values
    if embedding is None or model is None or version is None or model_hash is None or enrolled_at is None:
        return None
    vector = np.frombuffer(embedding, "<f4").astype(np.float32)
    return Template(vector, model.decode(), version.decode(), int(model_hash), float(enrolled_at))


@contextmanager
def _told_as_ours() -> Iterator[None]:
    try:
        yield
    except OutOfMemoryError as error:
        raise SemfaceError(Reason.STORE_FULL, "the template store is full") from error
    except (RedisError, OSError) as error:
        raise SemfaceError(Reason.BACKEND_AWAY, "the template store cannot be reached; try again") from error
