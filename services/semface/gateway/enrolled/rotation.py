"""A new data key for a tenant: every record is mapped and sealed anew, one by one, while all goes on.

It can be stopped anywhere and started again: every record opens under the key that its header names, and the keys that
may still seal one stay in the ring until none does.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from semface.gateway.enrolled.record import reseal
from semface.gateway.enrolled.store import EnrolledStore

SETTLE_SECONDS: Final = 3.0
"""How long gateways may go on with the ring that they read before it was changed; more than they take between looks."""
MOST_PASSES: Final = 20


@dataclass(frozen=True, slots=True)
class Rotation:
    """What a rotation did."""

    key: int
    """Number of the data key that seals now."""
    resealed: int
    retired: list[int]
    """Numbers of the keys that seal nothing any more."""


async def rotate(
    store: EnrolledStore,
    tenant: str,
    *,
    destroy: bool = False,
    settle_seconds: float = SETTLE_SECONDS,
    progress: Callable[[int], None] = lambda _: None,
) -> Rotation:
    """Give ``tenant`` a new data key, or finish a rotation that was stopped, and reseal every record.

    ``destroy`` forgets the old keys: a snapshot from before then opens no more. ``progress`` is told of each record.
    """
    ring = store.ring
    if len(ring.in_use(tenant)) == 1:
        ring.renew(tenant)
    # Until every gateway has seen the new key, one may still seal under the old.
    await asyncio.sleep(settle_seconds)
    resealed = 0
    for _ in range(MOST_PASSES):
        found = await _pass(store, tenant, progress)
        resealed += found
        if not found:
            break
    else:
        raise RuntimeError("records are still sealed under an old key; is a gateway running with an old key ring?")
    retired = ring.retire(tenant, destroy=destroy)
    return Rotation(ring.keys(tenant).active, resealed, retired)


async def _pass(store: EnrolledStore, tenant: str, progress: Callable[[int], None]) -> int:
    """Reseal what lies under an old key and return how many records that were."""
    found = 0
    async for values in store.values(tenant):
        for pseudonym, value in values:
            fresh = reseal(value, pseudonym, store.protection(tenant))
            if fresh is not None:
                # One that was changed meanwhile is seen again in the next pass.
                found += 1
                await store.replace_value(tenant, pseudonym, value, fresh)
                progress(1)
    return found
