"""About the gateway itself: health, metrics, documentation, the models in service."""

import asyncio
from http import HTTPStatus

import numpy as np
from fastapi import APIRouter, Depends, Request, Response
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse
from prometheus_client import CONTENT_TYPE_LATEST

from semface.access.callers import Scope
from semface.client import AsyncClient
from semface.descriptors import DESCRIPTOR_SIZE
from semface.errors import SemfaceError
from semface.gateway import answers
from semface.gateway.dependencies import Parts, parts
from semface.gateway.pipeline import Coded
from semface.gateway.routes.faces import draw_png
from semface.gateway.security import admitted
from semface.gateway.sources import Photograph

DOCUMENTATION_ASSETS = "/docs/assets"
SERVICES = {
    "extraction": "semface.v1.ExtractionService",
    "codec": "semface.v1.CodecService",
    "understanding": "semface.v1.UnderstandingService",
}
CANARY_SIZE = 256
READINESS_SECONDS = 2.0

router = APIRouter(tags=["system"])
models_router = APIRouter(prefix="/v1", tags=["system"])


@models_router.get("/models", dependencies=[Depends(admitted(Scope.FACES))])
async def models(request: Request) -> answers.Models:
    """Tell the models in service: those that answer, right now, for a drawing of the mean face."""
    pipeline = parts(request).pipeline()
    drawn = await asyncio.to_thread(draw_png, np.zeros(DESCRIPTOR_SIZE, np.float32), CANARY_SIZE)
    face = (await pipeline.extract(Photograph(drawn))).faces[0]
    coding = await pipeline.encode(face.descriptors)
    await pipeline.understand([Coded(coding.frames[0].data, coding.model.hash)], ["expression", "embedding"])
    return answers.Models(models=pipeline.provenance.models)


@router.get("/livez")
async def live() -> dict[str, bool]:
    """Tell that the process runs."""
    return {"alive": True}


@router.get("/readyz", responses={503: {"model": answers.Readiness}})
async def ready(request: Request, response: Response) -> answers.Readiness:
    """Tell whether the services answer and no stop has begun.

    The store is told too, but only the routes of subjects need it.
    """
    app = parts(request)
    clients = {name: getattr(app.services, name) for name in SERVICES}
    *asked, store = await asyncio.gather(
        *(_serves(clients[name], service) for name, service in SERVICES.items()), _has_store(app)
    )
    services = dict(zip(SERVICES, asked, strict=True))
    is_ready = all(asked) and not request.app.state.draining
    if not is_ready:
        response.status_code = HTTPStatus.SERVICE_UNAVAILABLE
    return answers.Readiness(ready=is_ready, services=services, store=store)


@router.get("/metrics", include_in_schema=False)
async def metrics(request: Request) -> Response:
    """Tell the metrics to Prometheus."""
    app = parts(request)
    return Response(app.metrics.text(), media_type=CONTENT_TYPE_LATEST)


@router.get("/docs", include_in_schema=False)
async def documentation(request: Request) -> HTMLResponse:
    """Show the documentation; its scripts come from this server, not from elsewhere."""
    root = request.scope.get("root_path", "")
    return get_swagger_ui_html(
        openapi_url=f"{root}{request.app.openapi_url}",
        title=f"{request.app.title} documentation",
        swagger_js_url=f"{root}{DOCUMENTATION_ASSETS}/swagger-ui-bundle.js",
        swagger_css_url=f"{root}{DOCUMENTATION_ASSETS}/swagger-ui.css",
        swagger_favicon_url=f"{root}{DOCUMENTATION_ASSETS}/favicon.png",
    )


async def _serves(client: AsyncClient, service: str) -> bool:
    try:
        return await client.within(READINESS_SECONDS).serving(service)
    except SemfaceError:
        return False


async def _has_store(app: Parts) -> bool:
    try:
        async with asyncio.timeout(READINESS_SECONDS):
            await app.enrollment.store.ping()
    except (SemfaceError, TimeoutError):
        return False
    return True
