"""How fast identify and verify answer through HTTP, how fast an index is ready, and what a subject takes in Redis.

Templates are drawn from a Gaussian fitted to embeddings of the network that serves, of faces drawn from the codec's
prior; a probe of a template lies at the cosine that two pictures of one person have. One run holds everything.
"""

import asyncio
import http.client
import os
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, cast

import grpc.aio
import numpy as np
import uvicorn
from fastapi import FastAPI, Request
from numpy.typing import NDArray

from semface.cli.embedded_store import embedded_store
from semface.cli.stack import StackSettings, running_stack
from semface.client import AsyncClient, Model
from semface.codec.core import Codec
from semface.descriptors import Portion
from semface.evaluation.codec_bench import draw_faces
from semface.gateway.enrolled.connection import connect
from semface.gateway.enrolled.directory import TenantDirectory, unit
from semface.gateway.enrolled.index import TemplateIndex
from semface.gateway.enrolled.key_ring import new_master_key, open_key_ring
from semface.gateway.enrolled.record import Details, make_record
from semface.gateway.enrolled.saved_index import SavedIndexes
from semface.gateway.enrolled.store import Deed, EnrolledStore, Streams
from semface.gateway.server import SharedServer
from semface.inference import Engine, open_engine
from semface.media_types import BITSTREAM_TYPE
from semface.understanding.core import Understanding

SEED: Final = 1
FITTED_FACES: Final = 2000
BATCH: Final = 500
TENANT: Final = "default"
DEED: Final = Deed("import", "bench")
SAME_COSINE: Final = 0.6
"""Where nothing else is told: about the mean cosine of two pictures of one person."""
RECALL_PROBES: Final = 200

Vectors = NDArray[np.float32]
Progress = Callable[[int], None]
HttpTimes = tuple[list[float], list[float], list[float], list[float]]
"""Seconds of each identification, verification and bare request; processor milliseconds of the last two, means."""


@dataclass(frozen=True, slots=True)
class IdentifyFigures:
    """What ``semface bench identify`` prints."""

    subjects: int
    exact: bool
    """Whether every template is compared; else usearch proposes candidates."""
    enroll_seconds: float
    redis_bytes_per_subject: float
    """Growth of Redis' used memory over the subjects, records, changes and audit entries together."""
    index_from_redis_seconds: float
    """From nothing to the first answer, all read from Redis; beyond the exact limit the graph is built."""
    index_from_file_seconds: float
    """The same from the saved, encrypted index."""
    index_file_megabytes: float
    search_p50_ms: float
    """The search alone, with the question to Redis for what has changed."""
    search_p99_ms: float
    recall_at_1: float
    """Share of probes whose best match is that of an exact search of the same templates."""
    identify_p50_ms: float
    """A bitstream through HTTP."""
    identify_p99_ms: float
    verify_p50_ms: float
    """A bitstream through HTTP."""
    bare_p50_ms: float
    """A bare FastAPI that makes one gRPC echo and one Redis GET of as many bytes, in turns with the verifications."""
    verify_over_bare: float
    verify_processor_ms: float
    """Processor time of one verification, client included: a busy machine does not change it."""
    bare_processor_ms: float
    verify_over_bare_processor: float

    def as_dict(self) -> dict[str, Any]:
        """Return the figures by name."""
        return asdict(self)


async def measure_identification(
    subjects: int, exact_limit: int, rounds: int, same_cosine: float, progress: Progress
) -> IdentifyFigures:
    """Enrol ``subjects`` in an embedded Valkey and measure; ``progress`` is told of each subject enrolled."""
    settings = StackSettings(port=0)
    engine = open_engine(settings)
    try:
        frame, spread, model = await _fitted(engine, settings.model_repository)
    finally:
        await engine.close()
    templates = _drawn(spread, subjects)
    with tempfile.TemporaryDirectory(prefix="semface-bench-") as folder, embedded_store(None) as url:
        saved, ring_path, master_key = (
            SavedIndexes(Path(folder) / "index"),
            Path(folder) / "ring.json",
            new_master_key(),
        )
        store = EnrolledStore(url, 60.0, open_key_ring(ring_path, master_key), Streams(10_000, 100_000))
        before = int((await store.redis.info("memory"))["used_memory"])
        started = time.perf_counter()
        await _enroll(store, templates, model, progress)
        enrolled = time.perf_counter() - started
        grown = int((await store.redis.info("memory"))["used_memory"]) - before
        probes = _probes(templates, same_cosine, max(rounds, RECALL_PROBES))
        first = TenantDirectory(store, TENANT, exact_limit, saved)
        from_redis = await _seconds(first, probes[:1], model)
        await first.save()
        second = TenantDirectory(store, TENANT, exact_limit, saved)
        from_file = await _seconds(second, probes[:1], model)
        times = [await _seconds(second, probes[place : place + 1], model) for place in range(rounds)]
        recall = _recall(second._index, store, probes[:RECALL_PROBES])
        environment = {
            "SEMFACE_REDIS_URL": url,
            "SEMFACE_KEY_RING": str(ring_path),
            "SEMFACE_MASTER_KEY": master_key,
            "SEMFACE_HTTP_PORT": "0",
            "SEMFACE_INDEX_FOLDER": str(saved.folder),
            "SEMFACE_EXACT_LIMIT": str(exact_limit),
            "SEMFACE_VERIFY_PER_MINUTE": "1000000",
            "SEMFACE_LOG_LEVEL": "error",
        }
        os.environ.update(environment)
        file_bytes = saved.path(TENANT).stat().st_size
        identified, verified, bare, processor = await _over_http(StackSettings(port=0), url, frame, rounds)
        await store.close()
    return IdentifyFigures(
        subjects=subjects,
        exact=second._index.graph is None,
        enroll_seconds=enrolled,
        redis_bytes_per_subject=grown / subjects,
        index_from_redis_seconds=from_redis,
        index_from_file_seconds=from_file,
        index_file_megabytes=file_bytes / 1e6,
        search_p50_ms=_percentile(times, 50),
        search_p99_ms=_percentile(times, 99),
        recall_at_1=recall,
        identify_p50_ms=_percentile(identified, 50),
        identify_p99_ms=_percentile(identified, 99),
        verify_p50_ms=_percentile(verified, 50),
        bare_p50_ms=_percentile(bare, 50),
        verify_over_bare=_percentile(verified, 50) / _percentile(bare, 50),
        verify_processor_ms=processor[0],
        bare_processor_ms=processor[1],
        verify_over_bare_processor=processor[0] / processor[1],
    )


async def _fitted(engine: Engine, repository: Path) -> tuple[bytes, tuple[Vectors, Vectors], Model]:
    """Return a bitstream of identity alone, mean (512,) and factor (512, 512) of the fit, and the model embedding."""
    codec, understanding = Codec(engine, repository), Understanding(engine)
    quality = codec.quality(None)
    faces = await draw_faces(engine, quality, FITTED_FACES, SEED)
    embeddings = np.concatenate(
        [await understanding.embeddings(faces[at : at + 250]) for at in range(0, len(faces), 250)]
    )
    centred = embeddings - embeddings.mean(axis=0)
    values, directions = np.linalg.eigh(centred.T @ centred / len(centred))
    factor = directions * np.sqrt(np.maximum(values, 0))
    (frame,) = await codec.encode(faces[:1], quality.index, Portion.IDENTITY)
    made_by = understanding.verification_model
    return (
        frame,
        (embeddings.mean(axis=0), factor.T.astype(np.float32)),
        Model(made_by.name, made_by.version, int(made_by.hash[:16], 16)),
    )


def _drawn(spread: tuple[Vectors, Vectors], count: int) -> Vectors:
    random, (mean, factor) = np.random.default_rng(SEED), spread
    rows = np.empty((count, len(mean)), np.float32)
    for start in range(0, count, BATCH * 20):
        part = random.standard_normal((min(BATCH * 20, count - start), len(mean)), np.float32)
        rows[start : start + len(part)] = unit(mean + part @ factor)
    return rows


def _probes(templates: Vectors, cosine: float, count: int) -> Vectors:
    random = np.random.default_rng(SEED + 1)
    chosen = templates[random.integers(0, len(templates), count)]
    noise = random.standard_normal(chosen.shape).astype(np.float32)
    across = unit(noise - np.sum(noise * chosen, axis=1, keepdims=True) * chosen)
    return unit(cosine * chosen + np.sqrt(1 - cosine**2) * across)


async def _enroll(store: EnrolledStore, templates: Vectors, model: Model, progress: Progress) -> None:
    protection, details = store.protection(TENANT), Details(time.time())
    for start in range(0, len(templates), BATCH):
        rows = enumerate(templates[start : start + BATCH], start)
        batch = [make_record(f"s{number:07d}", row, model, details, protection) for number, row in rows]
        await store.put_many(TENANT, batch, DEED)
        progress(len(batch))


async def _seconds(directory: TenantDirectory, probe: Vectors, model: Model) -> float:
    started = time.perf_counter()
    await directory.search(probe, model, -1.0, 5, None)
    return time.perf_counter() - started


def _recall(index: TemplateIndex, store: EnrolledStore, probes: Vectors) -> float:
    protection = store.protection(TENANT)
    exact = TemplateIndex(2**62)
    exact.add(index.entries())
    mapped = probes @ protection.map(protection.active)
    truth = exact.search(mapped, -1.0, 1, None)
    found = index.search(mapped, -1.0, 1, None)
    return float(np.mean([bool(one) and one[0][0] == right[0][0] for one, right in zip(found, truth, strict=True)]))


async def _over_http(settings: StackSettings, redis_url: str, frame: bytes, rounds: int) -> HttpTimes:
    async with running_stack(settings) as stack, _bare(redis_url) as bare_port:
        gateway = int(stack.gateway_url.rpartition(":")[2])
        async with AsyncClient(stack.grpc_address) as client:
            await client.serving("semface.v1.UnderstandingService")
        return await asyncio.to_thread(_ask_all, gateway, bare_port, frame, rounds)


def _ask_all(gateway: int, bare: int, frame: bytes, rounds: int) -> HttpTimes:
    served, plain = http.client.HTTPConnection("127.0.0.1", gateway), http.client.HTTPConnection("127.0.0.1", bare)

    def ask(connection: http.client.HTTPConnection, method: str, path: str) -> float:
        started = time.perf_counter()
        connection.request(method, path, frame, {"Content-Type": BITSTREAM_TYPE})
        answer = connection.getresponse()
        answer.read()
        if answer.status not in (200, 201):
            raise RuntimeError(f"{path} answered {answer.status}")
        return time.perf_counter() - started

    ask(served, "PUT", "/v1/subjects/probe")
    for _ in range(5):
        ask(served, "POST", "/v1/identify")
        ask(served, "POST", "/v1/subjects/probe/verify")
        ask(plain, "POST", "/bare")
    identified = [ask(served, "POST", "/v1/identify") for _ in range(rounds)]
    # In turns, so that whatever else the machine does slows both alike.
    turns = [(ask(served, "POST", "/v1/subjects/probe/verify"), ask(plain, "POST", "/bare")) for _ in range(rounds)]
    processor = []
    for connection, path in ((served, "/v1/subjects/probe/verify"), (plain, "/bare")):
        before = time.process_time()
        for _ in range(rounds):
            ask(connection, "POST", path)
        processor.append(1e3 * (time.process_time() - before) / rounds)
    return identified, [one for one, _ in turns], [other for _, other in turns], processor


@asynccontextmanager
async def _bare(redis_url: str) -> AsyncIterator[int]:
    """Serve a FastAPI that makes one gRPC echo and one Redis GET, and yield its port."""
    echo = grpc.aio.server()
    handler = grpc.unary_unary_rpc_method_handler(_echo)
    echo.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("bench.Echo", {"Echo": handler}),))
    echo_port = echo.add_insecure_port("127.0.0.1:0")
    await echo.start()
    redis = connect(redis_url, 5.0)
    await redis.set("bench", bytes(600))
    app = FastAPI()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{echo_port}") as channel:
        call = cast(Any, channel).unary_unary("/bench.Echo/Echo")

        @app.post("/bare")
        async def bare(request: Request) -> dict[str, int]:
            body = await request.body()
            return {"echoed": len(await call(body)), "kept": len(await redis.get("bench"))}

        server = SharedServer(uvicorn.Config(app, port=0, log_config=None, access_log=False, lifespan="off"))
        serving = asyncio.create_task(server.serve())
        while not server.started:  # noqa: ASYNC110 - it tells by no event
            await asyncio.sleep(0.01)
        try:
            yield server.servers[0].sockets[0].getsockname()[1]
        finally:
            server.should_exit = True
            await serving
            await redis.aclose()
            await echo.stop(None)


async def _echo(request: bytes, context: Any) -> bytes:
    return request


def _percentile(seconds: list[float], percent: float) -> float:
    return 1e3 * float(np.percentile(seconds, percent))
