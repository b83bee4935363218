"""The FastAPI app: routes, limits, keys and problems put together."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import fastapi_offline
from fastapi import Depends, FastAPI
from fastapi.staticfiles import StaticFiles

from semface import __version__
from semface.access.authentication import Authenticator
from semface.gateway import problems
from semface.gateway.dependencies import Parts
from semface.gateway.enrolled.key_ring import KeyRing
from semface.gateway.enrollment import Enrollment
from semface.gateway.fairness import HeldPlaces, Turns
from semface.gateway.farewell import Farewell
from semface.gateway.limits import BodyLimit
from semface.gateway.pipeline import Services
from semface.gateway.routes import bulk, faces, matching, page, photographs, streams, subjects, system
from semface.gateway.security import Gate, documented
from semface.gateway.settings import GatewaySettings
from semface.gateway.telemetry import HttpMetrics, RequestTelemetry

DESCRIPTION = "Sends a face as meaning instead of pixels: 257 numbers of a 3-D face model in a few hundred bits."


def create_app(settings: GatewaySettings, ring: KeyRing) -> FastAPI:
    """Return the gateway as an ASGI app; it connects when it starts and lets go when it stops.

    ``ring`` holds the keys that protect the enrolled. Raises FIELD_INVALID for API keys that cannot be read.
    """
    authenticator = Authenticator(settings)
    metrics = HttpMetrics()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        services = Services(settings)
        enrollment = Enrollment(settings, ring, services.understanding)
        gate = Gate(authenticator, enrollment.store, Turns(settings))
        app.state.parts = Parts(settings, services, gate, enrollment, metrics)
        enrollment.directories.start()
        yield
        await enrollment.close()
        await services.close()

    app = FastAPI(
        title="Semface",
        description=DESCRIPTION,
        version=__version__,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        # A redirect would name the subject of the path once more.
        redirect_slashes=False,
        # FastAPI's own spans and metrics hold the path of a request, which may name a subject.
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
        responses=problems.DOCUMENTED,
    )
    app.state.draining = False
    problems.install(app)
    _add_routes(app, settings)
    _add_middleware(app, settings, metrics)
    return app


def _add_routes(app: FastAPI, settings: GatewaySettings) -> None:
    # Each route asks for its own scopes; this only documents where keys are asked for.
    guarded = [Depends(documented)] if settings.asks_for_keys else []
    # In this order a path is looked for: what has to be quick is first.
    for router in (
        matching.router,
        photographs.router,
        faces.router,
        subjects.router,
        bulk.router,
        system.models_router,
    ):
        app.include_router(router, dependencies=guarded)
    app.include_router(system.router)
    app.include_router(streams.router)
    page.install(app)
    assets = Path(fastapi_offline.__file__).parent / "static"
    app.mount(system.DOCUMENTATION_ASSETS, StaticFiles(directory=assets), name="documentation")


def _add_middleware(app: FastAPI, settings: GatewaySettings, metrics: HttpMetrics) -> None:
    """What is added last sees a request first."""
    app.add_middleware(HeldPlaces)
    app.add_middleware(problems.DefectGuard)
    app.add_middleware(BodyLimit, settings=settings)
    app.add_middleware(RequestTelemetry, metrics=metrics)
    app.add_middleware(Farewell)
