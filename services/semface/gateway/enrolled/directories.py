"""Who searches for a tenant: an index in this process, or vector sets of Redis; and what is done for all of them."""

import asyncio
import contextlib
import time
from typing import Final, Protocol

import structlog

from semface.client import Model
from semface.errors import SemfaceError
from semface.gateway.enrolled.directory import TenantDirectory
from semface.gateway.enrolled.index import Found, Vector
from semface.gateway.enrolled.saved_index import SavedIndexes
from semface.gateway.enrolled.store import EnrolledStore
from semface.gateway.enrolled.vector_sets import VectorSetDirectory

LOOK_SECONDS: Final = 1.0
"""How often an index is brought up to date where nobody searches, so that what was erased does not stay in memory."""
PURGE_SECONDS: Final = 60.0
STOP_LOOK_SECONDS: Final = 0.1

_log = structlog.get_logger("semface.gateway")


class Directory(Protocol):
    """The enrolled of one tenant, to be searched."""

    async def search(self, probes: Vector, model: Model, threshold: float, top: int, group: str | None) -> list[Found]:
        """Return for each of ``probes`` (N, 512), unit embeddings of ``model``, who reaches ``threshold``.

        The ``top`` best, of ``group`` where one is named; none that has expired, and everybody whose enrolment was
        acknowledged before. Raises MODEL_MISMATCH where a template is another model's, BACKEND_AWAY without Redis.
        """

    async def refresh(self) -> None:
        """Do what is due while nobody searches: follow Redis, erase who has expired."""

    async def save(self) -> None:
        """Keep what a restart would have to read anew."""


class Directories:
    """The indexes of all tenants."""

    def __init__(self, store: EnrolledStore, exact_limit: int, saved: SavedIndexes | None) -> None:
        """Open an index when its tenant is first searched; ``saved`` keeps them over a restart."""
        self._store = store
        self._exact_limit = exact_limit
        self._saved = saved
        self._open: dict[str, Directory] = {}
        self._following: asyncio.Task[None] | None = None
        self._purged: list[str] | None = None
        self._purged_at = 0.0

    def of(self, tenant: str) -> Directory:
        """Return the index of ``tenant``."""
        if tenant not in self._open:
            self._open[tenant] = (
                VectorSetDirectory(self._store, tenant)
                if self._store.vector_sets
                else TenantDirectory(self._store, tenant, self._exact_limit, self._saved)
            )
        return self._open[tenant]

    def start(self) -> None:
        """Follow Redis in the background."""
        self._following = asyncio.create_task(self._follow())

    async def stop(self) -> None:
        """Follow no more, and save the indexes."""
        if self._following is not None:
            # A cancellation that meets the answer of a command can be lost on its way through the client of Redis.
            while not self._following.done():
                self._following.cancel()
                await asyncio.wait([self._following], timeout=STOP_LOOK_SECONDS)
        for tenant in list(self._open):
            with contextlib.suppress(SemfaceError):
                await self._open[tenant].save()

    async def _follow(self) -> None:
        while True:
            try:
                await self._forget_erased()
                for tenant in list(self._open):
                    await self._open[tenant].refresh()
            except SemfaceError as error:
                # Searches tell their callers; here it is only tried again.
                _log.debug("index not refreshed", reason=error.reason.name)
            except Exception as error:
                _log.error("defect", exception=type(error).__qualname__)
            await asyncio.sleep(LOOK_SECONDS)

    async def _forget_erased(self) -> None:
        erased = self._store.ring.erased()
        for tenant in erased:
            self._open.pop(tenant, None)
            if self._saved is not None:
                self._saved.drop(tenant)
        # A snapshot may be restored under a running gateway too, so this is not done only once.
        if erased != self._purged or time.monotonic() - self._purged_at >= PURGE_SECONDS:
            await self._store.purge_erased()
            self._purged, self._purged_at = erased, time.monotonic()
