"""Networks exchanged in what running Triton servers serve, one at a time; one that does not answer goes back."""

import contextlib
import os
import shutil
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from tritonclient.grpc import InferenceServerClient, InferenceServerException, InferInput  # type: ignore[import-untyped]
from tritonclient.utils import np_to_triton_dtype  # type: ignore[import-untyped]

from semface.errors import Reason, SemfaceError
from semface.inference.derived_repository import MANIFEST_FILE
from semface.inference.engine import ModelMetadata
from semface.inference.example_inputs import example_inputs
from semface.inference.repository import CONFIG_FILE, ModelRepository

KEY_HEADER: Final = "triton-grpc-protocol-admin-key"
SECONDS: Final = 120.0


def addresses(server: str) -> list[str]:
    """Return ``host:port`` of every server behind ``server``, a headless name. Raises BACKEND_AWAY without one."""
    host, _, port = server.rpartition(":")
    try:
        found = {str(entry[4][0]) for entry in socket.getaddrinfo(host, int(port), type=socket.SOCK_STREAM)}
    except (OSError, ValueError) as error:
        raise SemfaceError(Reason.BACKEND_AWAY, f"there is no server at {server}, which has to be host:port") from error
    return sorted(f"[{one}]:{port}" if ":" in one else f"{one}:{port}" for one in found)


def install_networks(
    source: ModelRepository, built: Path, serving: Path, servers: Sequence[str], key: str
) -> dict[str, str]:
    """Put every network of ``built`` into ``serving``, which ``servers`` serve, and have them load it.

    After each, every server has to answer a request of noise for it; else what was there before is put back and loaded.
    ``key`` opens the servers' repository API. Returns what became of each network: ``loaded`` or why it went back.
    Raises FIELD_INVALID where a folder holds no generated repository, BACKEND_AWAY where what was there before cannot
    be loaded either.
    """
    for folder in (built, serving):
        if not (folder / MANIFEST_FILE).is_file():
            raise SemfaceError(Reason.FIELD_INVALID, f"{folder} holds no repository that was generated")
    staging = serving.with_name(f"{serving.name}.staging")
    shutil.rmtree(staging, ignore_errors=True)
    outcomes = {}
    with contextlib.ExitStack() as stack:
        clients = {one: stack.enter_context(contextlib.closing(InferenceServerClient(one))) for one in servers}
        for name in source.names():
            if (built / name / CONFIG_FILE).is_file():
                metadata = source.model(name).metadata
                outcomes[name] = _install(metadata, built / name, serving / name, staging, clients, key)
    shutil.rmtree(staging, ignore_errors=True)
    return outcomes


def _install(
    model: ModelMetadata, built: Path, served: Path, staging: Path, clients: Mapping[str, Any], key: str
) -> str:
    new, old = staging / "new" / model.name, staging / "old" / model.name
    shutil.copytree(built, new)
    old.parent.mkdir(parents=True, exist_ok=True)
    served.rename(old)
    _put(new, served)
    fault = _loaded_everywhere(model, clients, key)
    if fault is None:
        return "loaded"
    served.rename(new)
    _put(old, served)
    still = _loaded_everywhere(model, clients, key)
    if still is not None:
        message = f"model {model.name} can be loaded neither anew nor as before; restart the servers: {still}"
        raise SemfaceError(Reason.BACKEND_AWAY, message)
    return f"went back: {fault}"


def _put(network: Path, served: Path) -> None:
    """Move a network to where it is served. Triton loads again only what is newer than what it has."""
    network.rename(served)
    for path in (served, *served.rglob("*")):
        os.utime(path)


def _loaded_everywhere(model: ModelMetadata, clients: Mapping[str, Any], key: str) -> str | None:
    """Load ``model`` on every server and ask it once; return what went wrong, None where nothing did."""
    for address, client in clients.items():
        try:
            client.load_model(model.name, headers={KEY_HEADER: key}, client_timeout=SECONDS)
            inputs = []
            for name, array in example_inputs(model, rows=1).items():
                tensor = InferInput(name, list(array.shape), np_to_triton_dtype(array.dtype))
                tensor.set_data_from_numpy(array)
                inputs.append(tensor)
            answer = client.infer(model.name, inputs, model_version=model.version, client_timeout=SECONDS)
            for output in model.outputs:
                found = answer.as_numpy(output.name)
                if found is None or len(found) != 1 or not np.isfinite(found).all():
                    return f"{address} answers with no finite {output.name}"
        except InferenceServerException as error:
            return f"{address}: {' '.join(str(error.message()).split())[:200]}"
    return None
