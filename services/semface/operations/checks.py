"""What the pods of `helm test` ask: each service's health, Triton, and one made-up face all the way round."""

from typing import Final

import httpx

from semface.access.certificates import TlsFiles
from semface.client import AsyncClient
from semface.errors import Reason, SemfaceError
from semface.operations.probe_faces import drawn_faces

SECONDS: Final = 30.0
SERVICES: Final = ("extraction", "codec", "understanding")
CHECKS: Final = (*SERVICES, "triton", "gateway", "face")


async def check(name: str, address: str, key: str | None, tls: TlsFiles | None) -> str:
    """Return what was seen of ``name`` at ``address``: host:port, of gateway and face the URL.

    Raises BACKEND_AWAY where it does not serve, FIELD_INVALID for a name that is none, and what the services answer.
    """
    if name in SERVICES or name == "triton":
        # Triton's port has no TLS.
        async with AsyncClient(address, seconds=SECONDS, key=key, tls=None if name == "triton" else tls) as client:
            if not await client.serving(""):
                raise SemfaceError(Reason.BACKEND_AWAY, f"{name} does not serve: its canary fails")
        return f"{name} serves"
    if name not in CHECKS:
        raise SemfaceError(
            Reason.FIELD_INVALID, f"there is no check {name}; there are {', '.join(CHECKS)}", field="name"
        )
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    try:
        async with httpx.AsyncClient(base_url=address, headers=headers, timeout=SECONDS) as http:
            return await (_face(http) if name == "face" else _gateway(http))
    except httpx.HTTPError as error:
        raise SemfaceError(Reason.BACKEND_AWAY, f"the gateway cannot be reached at {address}") from error


async def _gateway(http: httpx.AsyncClient) -> str:
    answer = await http.get("/readyz")
    told = answer.json()
    if not told["ready"] or not told["store"]:
        away = [service for service, serves in told["services"].items() if not serves]
        raise SemfaceError(
            Reason.BACKEND_AWAY, f"away: {', '.join([*away, *([] if told['store'] else ['the store'])])}"
        )
    return "the gateway is ready, and so is its store"


async def _face(http: httpx.AsyncClient) -> str:
    picture = (await drawn_faces(1))[0]
    answer = await http.post("/v1/analyze", content=picture, headers={"Content-Type": "image/png"})
    if answer.status_code != httpx.codes.OK:
        raise SemfaceError(Reason.BACKEND_AWAY, f"a made-up face is answered with {answer.json().get('reason')}")
    face = answer.json()["faces"][0]
    return f"a made-up face: {face['bits']['total']} bits, {face['expression']['leading']}"
