"""Templates of nobody, and stores to keep them in."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semface.client import Model
from semface.gateway.enrolled.key_ring import KeyRing
from semface.gateway.enrolled.record import Details, Record, make_record
from semface.gateway.enrolled.store import AuditEvent, EnrolledStore, StreamLengths

MODEL = Model("face_verification", "1", 2**64 - 1)
EVENT = AuditEvent("enroll", "tests")


def embedding(seed: int) -> NDArray[np.float32]:
    """Return a unit vector (512,)."""
    vector = np.random.default_rng(seed).normal(size=512).astype(np.float32)
    return vector / np.linalg.norm(vector)


@asynccontextmanager
async def store_at(
    url: str, ring: KeyRing, seconds: float = 30.0, changes: int = 1000, *, vector_sets: bool = False
) -> AsyncIterator[EnrolledStore]:
    """Connect to ``url`` while the block lasts."""
    store = EnrolledStore(url, seconds, ring, StreamLengths(changes, 1000), vector_sets=vector_sets)
    try:
        yield store
    finally:
        await store.close()


def record(store: EnrolledStore, subject: str, seed: int = 0, tenant: str = "default", **told: Any) -> Record:
    """Return a record of ``subject`` for ``tenant``."""
    details = Details(**{"enrolled_at": 1.5e9, **told})
    return make_record(subject, embedding(seed), MODEL, details, store.protection(tenant))
