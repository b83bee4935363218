"""`semface serve canary`: health of a Triton server by real inferences, for the liveness probe beside it.

Triton calls a network ready whose process has died; this one asks every network for an answer.
"""

from functools import partial

from semface.errors import Reason, SemfaceError
from semface.inference.engine import Engine
from semface.inference.repository import ModelRepository
from semface.rpc.server import Service
from semface.rpc.settings import ServerSettings


def services(engine: Engine, settings: ServerSettings) -> list[Service]:
    """Return one service for each network of the repository, with health by its name and nothing else to call.

    Raises MODEL_UNKNOWN where the repository holds no network.
    """
    names = ModelRepository(settings.model_repository).names()
    if not names:
        raise SemfaceError(Reason.MODEL_UNKNOWN, f"{settings.model_repository} holds no networks")
    return [Service(name, lambda server: None, partial(_require_answer, engine, name)) for name in names]


async def _require_answer(engine: Engine, name: str) -> None:
    if not await engine.ready(name):
        raise SemfaceError(Reason.BACKEND_AWAY, f"model {name} gives no finite answer")
