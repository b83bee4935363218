"""The FastAPI app: routes, limits, keys and problems put together."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import fastapi_offline
from fastapi import Depends, FastAPI
from fastapi.staticfiles import StaticFiles

from semface import __version__
from semface.gateway import problems
from semface.gateway.dependencies import Parts
from semface.gateway.enrollment import Enrollment
from semface.gateway.limits import BodyLimit
from semface.gateway.pipeline import Services
from semface.gateway.routes import faces, photographs, subjects, system
from semface.gateway.security import key_guards
from semface.gateway.settings import GatewaySettings
from semface.gateway.store import TemplateStore
from semface.gateway.telemetry import HttpMetrics, RequestTelemetry

DESCRIPTION = "Sends a face as meaning instead of pixels: 257 numbers of a 3-D face model in a few hundred bits."


def create_app(settings: GatewaySettings) -> FastAPI:
    """Return the gateway as an ASGI app; it connects when it starts and lets go when it stops."""
    metrics = HttpMetrics()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        services = Services(settings)
        store = TemplateStore(settings.redis_url.get_secret_value(), settings.redis_timeout_seconds)
        app.state.parts = Parts(services, store, Enrollment(store, services.understanding), metrics)
        yield
        await store.close()
        await services.close()

    app = FastAPI(
        title="Semface",
        description=DESCRIPTION,
        version=__version__,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        responses=problems.DOCUMENTED,
    )
    problems.install(app)
    guarded = [Depends(dependency) for dependency in key_guards(settings.api_keys)]
    for router in (photographs.router, faces.router, subjects.router, system.models_router):
        app.include_router(router, dependencies=guarded)
    app.include_router(system.router)
    assets = Path(fastapi_offline.__file__).parent / "static"
    app.mount(system.DOCUMENTATION_ASSETS, StaticFiles(directory=assets), name="documentation")
    app.add_middleware(problems.DefectGuard)
    app.add_middleware(
        BodyLimit, max_image_bytes=settings.http_max_image_bytes, max_message_bytes=settings.http_max_message_bytes
    )
    app.add_middleware(RequestTelemetry, metrics=metrics)
    return app
